"""Labels while rows are loaded: one memory of words per worker, filled from the label table and, where that has none,
from ServiceNow (one call per hundred records).

A label in memory may be outdated by a rename that another worker is just committing. `generation` closes that gap:
a load compares it inside its own transaction and starts over with a fresh memory if it moved, and the rewriting of
renamed labels goes on until every transaction that may have missed the rename has ended (traps, finding 23).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from nowbridge.model.errors import Park, Stop
from nowbridge.model.schema import Choice
from nowbridge.replica.layout import LabelKind, Layout
from nowbridge.replica.rows import Labels, referenced
from nowbridge.replica.spec import Clock, layout_of
from nowbridge.servicenow import tables
from nowbridge.servicenow.instance import Instance
from nowbridge.servicenow.pages import IdSweep
from nowbridge.servicenow.query import EVERYTHING
from nowbridge.servicenow.wire import PageDecoder
from nowbridge.store.database import Connection, Database
from nowbridge.store.rows import labels as store
from nowbridge.store.rows import tables as table_store
from nowbridge.store.rows.tables import TableRow

LOOK_UP = 100  # records per call: more would not fit the 8192 bytes of a URL
REMEMBERED = 300_000  # labels in memory, about 60 MB
FEW = 200  # labels of all tables together that are asked for in one question
MANY = 500  # labels of one table asked for at once: then all that are known of it are read, which is quicker
LISTED_AT_MOST = 200_000  # a larger referenced table is not listed; its labels are read as they are met
LIST_PAGE = 5_000
FOUND_AT_ONCE = 50_000  # rows with outdated words, a few MB of ids
FIRST_CHUNK = 250
LEAST_CHUNK = 20
LOCKED_AT_MOST = 0.06  # seconds that a chunk of rewritten rows is to hold its locks


@dataclass(slots=True)
class _Memory:
    """Words of one generation. Its dictionaries only ever grow, so a page may be encoded from them in another thread
    while more is looked up; what is forgotten is the memory as a whole, and who holds it may go on using it.
    """

    generation: int
    choices: dict[tuple[str, str], dict[str, str]]
    displays: dict[str, str | None]
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    filling: dict[str, asyncio.Lock] = field(default_factory=dict)
    read_whole: set[str] = field(default_factory=set)

    @property
    def labels(self) -> Labels:
        return Labels(self.choices, self.records, self.generation)

    @property
    def size(self) -> int:
        return sum(map(len, self.records.values()))


@dataclass(slots=True)
class Labeller:
    """The words for one connection's records, as this worker remembers them."""

    database: Database
    instance: Instance
    connection_id: int
    clock: Clock
    _memory: _Memory | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def held(self) -> Labels:
        """The words in memory; other records may still have to be looked up."""
        return (await self._current()).labels

    async def words(self, layout: Layout, page: Mapping[str, Sequence[str]]) -> Labels:
        """Words for everything that the page points at; what has none stands for itself."""
        memory = await self._current()
        wanted = referenced(layout, page)
        await self._look_up_few(memory, wanted)
        for table, keys in wanted.items():
            # One at a time: pages that are loaded side by side mostly point at the same records.
            async with memory.filling.setdefault(table, asyncio.Lock()):
                held = memory.records.setdefault(table, {"": ""})
                missing = _lacking(keys, held)
                if len(missing) > MANY and table not in memory.read_whole:
                    memory.read_whole.add(table)
                    held.update(await self._read_whole(table, REMEMBERED - memory.size))
                    missing = _lacking(missing, held)
                if missing:
                    held.update(await self._look_up(table, list(missing), memory.displays.get(table)))
        return memory.labels

    async def _look_up_few(self, memory: _Memory, wanted: Mapping[str, AbstractSet[str]]) -> None:
        """What one record points at is little, of many tables: one question for all that is known of it."""
        missing = {t: _lacking(keys, memory.records.get(t, {})) for t, keys in wanted.items()}
        missing = {table: keys for table, keys in missing.items() if keys}
        if len(missing) < 2 or sum(map(len, missing.values())) > FEW:  # noqa: PLR2004 - one table is asked below
            return
        async with self.database.session() as connection:
            found = await store.known_several(connection, self.connection_id, missing)
        for table, words in found.items():
            held = memory.records.setdefault(table, {"": ""})
            held.update({key: label or key for key, label in words.items()})

    async def learn(self, table: str, words: Mapping[str, str | None]) -> None:
        """Keep words that were just stored, while there is room: whoever lists a table mostly loads one next."""
        memory = await self._current()
        if memory.size + len(words) <= REMEMBERED:
            memory.records.setdefault(table, {"": ""}).update({key: label or key for key, label in words.items()})

    async def keep(self, records: Mapping[str, Mapping[str, Mapping[str, str]]]) -> None:
        """Store what these records, by table and sys_id, are shown as, where their table is one that others point at."""
        displays = (await self._current()).displays
        for table, of_table in records.items():
            display = displays.get(table) or ""
            words = {sys_id: record[display] or None for sys_id, record in of_table.items() if display in record}
            if words:
                async with self.database.transaction() as connection:
                    await store.remember(connection, self.connection_id, table, words, now=self.clock())
                await self.learn(table, words)

    async def still_current(self, connection: Connection, labels: Labels) -> bool:
        """Whether the words given out still hold, asked inside the transaction that writes them."""
        generation = await store.generation(connection, self.connection_id)
        if generation == labels.generation:
            return True
        if self._memory is not None and self._memory.generation != generation:
            self.forget()
        return False

    def forget(self) -> None:
        self._memory = None

    async def _current(self) -> _Memory:
        async with self._reading:
            memory = self._memory
            if memory is None or memory.size > REMEMBERED:
                memory = self._memory = await self._read()
            return memory

    async def _read(self) -> _Memory:
        async with self.database.transaction() as connection:
            generation = await store.generation(connection, self.connection_id)
            choices = await store.choices(connection, self.connection_id)
            sources = await store.sources(connection, self.connection_id)
        return _Memory(generation, choices, {source.table: source.display for source in sources})

    async def _read_whole(self, table: str, most: int) -> dict[str, str]:
        async with self.database.transaction() as connection:
            found = await store.known_all(connection, self.connection_id, table, most=max(0, most))
        return {key: label or key for key, label in found.items()}

    async def _look_up(self, table: str, keys: Sequence[str], display: str | None) -> dict[str, str]:
        async with self.database.transaction() as connection:
            found = await store.known(connection, self.connection_id, table, keys)
        unknown = [key for key in keys if key not in found]
        if unknown and display is not None:
            asked = await self._ask(table, display, unknown)
            async with self.database.transaction() as connection:
                await store.remember(connection, self.connection_id, table, asked, now=self.clock())
            found |= asked
        return {key: found.get(key) or key for key in keys}

    async def _ask(self, table: str, display: str, keys: Sequence[str]) -> dict[str, str | None]:
        """Labels straight from the instance. A record that does not come back is remembered as not readable."""
        answers: dict[str, str | None] = dict.fromkeys(keys)
        decoder = PageDecoder(("sys_id", display))
        plain = [key for key in keys if "^" not in key and "," not in key]
        for start in range(0, len(plain), LOOK_UP):
            try:
                answer = await tables.read_records(
                    self.instance, table, plain[start : start + LOOK_UP], ("sys_id", display)
                )
            except (Stop, Park):  # the account may not read this table: its labels are the stored values
                break
            page = decoder.decode(answer.body)
            answers.update(zip(page.column("sys_id"), (label or None for label in page.column(display)), strict=True))
        return {key: answers[key] for key in keys}


