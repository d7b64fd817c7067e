"""The Aggregate API (servicenow-api.md 4)."""

from nowtwin.apis.table import list_query, wanted_rows
from nowtwin.http.messages import Answer, Request, json_answer
from nowtwin.instance import Instance
from nowtwin.permission.record import require_aggregates
from nowtwin.reading.aggregating import FUNCTIONS, Asked, Group, Having, Measure, Ordering, Result, aggregate
from nowtwin.reading.display import Displays


def read_stats(instance: Instance, request: Request, table: str) -> Answer:
    instance.prepare(table)
    asked = asked_of(request)
    require_aggregates(instance, request.caller, table)
    measured = (measure.path for measure in asked.measures if measure.path)
    if instance.switches.unreadable_aggregates_refused:
        instance.access.refuse_paths(request.caller, table, (*asked.group_by, *measured))
    wanted = wanted_rows(instance, request, table, list_query(instance, request, table))
    with instance.storage.lock:
        result = aggregate(instance.dictionary, instance.storage, wanted, asked, instance.switches)
        if not asked.group_by:
            return json_answer(200, {"result": {"stats": _stats(result.groups[0])}}, rows=1)
        shown = _shown(instance, request, result)
    groups = [
        {
            "stats": _stats(group),
            "groupby_fields": [
                {"field": path, **shown[path][key]} for path, key in zip(result.fields, group.keys, strict=True)
            ],
        }
        for group in result.groups
    ]
    return json_answer(200, {"result": groups}, rows=len(groups))


def asked_of(request: Request) -> Asked:
    measures = [Measure("count")] if request.flag("sysparm_count") else []
    for function in FUNCTIONS:
        measures += [Measure(function, path) for path in _names(request.param(f"sysparm_{function}_fields"))]
    return Asked(
        tuple(measures),
        _names(request.param("sysparm_group_by")),
        tuple(having for text in _names(request.param("sysparm_having")) if (having := _having(text))),
        tuple(_ordering(text) for text in _names(request.param("sysparm_order_by"))),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _measure(function: str, path: str) -> Measure | None:
    if function.lower() == "count":
        return Measure("count")
    return Measure(function.lower(), path) if function.lower() in FUNCTIONS else None


def _having(text: str) -> Having | None:
    """`count^state^>^3`: aggregate, field, operator, value."""
    parts = text.split("^")
    if len(parts) != 4:  # noqa: PLR2004 - the four parts
        return None
    measure = _measure(parts[0], parts[1])
    return Having(measure, parts[2], parts[3]) if measure else None


def _ordering(text: str) -> Ordering:
    """`AVG^state`, `COUNT` or a column, with `^DESC` behind it for the other direction."""
    parts = text.split("^")
    descending = parts[-1].upper() == "DESC"
    parts = parts[:-1] if descending else parts
    measure = _measure(parts[0], parts[1] if len(parts) > 1 else "") if parts else None
    return Ordering(measure or (parts[0] if parts else ""), descending)


def _stats(group: Group) -> dict[str, object]:
    """`{"count": "3", "avg": {"reassignment_count": "1.0000"}}`; functions without a value are left out."""
    stats: dict[str, object] = {}
    for measure, text in group.measured.items():
        if measure.function == "count":
            stats["count"] = text
        elif text is not None:
            values = stats.setdefault(measure.function, {})
            assert isinstance(values, dict)
            values[measure.path] = text
    return stats


def _shown(instance: Instance, request: Request, result: Result) -> dict[str, dict[str, dict[str, str | None]]]:
    """How each group value goes out, by path and stored value."""
    mode = request.param("sysparm_display_value").lower()
    displays = Displays(instance.dictionary, instance.storage, instance.switches, request.caller)
    shown: dict[str, dict[str, dict[str, str | None]]] = {}
    for place, (path, field) in enumerate(result.fields.items()):
        values = {group.keys[place] for group in result.groups}
        texts = displays.texts(field, values) if mode in {"true", "all"} else {}
        shown[path] = {value: _cell(mode, value, texts.get(value)) for value in values}
    return shown


def _cell(mode: str, value: str, text: str | None) -> dict[str, str | None]:
    if mode == "true":
        return {"value": text or ""}
    if mode == "all":
        return {"value": value, "display_value": text or ""}
    return {"value": value}
