"""Business Rules of ours in an instance: look at them, make, upgrade and remove them through the Table API.

Needs an account that may write `sys_script` and `sys_properties`: an administrator's, for this moment only. Every write
is read back: an instance answers 200 to writes that it did not carry out (servicenow-api.md 1.9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from nowbridge.model.errors import Park, Stop
from nowbridge.servicenow import hook_rule, tables
from nowbridge.servicenow import query as queries
from nowbridge.servicenow.hook_rule import Rule, State
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import PageRequest
from nowbridge.servicenow.wire import Page, PageDecoder

RULES: Final = "sys_script"
PROPERTIES: Final = "sys_properties"
_MOST: Final = 1_000  # rules of one installation


@dataclass(frozen=True, slots=True)
class Installed:
    """What stands in the instance: rules in the order of their tables, and properties by name (value, sys_id)."""

    rules: tuple[Rule, ...]
    properties: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Done:
    """What was done about one table or property: made, upgraded, restored, switched on, changed, removed, unchanged, or
    kept (edited by hand and left alone).
    """

    what: str
    done: str


async def look(instance: Instance, hook_id: str) -> Installed:
    """Raises Stop `rights.*` where the account may not read rules."""
    rule_query = queries.equals("name", hook_rule.rule_name(hook_id))
    found = await _read(instance, RULES, f"{rule_query}^ORDERBYcollection", ("sys_id", *hook_rule.COLUMNS))
    rules = [
        Rule(sys_id, {name: found.column(name)[at] for name in hook_rule.COLUMNS})
        for at, sys_id in enumerate(found.ids)
    ]
    starts = f"nameSTARTSWITH{hook_rule.prefix(hook_id)}."
    kept = await _read(instance, PROPERTIES, starts, ("sys_id", "name", "value"))
    properties = zip(kept.column("name"), kept.column("value"), kept.ids, strict=True)
    return Installed(tuple(rules), {name: (value, sys_id) for name, value, sys_id in properties})


async def install(
    instance: Instance, hook_id: str, wanted: Sequence[str], properties: Sequence[Mapping[str, str]], *, force: bool
) -> list[Done]:
    """Bring the instance to what is wanted: the properties, a rule on each of these tables, and none of ours elsewhere.
    A rule that somebody has edited is left alone without `force`.
    """
    standing = await look(instance, hook_id)
    done = [await _set_property(instance, hook_id, standing, values) for values in properties]
    done += [await _set_rule(instance, hook_id, table, standing.rules, force=force) for table in wanted]
    kept = {id(hook_rule.of_table(standing.rules, table)) for table in wanted}
    for rule in standing.rules:
        if id(rule) not in kept:  # on a table that needs none, or a second one on the same table
            await _delete(instance, RULES, rule.sys_id)
            done.append(Done(rule.table, "removed"))
    return done


async def remove(instance: Instance, hook_id: str, tables_named: Sequence[str] | None = None) -> list[Done]:
    """Take away the rules of these tables; with None everything of ours."""
    standing = await look(instance, hook_id)
    gone = [rule for rule in standing.rules if tables_named is None or rule.table in tables_named]
    for rule in gone:
        await _delete(instance, RULES, rule.sys_id)
    done = [Done(rule.table, "removed") for rule in gone]
    if len(gone) == len(standing.rules):
        for name, (_, sys_id) in sorted(standing.properties.items()):
            await _delete(instance, PROPERTIES, sys_id)
            done.append(Done(name, "removed"))
    return done


async def _set_rule(instance: Instance, hook_id: str, table: str, rules: Sequence[Rule], *, force: bool) -> Done:
    values = hook_rule.rule_values(hook_id, table)
    rule = hook_rule.of_table(rules, table)
    if rule is None:
        made = {"sys_id": hook_rule.sys_id_of(hook_id, table), **values}
        await tables.create(instance, RULES, made, ("sys_id",))
        await _require(instance, hook_id, table)
        return Done(table, "made")
    if rule.state is State.CURRENT:
        return Done(table, "unchanged")
    if rule.state in {State.EDITED, State.OFF, State.NEWER} and not force:
        return Done(table, f"kept: {rule.state.value}")
    await tables.update(instance, RULES, rule.sys_id, values, ("sys_id",), idempotent=True)
    await _require(instance, hook_id, table)
    return Done(table, "upgraded" if rule.state is State.OLDER else "restored")


async def _set_property(instance: Instance, hook_id: str, standing: Installed, values: Mapping[str, str]) -> Done:
    name = values["name"]
    held = standing.properties.get(name)
    if held is None:
        made = {"sys_id": hook_rule.sys_id_of(hook_id, name), **values}
        await tables.create(instance, PROPERTIES, made, ("sys_id",))
        return Done(name, "made")
    if held[0] == values["value"]:
        return Done(name, "unchanged")
    await tables.update(instance, PROPERTIES, held[1], {"value": values["value"]}, ("sys_id",), idempotent=True)
    return Done(name, "changed")


async def _require(instance: Instance, hook_id: str, table: str) -> None:
    """Make sure that the rule stands as it was written."""
    rule = hook_rule.of_table((await look(instance, hook_id)).rules, table)
    if rule is None or rule.state is not State.CURRENT:
        raise Stop(
            "hooks.not_written",
            asked=f"put a Business Rule on {table}",
            answered="the instance said yes, and it does not stand there as it was written"
            + ("" if rule is None else f" ({rule.state.value})"),
            hint="Sign in as an administrator, or load the file of `nowbridge hooks export` by hand.",
        )


async def _delete(instance: Instance, table: str, sys_id: str) -> None:
    try:
        await tables.delete(instance, table, sys_id)
    except Park as gone:
        if gone.code != "record.missing":
            raise


async def _read(instance: Instance, table: str, query: str, fields: tuple[str, ...]) -> Page:
    answer = await tables.read_page(instance, table, PageRequest(query, _MOST, with_count=True), fields)
    page = PageDecoder(fields).decode(answer.body)
    if page.rows < tables.required_count(answer, table):
        raise Stop(
            "hooks.rights",
            asked=f"look at Nowbridge's records in {table}",
            answered="the account may not see all of them",
            hint="Sign in as an administrator.",
        )
    return page
