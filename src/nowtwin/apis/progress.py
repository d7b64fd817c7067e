"""`GET /api/sn_cicd/progress/{id}`: how far an installation is, from its sys_execution_tracker row.

Shape: the CI/CD API of ServiceNow's documentation (D:api-reference/rest-apis/cicd-api.md), as far as now-sdk reads it.
"""

import re

from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer
from nowtwin.instance import Instance

TABLE = "sys_execution_tracker"
SUCCESSFUL, FAILED = "2", "3"
_PROGRESS = re.compile(r"/api/sn_cicd(?:/v\d)?/progress/(?P<sys_id>[^/]+)/?")


def read_progress(instance: Instance, request: Request, found: "re.Match[str]") -> Answer:
    if request.method not in {"GET", "HEAD"}:
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")
    sys_id = found["sys_id"]
    row = instance.read(TABLE, sys_id)
    if row is None:
        raise Refused(404, "Progress not found", f"Progress Id {sys_id} not found")
    state = row.get("state", "0")
    result = {
        "links": {"progress": {"id": sys_id, "url": f"{instance.url}/api/sn_cicd/progress/{sys_id}"}},
        "status": state,
        "status_label": instance.dictionary.choice_labels(TABLE, "state").get(state, state),
        "status_message": row.get("message", ""),
        "status_detail": row.get("detail_message", ""),
        "error": row.get("message", "") if state == FAILED else "",
        "percent_complete": int(row.get("percent_complete", "0")),
    }
    return json_answer(200, {"result": result}, rows=1)


ROUTES = ((_PROGRESS, read_progress),)
