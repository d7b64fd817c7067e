"""The Batch API (servicenow-api.md 5): requests in a request, one after another, with the caller's rights."""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from time import monotonic

import msgspec

from nowtwin.apis import batch_parts
from nowtwin.behaviour.faults import FaultRule, Target
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request, json_answer, query_pairs, refusal
from nowtwin.instance import Instance
from nowtwin.limits.fault_answers import replacement, spoiled
from nowtwin.values import number_of

_USUAL_INPUT, _MOST_INPUT = 5 * 1024 * 1024, 10 * 1024 * 1024
Dispatch = Callable[[Instance, Request], Answer]


class Header(msgspec.Struct, frozen=True):
    name: str
    value: str


class Item(msgspec.Struct, frozen=True):
    id: str
    method: str
    url: str
    headers: tuple[Header, ...] = ()
    body: str = ""
    exclude_response_headers: bool = False


class Batch(msgspec.Struct, frozen=True):
    rest_requests: tuple[Item, ...]
    batch_request_id: str | int = ""


def run_batch(instance: Instance, request: Request, dispatch: Dispatch) -> Answer:
    """Outer status 200 even when items fail. What the time budget leaves undone is in `unserviced_requests`; so is an item
    that is too large, or whose answer is, with all that come behind it (batch-api.md).
    """
    try:
        batch = msgspec.json.decode(request.body, type=Batch, strict=False)
    except msgspec.DecodeError as error:
        raise Refused(400, "Exception while reading request", str(error)) from error
    started = monotonic()
    serviced: list[dict[str, object]] = []
    unserviced: list[str] = []
    rows, waited, spent = 0, 0.0, 0.0
    most_in, most_out, over = _most_in(instance), _most_out(instance, request), False
    for item in batch.rest_requests:
        began = monotonic()
        over = over or len(item.body) * 3 // 4 > most_in
        if over or began - started + waited + spent >= instance.switches.batch_seconds:
            unserviced.append(item.id)
            continue
        rule = instance.faults.strike(_target(request, item))
        waited += rule.seconds if rule else 0.0
        answer = _service(instance, request, item, dispatch, rule)
        over = answer is not None and len(answer.body) > most_out
        if answer is None or over:
            unserviced.append(item.id)
            continue
        rows += answer.rows
        spent += instance.faults.latency.at(_target(request, item)).service_time * answer.rows
        serviced.append(_entry(item, answer, monotonic() - began))
    if not instance.switches.batch_answers_in_order:
        serviced.reverse()
    body = {
        "batch_request_id": str(batch.batch_request_id),
        "serviced_requests": serviced,
        "unserviced_requests": unserviced,
    }
    done = _formed(instance, request, body)
    return replace(done, rows=rows, seconds=min(spent, float(instance.switches.batch_seconds)))


def _formed(instance: Instance, request: Request, body: Mapping[str, object]) -> Answer:
    """In JSON, or in parts for who asks for `multipart/mixed`."""
    if not batch_parts.wanted(request.headers.get("accept", "")):
        return json_answer(200, body)
    content, kind = batch_parts.in_parts(body, as_http=instance.switches.batch_parts_as_http)
    return Answer(200, content, content_type=kind)


def _most_in(instance: Instance) -> float:
    """Bytes of a body in a batch: 5 MB, or `glide.rest.batch.max.inputSize`, at most 10 MB."""
    said = number_of(instance.property("glide.rest.batch.max.inputSize"))
    return _USUAL_INPUT if said is None else min(said, _MOST_INPUT)


def _most_out(instance: Instance, request: Request) -> float:
    """Bytes of an answer in a batch, which a header may lower."""
    said = number_of(instance.property("glide.rest.batch.max.outputSize"))
    most = instance.switches.batch_output_limit if said is None else said
    lower = number_of(request.headers.get("x-batchrequest-max-output-size", ""))
    return most if lower is None or lower < 0 else min(most, lower)


def _target(request: Request, item: Item) -> Target:
    user = request.user.user_name if request.user else None
    return Target(item.method.upper(), item.url.partition("?")[0], user, in_batch=True)


def _service(
    instance: Instance, request: Request, item: Item, dispatch: Dispatch, rule: FaultRule | None
) -> Answer | None:
    """The answer to one item; None where a fault leaves it unserviced."""
    if rule is None:
        return _run(instance, request, item, dispatch)
    if rule.kind == "unserviced":
        return None
    replaced = replacement(rule, overload_in_json=instance.switches.overload_in_json)
    return replaced or spoiled(rule, _run(instance, request, item, dispatch))


def _run(instance: Instance, request: Request, item: Item, dispatch: Dispatch) -> Answer:
    path, _, query = item.url.partition("?")
    try:
        content = base64.b64decode("".join(item.body.split()), validate=True)
    except binascii.Error:
        return refusal(Refused(400, "Exception while reading request", "The body is not base64"))
    inner = Request(
        method=item.method.upper(),
        path=path if path.startswith("/") else f"/{path}",
        query=query_pairs(query),
        headers={header.name.lower(): header.value for header in item.headers},
        body=content,
        user=request.user,
        client_id=request.client_id,
    )
    try:
        return dispatch(instance, inner)
    except Refused as refused:
        return refusal(refused)


def _entry(item: Item, answer: Answer, seconds: float) -> dict[str, object]:
    headers = [{"name": name, "value": value} for name, value in answer.headers]
    if answer.content_type and answer.body:
        headers.append({"name": "Content-Type", "value": answer.content_type})
    entry: dict[str, object] = {
        "id": item.id,
        "body": base64.b64encode(answer.body).decode(),
        "status_code": answer.status,
        "status_text": HTTPStatus(answer.status).phrase,
        "headers": [] if item.exclude_response_headers else headers,
        "execution_time": round(seconds * 1000),
    }
    return entry
