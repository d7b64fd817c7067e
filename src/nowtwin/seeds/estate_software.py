"""The rest of an estate: models and categories, relation types, what is installed where, licences and stock.

`catalogue` is small and fixed; `installs` grows with the computers of the estate (three per computer).
"""

from collections.abc import Iterator
from typing import Final

from nowtwin.seeds.demo_records import Tables
from nowtwin.seeds.estate import COMPUTER, LINUX, Estate, Ids, Stream, company_id, model_id
from nowtwin.seeds.estate_facts import CATEGORIES, MODELS, PACKAGES, RELATION_TYPES, SOFTWARE, relation_type_id
from nowtwin.seeds.references import CREATED_ON, Row, seeded
from nowtwin.seeds.sys_ids import sys_id_of

INSTALLS_PER_COMPUTER: Final = 3
_LICENSE_RIGHTS: Final = 250


def catalogue(estate: Estate) -> Tables:
    """What there is one of: categories, relation types, companies, models, licences, packages. Rows by table."""
    pool = estate.pool
    return {
        "cmdb_model_category": [_category(category.name) for category in CATEGORIES],
        "cmdb_rel_type": [_relation_type(name) for name in RELATION_TYPES],
        "core_company": [
            seeded(company_id(pool, name), {"name": name, "manufacturer": "true", "vendor": "true"})
            for name in _new_companies(estate)
        ],
        "cmdb_hardware_product_model": [
            _hardware_model(estate, maker, name, category)
            for category, models in MODELS.items()
            for maker, name in models
        ],
        "cmdb_software_product_model": [_software_model(estate, *product) for product in _products()],
        "cmdb_sam_sw_discovery_model": [_discovery_model(*product) for product in _products()],
        "cmdb_ci_spkg": [
            seeded(sys_id_of("cmdb_ci_spkg", package), {"name": package, **_package(package)}) for package in PACKAGES
        ],
        "alm_license": [_license(estate, *product) for product in _products()],
    }


def installs(estate: Estate) -> Iterator[Stream]:
    """Software on computers (as asset management sees it) and packages on Linux servers (as discovery does)."""
    yield "cmdb_sam_sw_install", _installs(estate)
    yield "cmdb_software_instance", _instances(estate)
    yield "alm_entitlement", _entitlements(estate)


def _new_companies(estate: Estate) -> list[str]:
    makers = [maker for models in MODELS.values() for maker, _ in models]
    names = dict.fromkeys([*makers, *(publisher for publisher, _, _ in SOFTWARE)])
    return [name for name in names if name not in estate.pool.companies]


def _category(name: str) -> Row:
    category = next(entry for entry in CATEGORIES if entry.name == name)
    values = {
        "name": name,
        "asset_class": category.asset_class,
        "cmdb_ci_class": category.cmdb_ci_class,
        "product_model_class": category.product_model_class,
        "enforce_verification": "false",
        "allow_in_bundle": "true",
        "bundle": "false",
    }
    return seeded(sys_id_of("cmdb_model_category", name), {key: value for key, value in values.items() if value})


def _relation_type(name: str) -> Row:
    parent, _, child = name.partition("::")
    return seeded(relation_type_id(name), {"name": name, "parent_descriptor": parent, "child_descriptor": child})


def _hardware_model(estate: Estate, maker: str, name: str, category: str) -> Row:
    display_name = f"{maker} {name}"
    values = {
        "name": name,
        "display_name": display_name,
        "manufacturer": company_id(estate.pool, maker),
        "cmdb_model_category": sys_id_of("cmdb_model_category", category),
        "model_number": name.rpartition(" ")[2],
        "status": "In Production",
        "type": "Generic",
        "asset_tracking_strategy": "leave_to_category",
    }
    return seeded(model_id(display_name), values)


# -- software ------------------------------------------------------------------------------------------------------


def _products() -> list[tuple[str, str, str]]:
    """Publisher, product, version."""
    return [(publisher, product, version) for publisher, product, versions in SOFTWARE for version in versions]


