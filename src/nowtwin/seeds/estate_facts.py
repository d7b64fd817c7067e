"""What a generated estate is made of: model categories, relation types, manufacturers with their models, software.

Names of products and vendors are facts of the trade; which class and asset class a category stands for is as on a
stock instance (servicenow-api.md 11.2). The sys_ids of relation types are the platform's own where ServiceNow's
documentation states them; a type without one gets a sys_id computed from its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nowtwin.seeds.sys_ids import sys_id_of


@dataclass(frozen=True, slots=True)
class Category:
    """A row of cmdb_model_category; consumables and licences have no CI class."""

    name: str
    asset_class: str
    cmdb_ci_class: str
    product_model_class: str = "cmdb_hardware_product_model"


CATEGORIES: Final = (
    Category("Computer", "alm_hardware", "cmdb_ci_computer"),
    Category("Server", "alm_hardware", "cmdb_ci_server"),
    Category("Linux Server", "alm_hardware", "cmdb_ci_linux_server"),
    Category("Windows Server", "alm_hardware", "cmdb_ci_win_server"),
    Category("ESX Server", "alm_hardware", "cmdb_ci_esx_server"),
    Category("Network Gear", "alm_hardware", "cmdb_ci_netgear"),
    Category("IP Switch", "alm_hardware", "cmdb_ci_ip_switch"),
    Category("IP Router", "alm_hardware", "cmdb_ci_ip_router"),
    Category("Printer", "alm_hardware", "cmdb_ci_printer"),
    Category("UPS", "alm_hardware", "cmdb_ci_ups"),
    Category("Communication Device", "alm_hardware", "cmdb_ci_comm"),
    Category("Computer Peripheral", "alm_hardware", "cmdb_ci_peripheral"),
    Category("Storage Device", "alm_hardware", "cmdb_ci_hardware"),
    Category("Facility", "alm_facility", "", "cmdb_facility_product_model"),
    Category("Application", "alm_asset", "cmdb_ci_appl", "cmdb_application_product_model"),
    Category("Software License", "alm_license", "", "cmdb_software_product_model"),
    Category("Consumable", "alm_consumable", "", "cmdb_consumable_product_model"),
)

# name -> the platform's sys_id, where documented
RELATION_TYPES: Final[Mapping[str, str]] = {
    "Cluster of::Cluster": "a99d39118f10310091769012cbbe4429",
    "Connects to::Connected by": "",
    "Consumes::Consumed by": "41008aa6ef32010098d5925495c0fb94",
    "Contains::Contained by": "55c95bf6c0a8010e0118ec7056ebc54d",
    "Depends on::Used by": "1a9cb166f1571100a92eb60da2bce5c5",
    "Exchanges data with::Exchanges data with": "607ad1b2c0a8010e01941856b365af90",
    "Hosted on::Hosts": "5f985e0ec0a8010e00a9714f2a172815",
    "Managed by::Manages": "",
    "Members::Member of": "55c913d3c0a8010e012d1563182d6050",
    "Owns::Owned by": "25242fb2377a9200738d021a54990e88",
    "Provides::Provided by": "f67e9ecdff602000dada361332f49d35",
    "Receives data from::Sends data to": "",
    "Runs on::Runs": "60bc4e22c0a8010e01f074cbe6bd73c3",
    "Uses::Used by": "cb5592603751200032ff8c00dfbe5d17",
    "Virtualized by::Virtualizes": "d93304fb0a0a0b78006081a72ef08444",
}


def relation_type_id(name: str) -> str:
    """The sys_id of a relation type by its full name."""
    return RELATION_TYPES.get(name) or sys_id_of("cmdb_rel_type", name)


# category -> manufacturer and name of its models
MODELS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "Computer": (
        ("Apple", "MacBook Air M3 13"),
        ("Apple", "MacBook Pro M3 14"),
        ("Dell", "Latitude 5540"),
        ("Dell", "OptiPlex 7010"),
        ("HP", "EliteBook 840 G10"),
        ("Lenovo", "ThinkPad T14 Gen 4"),
        ("Lenovo", "ThinkCentre M70q"),
    ),
    "Linux Server": (("Dell", "PowerEdge R650"), ("HPE", "ProLiant DL380 Gen11"), ("Supermicro", "SYS-1029P")),
    "Windows Server": (("Dell", "PowerEdge R750"), ("HPE", "ProLiant DL360 Gen10"), ("Lenovo", "ThinkSystem SR630")),
    "ESX Server": (("Dell", "PowerEdge R840"), ("HPE", "ProLiant DL560 Gen10")),
    "IP Switch": (("Cisco", "Catalyst 9300-48P"), ("Cisco", "Nexus 93180YC-EX"), ("Juniper", "EX4300-48T")),
    "IP Router": (("Cisco", "ISR 4451"), ("Juniper", "MX204")),
    "Printer": (("Brother", "HL-L6400DW"), ("Canon", "imageRUNNER 2630i"), ("HP", "LaserJet M507dn")),
}

# publisher, product, versions
SOFTWARE: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("Microsoft", "Office Professional Plus", ("2016", "2019", "2021")),
    ("Microsoft", "Visio Professional", ("2019", "2021")),
    ("Microsoft", "Project Professional", ("2019", "2021")),
    ("Microsoft", "SQL Server Standard", ("2017", "2019", "2022")),
    ("Microsoft", "Visual Studio Code", ("1.85", "1.92")),
    ("Adobe", "Acrobat Reader DC", ("22.3", "23.8")),
    ("Adobe", "Photoshop", ("24.7", "25.2")),
    ("Google", "Chrome", ("119.0", "120.0", "126.0")),
    ("Mozilla", "Firefox ESR", ("102.15", "115.6")),
    ("Oracle", "Java SE Runtime Environment", ("8.0.391", "17.0.9")),
    ("Zoom", "Zoom Client for Meetings", ("5.16", "6.1")),
    ("VideoLAN", "VLC media player", ("3.0.18", "3.0.20")),
    ("Igor Pavlov", "7-Zip", ("22.01", "23.01")),
    ("The Git Development Community", "Git", ("2.41", "2.45")),
)

PACKAGES: Final = ("openssl 3.0.7", "bash 5.1.8", "systemd 252", "python3 3.9.18", "openssh-server 8.7", "curl 7.76")
"""Packages of a Linux server, as cmdb_ci_spkg rows."""
