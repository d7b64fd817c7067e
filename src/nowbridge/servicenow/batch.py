"""The Batch API: several calls in one (servicenow-api.md 5). They run one after another with the caller's rights, not as
a transaction, and share 30 seconds: what did not fit comes back as not serviced. The outer status says nothing about
the calls inside; each has a status of its own.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime

import msgspec

from nowbridge.model.errors import Retry
from nowbridge.servicenow.instance import Instance
from nowbridge.transport.messages import Headers, Request, Response

PATH = "/api/now/v1/batch"


class _Line(msgspec.Struct):
    name: str
    value: str


class _Serviced(msgspec.Struct):
    id: str
    status_code: int
    body: str = ""
    headers: list[_Line] = []


class _Batch(msgspec.Struct):
    serviced_requests: list[_Serviced] = []
    unserviced_requests: list[str] = []


async def send(instance: Instance, requests: Sequence[Request], *, asked: str) -> list[Response | None]:
    """The response to each request, in their order; None for one that was not serviced, which was not carried out.

    The batch leaves as the first of them does. Not checked: `servicenow.answers.check` tells what each means. Raises Unsettled `write.unsettled` when the batch
    itself got no answer or a broken one and is not idempotent throughout: then any of them may have been carried out.
    """
    idempotent = all(request.idempotent for request in requests)
    body = json.dumps(
        {"batch_request_id": "1", "rest_requests": [_inner(at, one) for at, one in enumerate(requests)]}
    ).encode()
    outer = await instance.call(
        Request("POST", PATH, body=body, asked=asked, idempotent=idempotent, leaves=requests[0].leaves)
    )
    try:
        batch = msgspec.json.decode(outer.body, type=_Batch)
        serviced = {one.id: _response(one, outer.server_time) for one in batch.serviced_requests}
    except (msgspec.DecodeError, ValueError) as error:
        raise Retry("answer.cut", asked=asked, answered="a batch answer that cannot be read") from error
    return [serviced.get(str(at)) for at in range(len(requests))]


def _inner(at: int, request: Request) -> dict[str, object]:
    lines = [{"name": "Accept", "value": "application/json"}]
    if request.body is not None:
        lines.append({"name": "Content-Type", "value": "application/json"})
    inner: dict[str, object] = {"id": str(at), "method": request.method, "url": request.target, "headers": lines}
    if request.body is not None:
        inner["body"] = b64encode(request.body).decode()
    return inner


def _response(serviced: _Serviced, server_time: datetime) -> Response:
    return Response(
        status=serviced.status_code,
        headers=Headers(tuple((line.name, line.value) for line in serviced.headers)),
        body=b64decode(serviced.body, validate=True),
        server_time=server_time,
    )