def _lacking(keys: AbstractSet[str], held: Mapping[str, str]) -> set[str]:
    """A set less a dictionary's keys would walk through the whole dictionary, which may hold every label there is."""
    return {key for key in keys if key not in held}


async def list_labels(labeller: Labeller, source: store.LabelSource) -> int:
    """Read the labels of all records of one referenced table. Returns the number of calls."""
    if source.display is None:
        return 0
    fields = ("sys_id", source.display)
    decoder = PageDecoder(fields)
    try:
        total = await tables.count(labeller.instance, source.table, "")
    except (Stop, Park):  # not readable or no such table: shown by value, and `nowbridge check` says so
        return 1
    if total > LISTED_AT_MOST:
        return 1
    sweep = IdSweep(EVERYTHING, low=None, high=None, page_size=LIST_PAGE)
    calls = 1
    while (request := sweep.next_request()) is not None:
        answer = await tables.read_page(labeller.instance, source.table, request, fields)
        page = decoder.decode(answer.body)
        calls += 1
        words: dict[str, str | None] = dict(
            zip(page.column("sys_id"), (label or None for label in page.column(source.display)), strict=True)
        )
        async with labeller.database.transaction() as connection:
            await store.remember(connection, labeller.connection_id, source.table, words, now=labeller.clock())
        await labeller.learn(source.table, words)
        sweep.received(page.ids, None, page.rows, answer.total_count)
    async with labeller.database.transaction() as connection:
        await store.mark_listed(connection, labeller.connection_id, source.table, now=labeller.clock())
    return calls


def effective_choices(layouts: Iterable[Layout], choices: Iterable[Choice]) -> list[tuple[str, str, str, str, str]]:
    """The choice list of every choice column: (table, column, dependent, value, label). A table without rows of its
    own for a column uses its nearest ancestor's (servicenow-api.md 3.2).
    """
    lists: dict[tuple[str, str], list[Choice]] = {}
    for choice in choices:
        lists.setdefault((choice.table, choice.column), []).append(choice)
    found = {}
    for layout in layouts:
        for column in layout.columns:
            source = column.labels
            if source is None or source.kind is not LabelKind.CHOICE:
                continue
            lineage = (source.table, *layout.ancestors) if source.table == layout.table else (source.table,)
            own = next((lists[table, source.column] for table in lineage if (table, source.column) in lists), [])
            for choice in own:
                key = (source.table, source.column, choice.dependent, choice.value)
                found[key] = (*key, choice.label)
    return list(found.values())


