"""`POST /api/now/tinyurl`: a short token for a long list URL, usable as `sysparm_tiny` on a GET (1.2).

Tokens are rows of sys_tiny_url, as on an instance. The answer is the URL with its parameters replaced by the token
(as the platform's own navigation reads it). Its status is not documented; 200 is an assumption.
"""

import re
from dataclasses import replace

from nowtwin.apis.table import body_of
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer, query_pairs
from nowtwin.instance import Instance

_TINY = re.compile(r"/api/now(?:/v\d)?/tinyurl/?")
_TABLE = "sys_tiny_url"


def shorten(instance: Instance, request: Request, _found: "re.Match[str]") -> Answer:
    if request.method != "POST":
        raise Refused(405, "Method not supported", f"{request.method} is not supported here")
    url = body_of(request).get("url", "")
    if not url:
        raise Refused(400, "Exception while reading request", "Missing required parameter: url")
    path, _, query = url.partition("?")
    path = re.sub(r"^https?://[^/]*/?", "", path)
    token = instance.records.new_id()
    instance.load(_TABLE, [{"sys_id": token, "tiny_url": token, "data": query}])
    return json_answer(instance.switches.tiny_url_status, {"result": f"{path}?sysparm_tiny={token}"}, rows=1)


def expanded(instance: Instance, request: Request) -> Request:
    """The request with what its `sysparm_tiny` stands for; parameters of its own win. An unknown token is ignored."""
    token = request.param("sysparm_tiny")
    if not token:
        return request
    row = instance.read(_TABLE, token)
    if row is None:
        return request
    return replace(request, query=(*query_pairs(row.get("data", "")), *request.query))


ROUTES = ((_TINY, shorten),)
