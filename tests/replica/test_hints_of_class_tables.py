"""A record stands in the tables of its class and of every ancestor: a hint refreshes all that are replicated."""

from tests.support.hooks import HookBench


async def test_a_hint_names_the_class_and_every_table_of_its_lineage_follows(hooked: HookBench) -> None:
    bench = hooked.bench
    ids = bench.make_incidents(3)
    await bench.load("task", "incident", "sys_user_group")
    await hooked.cover("task", "sys_user_group")
    bench.twin.instance.update("incident", ids[0], {"short_description": "in both"}, user="admin")
    await hooked.deliver(hooked.post("incident", ids[0], rule="task"))
    assert await hooked.read_all() == 2
    for table in ("task", "incident"):
        assert await bench.rows(f"SELECT short_description FROM {table} ORDER BY sys_id LIMIT 1") == [("in both",)]
    assert {(await hooked.loss(table)).by_hint for table in ("task", "incident")} == {1}


async def test_a_class_that_is_not_replicated_itself_is_found_by_its_ancestors(hooked: HookBench) -> None:
    bench = hooked.bench
    server = bench.twin.instance.insert("cmdb_ci_linux_server", {"name": "web-1"}, user="admin")
    await bench.load("cmdb_ci")
    await hooked.cover("cmdb_ci")
    bench.twin.instance.update("cmdb_ci_linux_server", server.sys_id, {"name": "web-2"}, user="admin")
    await hooked.deliver(hooked.post("cmdb_ci_linux_server", server.sys_id, rule="cmdb_ci"))
    assert await hooked.read_all() == 1
    assert await bench.rows("SELECT name FROM cmdb_ci") == [("web-2",)]
    bench.twin.instance.delete("cmdb_ci_linux_server", server.sys_id, user="admin")
    await hooked.deliver(hooked.post("cmdb_ci_linux_server", server.sys_id, "delete", rule="cmdb_ci"))
    assert await hooked.read_all() == 1
    assert await bench.rows("SELECT name FROM cmdb_ci") == []


async def test_records_outside_a_table_s_filter_are_not_waited_for_long(hooked: HookBench) -> None:
    from nowbridge.replica import hints
    from nowbridge.replica.spec import TableSpec

    bench = hooked.bench
    ids = bench.make_incidents(3, category="hardware")
    await bench.load(TableSpec("incident", query="category=software"))
    await hooked.cover("incident")
    await hooked.deliver(await hooked.update(ids[0], short_description="not ours"))
    for _ in range(hints.FEW_TRIES + 1):
        bench.now.pass_(seconds=10)
        await hooked.read_all()
    assert await hooked.outcomes() == {ids[0]: "not seen"}
    await hooked.deliver(await hooked.update(ids[0], category="software"))
    assert await hooked.read_all() == 1
