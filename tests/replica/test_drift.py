"""What has become of columns, as rules: layouts in, changes and the next layout out."""

import msgspec

from nowbridge.model.schema import ChoiceMode, Column, SchemaSource, Table
from nowbridge.replica import drift
from nowbridge.replica.drift import Kind, Terms
from nowbridge.replica.layout import ColumnState, Layout, Selection, plan_layout

KEY = Column("sys_id", "Sys ID", "GUID", "task")


def planned(*columns: Column, source: SchemaSource = SchemaSource.DICTIONARY) -> Layout:
    return plan_layout(Table("incident", "Incident", ("task",), (KEY, *columns), None, source))


def column(name: str, internal_type: str = "string", choice: ChoiceMode = ChoiceMode.NONE, label: str = "") -> Column:
    return Column(name, label or name, internal_type, "incident", choice=choice)


def after(before: Layout, now: Layout, terms: Terms | None = None) -> tuple[list[Kind], Layout]:
    changes = drift.compare(before, now, terms or Terms())
    return [change.kind for change in changes], drift.apply(before, now, changes, terms or Terms())


def states(layout: Layout) -> dict[str, str]:
    return {c.name: c.state.value for c in layout.columns if c.name != "sys_id"}


def test_nothing_has_changed() -> None:
    layout = planned(column("a"), column("b", "integer"))
    assert after(layout, layout) == ([], layout)


def test_only_words_about_a_column_change_without_a_fill() -> None:
    kinds, layout = after(planned(column("a")), planned(column("a", label="Another label")))
    assert kinds == [Kind.REWORDED]
    assert states(layout) == {"a": "live"}
    assert layout.columns[1].comment == "Another label"


def test_only_the_whole_dictionary_can_take_away_or_retype() -> None:
    before = planned(column("a"), column("b", "integer"))
    for source in (SchemaSource.PARTIAL_DICTIONARY, SchemaSource.DOCUMENT, SchemaSource.RECORDS):
        kinds, layout = after(before, planned(column("b"), column("c"), source=source))
        assert kinds == [Kind.NEW]
        assert states(layout) == {"a": "live", "b": "live", "c": "filling"}


def test_a_new_column_whose_name_stands_beside_another_gets_one_of_its_own() -> None:
    _, beside = after(planned(column("cost")), planned(column("cost", "integer")))
    assert states(beside) == {"cost": "retyped", "cost__integer": "filling"}
    _, layout = after(beside, planned(column("cost", "integer"), column("cost__integer")))
    assert states(layout) == {"cost": "retyped", "cost__integer": "filling", "cost__integer__new": "filling"}


def test_a_type_that_changes_again_gets_its_own_column_and_the_second_is_kept() -> None:
    _, layout = after(planned(column("cost")), planned(column("cost", "integer")))
    kinds, layout = after(layout, planned(column("cost", "boolean")))
    assert kinds == [Kind.RETYPED]
    assert states(layout) == {"cost": "retyped", "cost__integer": "replaced", "cost__boolean": "filling"}


def test_the_swap_takes_a_free_name_for_the_old_column_and_keeps_pairs_together() -> None:
    choice = column("kind", choice=ChoiceMode.DROPDOWN)
    _, layout = after(
        planned(choice, column("kind__was_choice")), planned(column("kind", "integer"), column("kind__was_choice"))
    )
    assert states(layout) == {
        "kind": "retyped",
        "kind__value": "retyped",
        "kind__was_choice": "live",
        "kind__integer": "filling",
    }
    swapped, renames = drift.swapped(drift.filled(layout, ["kind"]), ["kind"])
    assert renames == [
        ("kind", "kind__was_choice_2"),
        ("kind__value", "kind__was_choice_2__value"),
        ("kind__integer", "kind"),
    ]
    assert states(swapped)["kind"] == "live"
    assert after(swapped, planned(column("kind", "integer"), column("kind__was_choice")))[0] == []


def test_a_journal_is_never_filled() -> None:
    _, layout = after(planned(), planned(column("work_notes", "journal_input")))
    assert states(layout) == {"work_notes": "live"}


def test_what_a_selection_leaves_out_is_kept_and_comes_back() -> None:
    both = planned(column("a"), column("b"))
    terms = Terms(Selection(exclude=("b",)))
    kinds, layout = after(both, planned(column("a")), terms)
    assert (kinds, states(layout)) == ([Kind.REMOVED], {"a": "live", "b": "left out"})
    assert layout.fetched == ("sys_id", "a")
    kinds, layout = after(layout, both)
    assert (kinds, states(layout)) == ([Kind.RETURNED], {"a": "live", "b": "filling"})


def test_a_layout_that_was_stored_before_columns_had_states_reads_as_live() -> None:
    stored = msgspec.to_builtins(planned(column("a")))
    for entry in stored["columns"]:
        del entry["state"]
    del stored["learned_from"]
    read = msgspec.convert(stored, Layout)
    assert {c.state for c in read.columns} == {ColumnState.LIVE}
    assert read.learned_from == "sys_dictionary"
