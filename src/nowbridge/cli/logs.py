"""How a command logs: structlog to standard error, as lines for people or as JSON, libraries through the same door.

Libraries are heard from warnings on; nothing here writes secrets or record bodies, because nothing that logs has them
in its words (transport.redact, model.errors).
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["text", "json"]
_LIBRARIES = ("procrastinate", "psycopg", "psycopg.pool", "aiohttp", "uvicorn", "asyncio")


class _CurrentStderr(logging.Handler):
    """Writes to what standard error is at the moment: a live table puts lines above itself by replacing it."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")
        sys.stderr.flush()


def _without_traceback(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Libraries print whole tracebacks of what passes by itself (the database restarts); its kind is enough."""
    del logger, method
    raised = event.pop("exc_info", None) or getattr(event.get("_record"), "exc_info", None)
    if isinstance(raised, tuple) and raised[0] is not None:
        event["raised"] = raised[0].__name__
        event["exc_info"] = None
    return event


def configure(level: str, form: Format) -> None:
    """`level` is debug, info, warning or error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    foreign = shared if level == "debug" else [_without_traceback, *shared]
    last: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    handler = _CurrentStderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=foreign, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
