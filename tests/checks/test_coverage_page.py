"""scripts/coverage_page.py: docs/COVERAGE.md is what the marks, the switches and the data say, and they are complete."""

from __future__ import annotations

from dataclasses import fields

from nowtwin.behaviour.switches import Switches
from scripts import coverage_page


def test_the_marks_are_complete_and_every_switch_has_a_test() -> None:
    assert coverage_page.problems() == []


def test_the_page_is_the_one_that_would_be_made_now() -> None:
    page = coverage_page.PAGE.read_text(encoding="utf-8")
    assert page == coverage_page.page(), "run scripts/coverage_page.py"


def test_every_switch_and_every_written_table_stands_on_the_page() -> None:
    assert [switch.name for switch in coverage_page.switches()] == [field.name for field in fields(Switches)]
    page = coverage_page.page()
    assert all(f"| `{field.name}` |" in page for field in fields(Switches))
    assert all(f"`{table}`" in page for tables in coverage_page.written_tables().values() for table in tables)


def test_a_mark_is_read_from_a_test_or_from_its_module() -> None:
    marked = {behaviour.test: behaviour for behaviour in coverage_page.behaviours()}
    own = marked["tests/nowtwin/test_table_reads.py::test_an_empty_list_is_404_on_v1_only"]
    assert (own.sections, own.evidence, own.text) == (
        "1.1",
        "documentation: c_TableAPI.md",
        "An empty list is 404 on v1 only",
    )
    common = marked["tests/nowtwin_judges/test_pysnc.py::test_join_queries"]
    assert common.kinds() == ["measured by others"]
