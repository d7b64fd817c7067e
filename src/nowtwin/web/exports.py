"""A list as a file: `/<table>_list.do?CSV`, `?XML`, and the JSONv2 processor, `/<table>.do?JSONv2`, read only.

Rows come through the Table API in the visitor's name. What an export holds is limited whatever was asked for: 10000 rows
(`glide.csv.export.limit`, `glide.xml.export.limit`, else `glide.ui.export.limit`); JSONv2 gives 250 records unless
`sysparm_record_count` asks for more (servicenow-api.md 10).
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal
from xml.sax.saxutils import escape

from nowtwin.http.messages import Answer, Request, json_answer
from nowtwin.instance import Instance
from nowtwin.values import number_of
from nowtwin.web.layouts import list_columns
from nowtwin.web.reading import Row, Window, known_table, read_rows

Format = Literal["CSV", "XML", "JSONv2"]
_FORMATS: Final[tuple[Format, ...]] = ("CSV", "XML", "JSONv2")
_MOST: Final = 10_000
_RECORDS: Final = 250
_PATH: Final = re.compile(r"/(?P<table>[A-Za-z0-9_$]+?)(?:_list)?\.do")
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def format_of(request: Request) -> Format | None:
    """What kind of file the URL asks for: a parameter that has a name and no value."""
    asked = {name for name, value in request.query if not value}
    return next((kind for kind in _FORMATS if kind in asked), None) if request.method == "GET" else None


def send_export(instance: Instance, request: Request, kind: Format) -> Answer:
    """Raises Refused for an unknown table, or a query on a column that the visitor may not read."""
    found = _PATH.fullmatch(request.path)
    table = known_table(instance, found["table"] if found else "")
    columns = list_columns(instance, table) if kind == "CSV" else list(instance.dictionary.columns(table))
    window = Window(columns, _limit(instance, request, kind))
    rows = read_rows(instance, request, table, _query(request), window).rows
    if kind == "JSONv2":
        return json_answer(
            200, {"records": [_record(row, request.param("displayvalue")) for row in rows]}, rows=len(rows)
        )
    if kind == "XML":
        return Answer(200, _xml(table, rows), content_type="text/xml;charset=UTF-8", rows=len(rows))
    return Answer(200, _csv(columns, rows), _download(table), content_type="text/csv;charset=UTF-8", rows=len(rows))


def _query(request: Request) -> str:
    query, sys_id = request.param("sysparm_query"), request.param("sysparm_sys_id")
    return "^".join(filter(None, (f"sys_id={sys_id}" if sys_id else "", query)))


def _limit(instance: Instance, request: Request, kind: Format) -> int:
    if kind == "JSONv2":
        asked = number_of(request.param("sysparm_record_count"))
        usual = number_of(instance.property("glide.processor.json.row_limit")) or _RECORDS
        return max(0, min(int(usual if asked is None else asked), _MOST))
    names = (f"glide.{kind.lower()}.export.limit", "glide.ui.export.limit")
    limits = [limit for name in names if (limit := number_of(instance.property(name))) is not None]
    return max(0, int(limits[0])) if limits else _MOST


def _record(row: Row, display: str) -> Mapping[str, str]:
    """Values; with `displayvalue=true` what is shown instead, with `all` beside them under `dv_` names."""
    if display == "true":
        return {name: cell.shown for name, cell in row.items()} | {"__status": "success"}
    values = {name: cell.value for name, cell in row.items()}
    if display == "all":
        values |= {f"dv_{name}": cell.shown for name, cell in row.items()}
    return values | {"__status": "success"}


def _csv(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([row[column].shown if column in row else "" for column in columns] for row in rows)
    return text.getvalue().encode()


def _xml(table: str, rows: Sequence[Row]) -> bytes:
    parts = ['<?xml version="1.0" encoding="UTF-8"?><xml>']
    for row in rows:
        cells = (_cell(name, row[name].shown, row[name].value) for name in sorted(row))
        parts.append(f"<{table}>{''.join(cells)}</{table}>")
    return "".join((*parts, "</xml>")).encode()


def _cell(name: str, shown: str, value: str) -> str:
    """The stored value; what it displays as an attribute where that is something else."""
    text = escape(_NO_XML.sub("", value))
    if not value:
        return f"<{name}/>"
    also = escape(_NO_XML.sub("", shown), {'"': "&quot;"}) if shown != value else ""
    return f'<{name} display_value="{also}">{text}</{name}>' if also else f"<{name}>{text}</{name}>"


def _download(table: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Disposition", f"attachment;filename={table}.csv"),)
