"""What tells an older state of a record from a newer one.

`sys_mod_count` rises with each ordinary update and is compared first; `sys_updated_on` has one-second resolution and
comes from the clock of the node that wrote, so it only breaks ties (servicenow-api.md 9.2). Two states with equal
versions and different content exist (`autoSysFields(false)`): comparing content is the verifier's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class Version:
    mod_count: int
    updated_on: datetime
