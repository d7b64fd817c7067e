"""aiosnow, an asynchronous client with models, as a judge: through its public classes, over HTTPS.

It parses every answer with schemas of its own: each column must come as value and display value, every date must be
one, and the Link header must lead through the pages.
"""

import ssl
from pathlib import Path

import aiosnow
import pytest
from aiohttp import ClientSession, TCPConnector
from aiosnow.exceptions import NoItems, RequestError, TooManyItems
from aiosnow.models import fields
from aiosnow.models.table.declared import IncidentModel
from aiosnow.query import Selector

from tests.nowtwin_judges.conftest import Site

# aiosnow is of 2020: it subclasses ClientSession and names its connector's options in the old way.
pytestmark = [
    pytest.mark.behaviour("1, 2, 6.2", evidence="measured by others: aiosnow reads instances this way"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

BETH = "b" * 32


class UserModel(aiosnow.TableModel):  # type: ignore[misc]
    sys_id = fields.String(is_primary=True)
    name = fields.String()
    email = fields.String()


class TicketModel(aiosnow.TableModel):  # type: ignore[misc]
    """An incident whose caller is read along, by the link of the reference."""

    sys_id = fields.String(is_primary=True)
    number = fields.String()
    caller_id = UserModel.schema_cls


def trusting(certificate: Path) -> type[ClientSession]:
    """A session class that trusts the twin; aiosnow itself only knows what the system trusts."""
    context = ssl.create_default_context(cafile=str(certificate))

    class Trusting(ClientSession):
        def __init__(self, **options: object) -> None:
            super().__init__(**{**options, "connector": TCPConnector(ssl=context)})  # type: ignore[arg-type]

    return Trusting


@pytest.fixture
def client(site: Site) -> aiosnow.Client:
    site.instance.load(
        "sys_user", [{"sys_id": BETH, "user_name": "beth", "name": "Beth Anglin", "email": "b@example.com"}]
    )
    return aiosnow.Client(site.address, basic_auth=("admin", "admin"), session_cls=trusting(site.certificate))


def load_incidents(site: Site, count: int) -> None:
    rows = ({"sys_id": f"{n:032x}", "number": f"INC{n:07d}", "impact": "2", "state": "1"} for n in range(count))
    site.instance.load("incident", rows)


async def test_thousands_of_records_stream_page_by_page(site: Site, client: aiosnow.Client) -> None:
    load_incidents(site, 2_500)
    async with IncidentModel(client, table_name="incident") as incidents:
        selection = Selector("").order_asc("sys_id")
        stream = incidents.stream(selection, limit=5_000, page_size=500, return_only=["sys_id", "number"])
        numbers = [record["number"] async for _, record in stream]
    assert numbers == [f"INC{n:07d}" for n in range(2_500)]


async def test_a_record_is_read_with_numbers_dates_and_labels(site: Site, client: aiosnow.Client) -> None:
    values = {"sys_id": "1" * 32, "number": "INC1", "impact": "2", "priority": "3", "caller_id": BETH}
    site.instance.load("incident", [values | {"opened_at": "2025-01-02 03:04:05", "active": "true", "state": "2"}])
    async with IncidentModel(client, table_name="incident") as incidents:
        found = await incidents.get_one(IncidentModel.number == "INC1")
    assert (found["impact"].key, found["impact"].value) == (2, "2 - Medium")
    assert (found["state"].key, found["state"].value) == (2, "In Progress")
    assert (found["active"], found["caller_id"]) == (True, BETH)
    assert found["opened_at"].isoformat() == "2025-01-02T03:04:05"
    assert found["work_notes"] is None


async def test_conditions_are_joined_and_negated(site: Site, client: aiosnow.Client) -> None:
    rows = [("a", "1", "true"), ("b", "2", "true"), ("c", "3", "false")]
    site.instance.load("incident", [dict(zip(("short_description", "impact", "active"), r, strict=True)) for r in rows])
    async with IncidentModel(client, table_name="incident") as incidents:

        async def found(selection: aiosnow.Selector) -> list[str]:
            response = await incidents.get(aiosnow.select(selection).order_asc("short_description"))
            return [record["short_description"] for record in response]

        assert await found(IncidentModel.impact.in_list([1, 3])) == ["a", "c"]
        assert await found((IncidentModel.impact >= 2) & (IncidentModel.short_description != "c")) == ["b"]
        assert await found(
            IncidentModel.short_description.equals("a") | IncidentModel.short_description.equals("b")
        ) == [
            "a",
            "b",
        ]
        assert await found(IncidentModel.caller_id.is_empty()) == ["a", "b", "c"]


async def test_a_reference_is_followed_through_its_link(site: Site, client: aiosnow.Client) -> None:
    site.instance.load("incident", [{"sys_id": "1" * 32, "number": "INC1", "caller_id": BETH}])
    async with TicketModel(client, table_name="incident") as tickets:
        found = await tickets.get_one(TicketModel.number == "INC1")
    assert found["caller_id"] == {"sys_id": BETH, "name": "Beth Anglin", "email": "b@example.com"}


async def test_records_are_created_updated_and_deleted(site: Site, client: aiosnow.Client) -> None:
    async with IncidentModel(client, table_name="incident") as incidents:
        created = await incidents.create({"short_description": "made", "impact": "1", "urgency": "1"})
        assert (created.status, created["priority"].key) == (201, 1)
        sys_id = created["sys_id"]
        updated = await incidents.update(IncidentModel.number == created["number"], {"short_description": "changed"})
        assert (updated["sys_id"], updated["short_description"]) == (sys_id, "changed")
        assert (await incidents.delete(sys_id)).status == 204
        with pytest.raises(NoItems):
            await incidents.get_one(IncidentModel.sys_id == sys_id)
    assert site.instance.read("incident", sys_id) is None


async def test_errors_carry_message_detail_and_status(site: Site, client: aiosnow.Client) -> None:
    load_incidents(site, 2)
    async with IncidentModel(client, table_name="incident") as incidents:
        with pytest.raises(TooManyItems):
            await incidents.get_one(IncidentModel.number.starts_with("INC"))
        with pytest.raises(RequestError, match="No Record found: Record doesn't exist or ACL restricts") as missing:
            await incidents.update("f" * 32, {"short_description": "x"})
        assert missing.value.status == 404
    stranger = aiosnow.Client(site.address, basic_auth=("admin", "no"), session_cls=trusting(site.certificate))
    async with IncidentModel(stranger, table_name="incident") as incidents:
        with pytest.raises(RequestError, match="User Not Authenticated") as refused:
            await incidents.get()
        assert refused.value.status == 401
    async with IncidentModel(client, table_name="no_such_table") as incidents:
        with pytest.raises(RequestError, match="Invalid table no_such_table"):
            await incidents.get()


async def test_files_are_uploaded_listed_and_downloaded(site: Site, client: aiosnow.Client, tmp_path: Path) -> None:
    load_incidents(site, 1)
    content = b"%PDF-1.4 not really"
    (tmp_path / "report.pdf").write_bytes(content)
    async with IncidentModel(client, table_name="incident") as incidents:
        made = await incidents.upload_file(IncidentModel.number == "INC0000000", str(tmp_path / "report.pdf"))
        assert (made["file_name"], made["size_bytes"], made["content_type"]) == (
            "report.pdf",
            len(content),
            "application/pdf",
        )
        listed = await incidents.get_attachments()
        assert [entry["table_sys_id"] for entry in listed] == [f"{0:032x}"]
        await incidents.download_file(f"sys_id={made['sys_id']}", str(tmp_path / "back"))
    assert (tmp_path / "back" / "report.pdf").read_bytes() == content
