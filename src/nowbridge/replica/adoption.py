"""Go on with an instance that was put back or cloned over, because somebody said that this is the one: everything is
compared by content and taken as it is there, also where its versions are older than ours, and rows that are not there go.
"""

from __future__ import annotations

from nowbridge.replica.run import Replica
from nowbridge.replica.spec import layout_of
from nowbridge.replica.verify import Level, Order, Verdict
from nowbridge.servicenow import identity
from nowbridge.store.instances import connections
from nowbridge.store.rows import tables, witnesses
from nowbridge.store.work import watches


async def adopt(replica: Replica) -> list[Verdict]:
    """Make the replica equal to the instance as it is now, and let the connection go on if it is. Tables whose first load
    was under way begin anew. Repeating it after any failure is right. Raises what verifying raises.
    """
    async with replica.database.transaction() as connection:
        await connections.stop(
            connection, replica.connection_id, reason="clone", found="it is being adopted", now=replica.clock()
        )
        await witnesses.begin_anew(connection, replica.connection_id)
        await witnesses.forget_labels(connection, replica.connection_id)
        rows = [row for row in await tables.all_of(connection, replica.connection_id) if row.phase == "live"]
    await replica.relearn([layout_of(row) for row in rows])
    verdicts = [await _verify(replica, row.id) for row in rows]
    names = await identity.likeness(replica.instance)
    if all(verdict.equal for verdict in verdicts):
        async with replica.database.transaction() as connection:
            await connections.keep_likeness(connection, replica.connection_id, names, now=replica.clock())
            await connections.go_on(connection, replica.connection_id)
    return verdicts


async def _verify(replica: Replica, table_id: int) -> Verdict:
    loader = await replica.loader(table_id)
    async with replica.database.transaction() as connection:
        await watches.load(connection, table_id)
        rows = await tables.count_rows(connection, loader.row.relation)
        await watches.allow(connection, table_id, rows)  # who adopts an instance has been told
    now = await replica.instance.server_now() - replica.pace.safety_lag
    order = Order(now, repair=True, put_back=True)
    return await replica.upkeep.verify(loader, order, Level.CONTENT, sleep=replica.sleep)
