"""Puts the parts together: settings in, database, instances and worker out. The only place that reads the clock, draws
random numbers and opens credentials; everything below is handed what it needs.
"""

from __future__ import annotations

from nowbridge.wiring.channels import notifier_of
from nowbridge.wiring.clock import now
from nowbridge.wiring.console import connector_of, console_of
from nowbridge.wiring.credentials import (
    OPTIONS,
    Credentials,
    SignIn,
    flow_of,
    keyring,
    new_hook,
    opened,
    opened_secret,
    rotate_keys,
    sealed,
    unsealed,
)
from nowbridge.wiring.database import (
    Prepared,
    back_up,
    find_database,
    install,
    prepare_home,
    reader_dsn,
    restore,
    start_database,
)
from nowbridge.wiring.replicas import (
    instance_of,
    kept_by,
    new_holder,
    only_connection,
    open_replica,
    own_in_flight,
    pace_of,
    replica_of,
    route_of,
    settings_for,
    stored_instance,
    verifier_of,
)
from nowbridge.wiring.workers import duties_of, make_writable, receiver_of, undo_write, worker_of, write_settings_of

__all__ = [
    "OPTIONS",
    "Credentials",
    "Prepared",
    "SignIn",
    "back_up",
    "connector_of",
    "console_of",
    "duties_of",
    "find_database",
    "flow_of",
    "install",
    "instance_of",
    "kept_by",
    "keyring",
    "make_writable",
    "new_holder",
    "new_hook",
    "notifier_of",
    "now",
    "only_connection",
    "open_replica",
    "opened",
    "opened_secret",
    "own_in_flight",
    "pace_of",
    "prepare_home",
    "reader_dsn",
    "receiver_of",
    "replica_of",
    "restore",
    "rotate_keys",
    "route_of",
    "sealed",
    "settings_for",
    "start_database",
    "stored_instance",
    "undo_write",
    "unsealed",
    "verifier_of",
    "worker_of",
    "write_settings_of",
]
