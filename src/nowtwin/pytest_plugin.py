"""A pytest plugin: the fixture `servicenow`, a ServiceNow instance of its own for each test.

The instance is started and seeded once per test process; before each test it goes back to that state, which takes
milliseconds. What it starts with is said in the configuration: `nowtwin_data` (`empty`, the default, `demo` or files)
and `nowtwin_apps` (folders, zips or XML of applications), paths being relative to the configuration file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nowtwin.instance import Instance


@dataclass(frozen=True, slots=True)
class ServiceNow:
    """A running instance. `instance` is the emulator itself, to load rows, install applications, arm faults."""

    url: str
    user: str
    password: str
    instance: "Instance"
    start: str
    """The snapshot that every test begins with."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("nowtwin_data", "What the fixture servicenow starts with: empty, demo, files", "linelist", ["empty"])
    parser.addini("nowtwin_apps", "Applications that the fixture servicenow has installed", "linelist", [])


@pytest.fixture(scope="session")
def servicenow_session(pytestconfig: pytest.Config) -> Iterator[ServiceNow]:
    """The instance that all tests of this process share; use `servicenow`, which keeps them apart."""
    from nowtwin.instance import Instance
    from nowtwin.testing import serve

    base = pytestconfig.inipath.parent if pytestconfig.inipath else pytestconfig.rootpath
    with Instance() as instance, serve(instance) as server:
        instance.switches = replace(instance.switches, access_control=True)  # as `nowtwin serve` has it
        for name in pytestconfig.getini("nowtwin_data"):
            _load(instance, base, name)
        for name in pytestconfig.getini("nowtwin_apps"):
            _install(instance, base / name)
        yield ServiceNow(server.url, "admin", "admin", instance, instance.snapshots.take())


def _load(instance: "Instance", base: Path, name: str) -> None:
    from nowtwin.errors import Refused
    from nowtwin.seeds import load_demo, load_file

    if name == "demo":
        load_demo(instance)
    elif name != "empty":
        try:
            load_file(instance, base / name)
        except (OSError, ValueError, Refused) as error:
            raise pytest.UsageError(f"nowtwin_data: cannot load {name}: {error}") from error


def _install(instance: "Instance", path: Path) -> None:
    try:
        instance.install_app(path)
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"nowtwin_apps: cannot install {path.name}: {error}") from error


@pytest.fixture
def servicenow(servicenow_session: ServiceNow) -> ServiceNow:
    """A ServiceNow instance as the configuration seeds it; nothing of other tests is left on it."""
    from nowtwin.testing import calm

    servicenow_session.instance.snapshots.restore(servicenow_session.start)
    calm(servicenow_session.instance)
    return servicenow_session
