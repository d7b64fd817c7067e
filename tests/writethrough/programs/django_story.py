"""A story told with Django: `django_story.py STORY` with the database's parts in PG* variables. The models are what
`inspectdb` prints about the replica, in a module `models.py` of a folder on PYTHONPATH. Prints JSON.
"""

import importlib
import json
import os
import sys

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=[],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
            "USER": os.environ["PGUSER"],
            "PASSWORD": os.environ["PGPASSWORD"],
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ["PGPORT"],
        }
    },
    USE_TZ=True,
)
django.setup()

from django.core.management import call_command  # noqa: E402 - Django has to be set up before
from django.db import DatabaseError, connection, transaction  # noqa: E402


def inspect() -> None:
    """The models, as source text."""
    call_command("inspectdb", "incident")


def write() -> None:
    """Read, write by label, create, delete, and be refused: by a label, and at COMMIT."""
    models = importlib.import_module("models")
    incidents = models.Incident.objects
    one = incidents.get(number="INC0000001")
    told: dict[str, object] = {"was": one.state, "key": models.Incident._meta.pk.name}
    one.state = "In Progress"
    one.save(update_fields=["state"])
    one.refresh_from_db()
    told["is"] = [one.state, one.state_value, one.sys_mod_count]
    one.short_description = "saved whole"
    one.save()
    one.refresh_from_db()
    told["saved"] = [one.short_description, one.state, one.sys_mod_count]
    one.sys_created_by = "somebody else"
    try:
        one.save()
    except DatabaseError as error:
        told["not saved"] = str(error).splitlines()[0]
    told["updated"] = incidents.filter(number="INC0000000").update(short_description="by a query set")
    made = incidents.create(short_description="by django", impact="1 - High", urgency="1 - High")
    told["made before"] = made.number
    made = incidents.get(short_description="by django")
    told["made"] = [made.priority, made.number.startswith("INC"), made.opened_at.tzinfo is not None]
    told["deleted"] = incidents.filter(number="INC0000002").delete()[0]
    told["refusals"] = [refused(models, "invalid-state", None), refused(models, None, "bad")]
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        told["user"] = cursor.fetchone()[0]
    json.dump(told, sys.stdout)


def refused(models: object, state: str | None, text: str | None) -> list[str]:
    """Where the refusal came, and its first line."""
    at = "execute"
    try:
        with transaction.atomic():
            values = {"state": state} if state else {"short_description": text}
            models.Incident.objects.filter(number="INC0000001").update(**values)  # type: ignore[attr-defined]
            at = "commit"
    except DatabaseError as error:
        return [at, type(error).__name__, str(error).splitlines()[0]]
    return []


if __name__ == "__main__":
    {"inspect": inspect, "write": write}[sys.argv[1]]()