def choice_tables(layouts: Iterable[Layout]) -> list[str]:
    """The tables under whose names these layouts' choice lists may be filed."""
    names: dict[str, None] = {}
    for layout in layouts:
        sources = [c.labels for c in layout.columns if c.labels is not None and c.labels.kind is LabelKind.CHOICE]
        names |= dict.fromkeys(source.table for source in sources)
        names |= dict.fromkeys((layout.table, *layout.ancestors) if sources else ())
    return list(names)


def choice_columns(layouts: Iterable[Layout]) -> list[tuple[str, str]]:
    """The columns whose lists of choices these layouts show, each as (table, column) that owns the list."""
    sources = [column.labels for layout in layouts for column in layout.columns if column.labels is not None]
    return list(dict.fromkeys((s.table, s.column) for s in sources if s.kind is LabelKind.CHOICE))


def label_columns(layout: Layout, table: str, owner: str | None = None) -> list[tuple[str, str, bool]]:
    """The columns of a layout that show labels of `table`'s records, or of the choices of its column `owner`: (shown,
    stored, many).
    """
    return [
        (column.name, layout.stored_beside(column).name, column.labels.kind is LabelKind.LIST)
        for column in layout.loaded
        if column.labels is not None
        and column.labels.table == table
        and (column.labels.column if column.labels.kind is LabelKind.CHOICE else None) == owner
    ]


async def rewrite_renamed(database: Database, connection_id: int, *, chunk: int = 2_000) -> int:
    """Carry renames to the rows that show them, in chunks of at most `chunk` rows that lock briefly and leave out rows
    that a client holds. Returns how many rows were rewritten. Changes that cannot be settled yet stay queued for the
    next call. One worker at a time does this for a connection; to the others there is nothing to do.
    """
    async with database.transaction() as connection:
        changes = await store.pending_changes(connection, connection_id, limit=500)
        rows = await table_store.all_of(connection, connection_id) if changes else []
    if not changes:
        return 0
    async with database.session() as own, store.alone(own, connection_id) as alone:
        return await _carry_all(database, connection_id, changes, rows, chunk) if alone else 0


async def _carry_all(
    database: Database,
    connection_id: int,
    changes: Sequence[store.LabelChange],
    rows: Sequence[TableRow],
    chunk: int,
) -> int:
    layouts = [(row, layout_of(row)) for row in rows]
    rewritten = 0
    for table, owner in dict.fromkeys((change.table_name, change.column) for change in changes):
        mine = [change for change in changes if (change.table_name, change.column) == (table, owner)]
        columns = [
            store.LabelColumn(row.relation, shown, stored, many)
            for row, layout in layouts
            for shown, stored, many in label_columns(layout, table, owner)
        ]
        rewritten += await _carry(database, store.Words(connection_id, table, owner), mine, columns, chunk)
    return rewritten


async def _carry(
    database: Database,
    words: store.Words,
    changes: Sequence[store.LabelChange],
    columns: Sequence[store.LabelColumn],
    chunk: int,
) -> int:
    """Rewrite what shows one table's changed labels, and settle the changes that nobody can undo any more."""
    keys = [change.key for change in changes]
    async with database.transaction() as connection:
        ended = [change for change in changes if await store.stamp_change(connection, change)]
    done = [await _rewrite(database, column, words, keys, chunk) for column in columns]
    if not any(left for _, left in done):
        async with database.transaction() as connection:
            for change in ended:
                await store.settle_change(connection, change)
    return sum(rewritten for rewritten, _ in done)


async def _rewrite(
    database: Database, column: store.LabelColumn, words: store.Words, keys: Sequence[str], chunk: int
) -> tuple[int, int]:
    """One walk through the table: rows are found without a lock, then rewritten a chunk at a time, by more or fewer rows
    as the last chunk held its locks shorter or longer than wanted. Returns (rewritten, left locked).
    """
    total = left = 0
    after = ""
    size = min(chunk, FIRST_CHUNK)
    while True:
        async with database.transaction() as connection:
            found = await store.outdated(connection, column, words, keys=keys, after=after, limit=FOUND_AT_ONCE)
        at = 0
        while at < len(found):
            ids = found[at : at + size]
            async with database.transaction() as connection:
                written, seconds = await store.rewrite_labels(connection, column, words, ids)
            at += len(ids)
            total += written
            left += len(ids) - written
            size = _next_size(size, seconds, chunk)
        if len(found) < FOUND_AT_ONCE:
            return total, left
        after = found[-1]


def _next_size(size: int, seconds: float, most: int) -> int:
    if seconds > LOCKED_AT_MOST:
        return max(LEAST_CHUNK, size // 2)
    return min(most, size * 2) if seconds < LOCKED_AT_MOST / 3 else size