def _software_model(estate: Estate, publisher: str, product: str, version: str) -> Row:
    display_name = f"{publisher} {product} {version}"
    values = {
        "name": product,
        "display_name": display_name,
        "version": version,
        "manufacturer": company_id(estate.pool, publisher),
        "cmdb_model_category": sys_id_of("cmdb_model_category", "Software License"),
        "status": "In Production",
    }
    return seeded(sys_id_of("cmdb_software_product_model", display_name), values)


def _discovery_model(publisher: str, product: str, version: str) -> Row:
    display_name = f"{publisher} {product} {version}"
    values = {
        "display_name": display_name,
        "publisher": publisher,
        "product": product,
        "version": version,
        "primary_key": f"{publisher}__{product}__{version}".lower().replace(" ", "_"),
        "normalization_status": "normalized",
        "norm_publisher": publisher,
        "norm_product": product,
        "norm_version": version,
        "model": sys_id_of("cmdb_software_product_model", display_name),
    }
    return seeded(sys_id_of("cmdb_sam_sw_discovery_model", display_name), values)


def _license(estate: Estate, publisher: str, product: str, version: str) -> Row:
    display_name = f"{publisher} {product} {version}"
    values = {
        "display_name": f"{display_name} licence",
        "model": sys_id_of("cmdb_software_product_model", display_name),
        "model_category": sys_id_of("cmdb_model_category", "Software License"),
        "vendor": company_id(estate.pool, publisher),
        "rights": str(_LICENSE_RIGHTS),
        "quantity": "1",
        "install_status": "1",
        "purchase_date": CREATED_ON[:10],
    }
    return seeded(sys_id_of("alm_license", display_name), values)


def _installs(estate: Estate) -> Iterator[Row]:
    products, ids, computers = _products(), Ids(estate.seed, "cmdb_sam_sw_install"), estate.ids(COMPUTER)
    models = [sys_id_of("cmdb_sam_sw_discovery_model", " ".join(product)) for product in products]
    random = estate.random("installs")
    for index in range(estate.count(COMPUTER) * INSTALLS_PER_COMPUTER):
        computer, turn = divmod(index, INSTALLS_PER_COMPUTER)
        chosen = (computer + turn * 11) % len(products)
        publisher, product, version = products[chosen]
        day = f"2023-{1 + int(random.random() * 12):02d}-{1 + int(random.random() * 28):02d}"
        yield {
            "sys_id": ids[index],
            "sys_created_on": f"{day} 06:30:00",
            "sys_created_by": "admin",
            "sys_updated_on": f"{day} 06:30:00",
            "sys_updated_by": "admin",
            "sys_mod_count": "0",
            "display_name": f"{publisher} {product}",
            "publisher": publisher,
            "version": version,
            "installed_on": computers[computer],
            "discovery_model": models[chosen],
            "install_date": f"{day} 00:00:00",
            "last_scanned": "2024-05-31 04:00:00",
            "discovery_source": "ServiceNow",
            "active_install": "true",
        }


def _package(package: str) -> Row:
    name, _, version = package.partition(" ")
    return {"package_name": name, "version": version, "key": package.replace(" ", "_:::_"), "install_status": "1"}


def _instances(estate: Estate) -> Iterator[Row]:
    ids, servers = Ids(estate.seed, "cmdb_software_instance"), estate.ids(LINUX)
    for index in range(estate.count(LINUX)):
        package = PACKAGES[index % len(PACKAGES)]
        values = {"software": sys_id_of("cmdb_ci_spkg", package), "installed_on": servers[index], "name": package}
        yield seeded(ids[index], values)


def _entitlements(estate: Estate) -> Iterator[Row]:
    """Every tenth computer holds a right of some licence."""
    products, ids, computers = _products(), Ids(estate.seed, "alm_entitlement"), estate.ids(COMPUTER)
    for index in range(max(1, estate.count(COMPUTER) // 10)):
        name = " ".join(products[index % len(products)])
        values = {
            "display_name": name,
            "licensed_by": sys_id_of("alm_license", name),
            "quantity": "1",
            "assigned_to_ci": computers[index * 10 % estate.count(COMPUTER)],
        }
        yield seeded(ids[index], values)
