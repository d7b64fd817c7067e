"""An application or update set on disk: a project that was built, a folder of XML, a zip of `now-sdk pack`, one file."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nowtwin.apps.update_xml import Document, Update, read_document

_MOST_BYTES = 256 * 1024 * 1024
_BUILT = Path("dist") / "app"
_APPLICATIONS = ("sys_app", "sys_store_app", "sys_scope")


@dataclass(frozen=True, slots=True)
class Package:
    """Everything that is to be installed together."""

    documents: tuple[Document, ...]

    @property
    def updates(self) -> tuple[Update, ...]:
        return tuple(update for document in self.documents for update in document.updates)

    def first(self, *tables: str) -> Update | None:
        """The first record of one of these tables."""
        return next((update for table in tables for update in self.updates if update.table == table), None)

    @property
    def application(self) -> Update | None:
        return self.first(*_APPLICATIONS)

    @property
    def update_set(self) -> Update | None:
        return self.first("sys_remote_update_set", "sys_update_set")


def read_package(source: Path | bytes) -> Package:
    """Of a project folder only what was built. Raises ValueError for what holds no update XML."""
    files = _members(source) if isinstance(source, bytes) else _files(source)
    documents = tuple(read_document(name, data) for name, data in files if name.lower().endswith(".xml"))
    package = Package(documents)
    if not package.updates and not any(document.schema for document in documents):
        raise ValueError("it holds no update XML (of an SDK project, build it first: now-sdk build)")
    return package


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        folder = path / _BUILT if (path / _BUILT).is_dir() else path
        for file in sorted(folder.rglob("*.xml")):
            if "node_modules" not in file.parts:
                yield file.relative_to(folder).as_posix(), file.read_bytes()
    elif path.is_file():
        data = path.read_bytes()
        if zipfile.is_zipfile(path):
            yield from _members(data)
        else:
            yield path.name if path.suffix == ".xml" else f"{path.name}.xml", data
    else:
        raise ValueError(f"there is no file or folder {path}")


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of a zip; bytes that are no zip count as one XML file."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        yield "package.xml", data
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if sum(entry.file_size for entry in entries) > _MOST_BYTES:
                raise ValueError(f"it unpacks to more than {_MOST_BYTES} bytes")
            for entry in entries:
                yield entry.filename.lstrip("/"), archive.read(entry)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"it is a broken zip: {error}") from error
