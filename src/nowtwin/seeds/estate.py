"""An estate, generated: hardware, software and services of a company, and how they hang together.

Everything is computed from a seed and an index, so any number of CIs streams by without being held: a million rows cost
no more memory than one. CIs come in fixed shares per class; a server's applications, its switch and its network card
follow from its index, which is how relations find both ends without looking at rows. An asset and its CI point at
each other, as the platform's rules would have left them. People, places and companies are those of the demo.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from random import Random
from typing import Final

from nowtwin.seeds.display_values import stored
from nowtwin.seeds.estate_facts import MODELS, relation_type_id
from nowtwin.seeds.generator_pool import Pool, demo_pool
from nowtwin.seeds.references import Row
from nowtwin.seeds.sys_ids import sys_id_of

FIRST_SEEN: Final = datetime(2022, 1, 10, 6, 0, tzinfo=UTC)
_SPAN_DAYS: Final = 900
_SPREAD: Final = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""Odd, so that multiplying by it visits every 128-bit number once: sys_ids in no visible order, without repeats."""
_RUNS: Final = "Runs on::Runs"
"""Every process runs on one host; other relations reach every CI on both sides."""
_LINUX_NETWORK, _WINDOWS_NETWORK, _ESX_NETWORK, _SWITCH_NETWORK = 0, 64, 128, 192
_WORDS: Final = ("Billing", "Orders", "Payroll", "Inventory", "Claims", "Portal", "Analytics", "Scheduling", "Archive")

Stream = tuple[str, Iterator[Row]]
Detail = Callable[[Random, int], Row]


class Ids:
    """The sys_ids of one kind of rows, by index."""

    def __init__(self, seed: int, kind: str) -> None:
        self._base = int.from_bytes(blake2b(f"{seed}\n{kind}".encode(), digest_size=16).digest())

    def __getitem__(self, index: int) -> str:
        return f"{(self._base + index * _SPREAD) % 2**128:032x}"


@dataclass(frozen=True, slots=True)
class Kind:
    """One class of CIs: its share of all (per thousand), how its names begin, its model category where it is hardware."""

    table: str
    share: int
    prefix: str
    category: str = ""


COMPUTER: Final = Kind("cmdb_ci_computer", 380, "PC", "Computer")
LINUX: Final = Kind("cmdb_ci_linux_server", 110, "lnx", "Linux Server")
WINDOWS: Final = Kind("cmdb_ci_win_server", 90, "win", "Windows Server")
ESX: Final = Kind("cmdb_ci_esx_server", 10, "esx", "ESX Server")
SWITCH: Final = Kind("cmdb_ci_ip_switch", 40, "sw", "IP Switch")
ROUTER: Final = Kind("cmdb_ci_ip_router", 10, "rtr", "IP Router")
PRINTER: Final = Kind("cmdb_ci_printer", 30, "prn", "Printer")
MACHINE: Final = Kind("cmdb_ci_vmware_instance", 80, "vm")
ADAPTER: Final = Kind("cmdb_ci_network_adapter", 110, "eth0")
TOMCAT: Final = Kind("cmdb_ci_app_server_tomcat", 45, "tomcat")
APACHE: Final = Kind("cmdb_ci_apache_web_server", 45, "apache")
POSTGRES: Final = Kind("cmdb_ci_db_postgresql_instance", 25, "postgres")
SQL_SERVER: Final = Kind("cmdb_ci_db_mssql_instance", 15, "mssql")
SERVICE: Final = Kind("cmdb_ci_service_auto", 8, "svc")
APPLICATION: Final = Kind("cmdb_ci_business_app", 2, "app")
KINDS: Final = (
    *(COMPUTER, LINUX, WINDOWS, ESX, SWITCH, ROUTER, PRINTER, MACHINE, ADAPTER),
    *(TOMCAT, APACHE, POSTGRES, SQL_SERVER, SERVICE, APPLICATION),
)

# parent kind, relation type, child kind
RELATIONS: Final = (
    (LINUX, "Connects to::Connected by", SWITCH),
    (WINDOWS, "Connects to::Connected by", SWITCH),
    (SWITCH, "Connects to::Connected by", ROUTER),
    (LINUX, "Owns::Owned by", ADAPTER),
    (MACHINE, "Virtualized by::Virtualizes", ESX),
    (TOMCAT, _RUNS, LINUX),
    (APACHE, _RUNS, LINUX),
    (POSTGRES, _RUNS, LINUX),
    (SQL_SERVER, _RUNS, WINDOWS),
    (TOMCAT, "Depends on::Used by", POSTGRES),
    (SERVICE, "Depends on::Used by", TOMCAT),
    (SERVICE, "Depends on::Used by", APACHE),
    (APPLICATION, "Consumes::Consumed by", SERVICE),
)


@dataclass(frozen=True, slots=True)
class Estate:
    """`cis` configuration items, made from `seed`; `streams` gives every table with its rows."""

    seed: int
    cis: int
    pool: Pool

    def count(self, kind: Kind) -> int:
        """How many of a kind: its share, at least one."""
        return max(1, self.cis * kind.share // 1000)

    def ids(self, kind: Kind) -> Ids:
        return Ids(self.seed, kind.table)

    def random(self, purpose: str) -> Random:
        return Random(f"{self.seed} {purpose}")  # noqa: S311 - data, not secrets

    def streams(self) -> Iterator[Stream]:
        """CIs of every kind, then their relations, then the assets of the hardware."""
        for kind in KINDS:
            yield kind.table, self.items(kind)
        yield "cmdb_rel_ci", self.relations()
        for kind in KINDS:
            if kind.category:
                yield "alm_hardware", self.assets(kind)

    # -- configuration items -----------------------------------------------------------------------------------

    def items(self, kind: Kind) -> Iterator[Row]:
        random, ids = self.random(kind.table), self.ids(kind)
        assets = Ids(self.seed, f"asset of {kind.table}")
        models, detail = _models(self.pool, kind), self._detail(kind)
        for index in range(self.count(kind)):
            row = _common(random, self.pool)
            row["sys_id"] = ids[index]
            row["name"] = f"{kind.prefix}-{index + 1:05d}"
            if models:
                row["asset"] = assets[index]
                row["model_id"], row["manufacturer"] = models[index % len(models)]
                row |= _hardware(kind, index, int(random.random() * _SPAN_DAYS))
            row.update(detail(random, index))
            yield row

    def _detail(self, kind: Kind) -> Detail:
        makers: dict[Kind, Detail] = {
            COMPUTER: self._computer,
            LINUX: _linux,
            WINDOWS: _windows,
            ESX: _esx,
            SWITCH: _switch,
            MACHINE: _machine,
            ADAPTER: self._adapter,
            TOMCAT: _process("10.1.18", "8080"),
            APACHE: _process("2.4.57", "443"),
            POSTGRES: _process("15.5", "5432"),
            SQL_SERVER: _process("2019", "1433"),
            SERVICE: _service,
            APPLICATION: self._business_application,
        }
        return makers.get(kind, lambda *_: {})

    def _computer(self, random: Random, _: int) -> Row:
        person = random.choice(self.pool.callers)
        row = {"assigned_to": person.sys_id, "company": person.company, "location": person.location}
        row |= {"os": "Windows 11 Enterprise", "ram": "16384", "cpu_count": "1", "cpu_core_count": "8"}
        return row | {"disk_space": "512", "virtual": "false", "form_factor": "Laptop"}

    def _adapter(self, _: Random, index: int) -> Row:
        servers = self.count(LINUX)
        server = index % servers
        address = {"ip_address": _address(_LINUX_NETWORK, server), "mac_address": _mac(_LINUX_NETWORK, server)}
        return address | {"cmdb_ci": self.ids(LINUX)[server], "netmask": "255.255.0.0", "dhcp_enabled": "false"}

    def _business_application(self, random: Random, index: int) -> Row:
        owner = random.choice(self.pool.callers).sys_id
        row = {"name": f"{_WORDS[index % len(_WORDS)]} {index // len(_WORDS) + 1}", "it_application_owner": owner}
        return row | {"number": f"APM{index + 1:07d}", "owned_by": owner, "active": "true"}

    # -- what connects them ------------------------------------------------------------------------------------

    def relations(self) -> Iterator[Row]:
        """Rows of cmdb_rel_ci, both sides taken in turn."""
        ids = Ids(self.seed, "cmdb_rel_ci")
        number = 0
        for parent, name, child in RELATIONS:
            parents, children = self.count(parent), self.count(child)
            parent_ids, child_ids, type_id = self.ids(parent), self.ids(child), relation_type_id(name)
            for index in range(parents if name == _RUNS else max(parents, children)):
                ends = {"parent": parent_ids[index % parents], "child": child_ids[index % children]}
                yield {"sys_id": ids[number], **_STAMPS, **ends, "type": type_id, "connection_strength": "always"}
                number += 1

    def assets(self, kind: Kind) -> Iterator[Row]:
        """The asset of each CI of a kind of hardware, with the columns that the sync rules keep equal."""
        ids, cis = Ids(self.seed, f"asset of {kind.table}"), self.items(kind)
        category, names = sys_id_of("cmdb_model_category", kind.category), _display_names(kind)
        for index, ci in enumerate(cis):
            row = {element: ci[element] for element in _SHARED if element in ci}
            row |= {"sys_id": ids[index], "ci": ci["sys_id"], "model": ci["model_id"], "model_category": category}
            row |= {"display_name": f"{ci['asset_tag']} - {names[index % len(names)]}", "quantity": "1"}
            row |= {"substatus": "available"} if ci["install_status"] == _IN_STOCK else {}
            yield row


# -- columns of one CI -------------------------------------------------------------------------------------------

_STAMPS: Final = {
    "sys_created_on": stored(FIRST_SEEN),
    "sys_created_by": "admin",
    "sys_updated_on": stored(FIRST_SEEN),
    "sys_updated_by": "admin",
    "sys_mod_count": "0",
}
_SHARED: Final = (
    *_STAMPS,
    *("asset_tag", "serial_number", "assigned_to", "company", "location", "install_status", "purchase_date"),
    *("warranty_expiration", "cost", "sys_domain", "sys_domain_path"),
)
_IN_STOCK: Final = "6"
# install_status and operational_status, and how often they occur; assets and CIs share these three numbers
_STATUSES: Final = (("1", "1"), (_IN_STOCK, "5"), ("7", "6"))
_STATUS_WEIGHTS: Final = (90, 6, 4)
_ENVIRONMENTS: Final = ("Production", "Production", "Production", "Test", "Development")
_DAYS: Final = tuple((FIRST_SEEN + timedelta(days=day)).strftime("%Y-%m-%d") for day in range(_SPAN_DAYS + 1_200))


def _common(random: Random, pool: Pool) -> Row:
    day = int(random.random() * _SPAN_DAYS)
    install, operational = random.choices(_STATUSES, _STATUS_WEIGHTS)[0]
    person = random.choice(pool.callers)
    found = f"{_DAYS[day]} 06:{int(random.random() * 60):02d}:{int(random.random() * 60):02d}"
    seen = f"{_DAYS[day + int(random.random() * 200)]} 21:15:00"
    return {
        "sys_created_on": found,
        "sys_created_by": "admin",
        "sys_updated_on": seen,
        "sys_updated_by": "admin",
        "sys_mod_count": str(1 + int(random.random() * 20)),
        "install_status": install,
        "operational_status": operational,
        "environment": random.choice(_ENVIRONMENTS),
        "discovery_source": "ServiceNow",
        "first_discovered": found,
        "last_discovered": seen,
        "company": person.company,
        "location": person.location,
        "sys_domain": "global",
        "sys_domain_path": "/",
    }


def _hardware(kind: Kind, index: int, day: int) -> Row:
    return {
        "serial_number": f"{kind.prefix.upper()}{index * 7919 % 10_000_000:07d}{index:07d}",
        "asset_tag": f"{kind.prefix.upper()}{index + 1:07d}",
        "purchase_date": _DAYS[day],
        "warranty_expiration": _DAYS[day + 1_095],
        "cost": str(500 + index * 37 % 9_000),
    }


def _address(network: int, index: int) -> str:
    """An IPv4 address; each network holds 65,536, the next one begins where it is full."""
    return f"10.{(network + (index >> 16)) & 255}.{index >> 8 & 255}.{index & 255}"


def _mac(network: int, index: int) -> str:
    return f"02:{network & 255:02x}:{index >> 24 & 255:02x}:{index >> 16 & 255:02x}:{index >> 8 & 255:02x}:{index & 255:02x}"


def _server(network: int, index: int, name: str) -> Row:
    return {
        "host_name": name,
        "fqdn": f"{name}.example.com",
        "dns_domain": "example.com",
        "ip_address": _address(network, index),
        "mac_address": _mac(network, index),
        "virtual": "false",
        "cpu_count": "2",
        "cpu_core_count": "16",
        "ram": "131072",
        "disk_space": "2048",
    }


def _linux(_: Random, index: int) -> Row:
    system = {"os": "Linux Red Hat", "os_version": "9.3", "kernel_release": "5.14.0-362.el9.x86_64"}
    return _server(_LINUX_NETWORK, index, f"lnx-{index + 1:05d}") | system


def _windows(_: Random, index: int) -> Row:
    system = {"os": "Windows 2022 Standard", "os_version": "10.0.20348", "os_domain": "EXAMPLE"}
    return _server(_WINDOWS_NETWORK, index, f"win-{index + 1:05d}") | system


def _esx(_: Random, index: int) -> Row:
    return _server(_ESX_NETWORK, index, f"esx-{index + 1:05d}") | {"os": "VMware ESXi", "os_version": "8.0.2"}


def _switch(_: Random, index: int) -> Row:
    address = {"ip_address": _address(_SWITCH_NETWORK, index), "mac_address": _mac(_SWITCH_NETWORK, index)}
    return address | {"can_switch": "true", "can_route": "false", "ports": "48", "firmware_version": "17.9.4"}


def _machine(_: Random, index: int) -> Row:
    return {"state": "on", "cpus": "4", "memory": "8192", "disks": "2", "nics": "1", "object_id": f"vm-{index + 1}"}


def _process(version: str, port: str) -> Detail:
    return lambda *_: {"version": version, "tcp_port": port, "is_clustered": "false"}


def _service(random: Random, index: int) -> Row:
    criticality = random.choice(("1 - most critical", "2 - somewhat critical", "3 - less critical"))
    name = f"{_WORDS[index % len(_WORDS)]} service {index // len(_WORDS) + 1}"
    return {"name": name, "busines_criticality": criticality, "service_classification": "Application Service"}


def _display_names(kind: Kind) -> list[str]:
    return [f"{maker} {name}" for maker, name in MODELS[kind.category]]


def model_id(display_name: str) -> str:
    return sys_id_of("cmdb_hardware_product_model", display_name)


def company_id(pool: Pool, name: str) -> str:
    """A company of the demo, else the one that the estate adds."""
    return pool.companies.get(name) or sys_id_of("core_company", name)


def _models(pool: Pool, kind: Kind) -> list[tuple[str, str]]:
    """Model and manufacturer, by sys_id; empty for what is no hardware."""
    return [(model_id(f"{maker} {name}"), company_id(pool, maker)) for maker, name in MODELS.get(kind.category, ())]


def generate_estate(seed: int, cis: int) -> Estate:
    """An estate of about that many CIs, among the people, places and companies of the demo (load the demo first)."""
    return Estate(seed, cis, demo_pool())
