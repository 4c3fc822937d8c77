"""Logs: one line an event on stderr, JSON unless a person is looking, secrets taken out of everything."""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "[hidden]"

SECRET_NAME = re.compile(r"(^|_)(token|secret|password|authorization|cookie|api_key|signing_secret)$", re.IGNORECASE)
SECRET_TEXTS = (
    (re.compile(r"\bx(?:ox[a-z]|app)-[A-Za-z0-9-]+"), HIDDEN),
    (re.compile(r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?)(?:[a-z]+\s+)?[^\s'\",}]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\bbearer\s+[^\s'\",}]+"), f"Bearer {HIDDEN}"),
    (re.compile(r"(?<=://)([^\s/:@]*):[^\s/]+@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(?i)([?&](?:ticket|token|secret|password|key)=)[^\s&'\"]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(https://hooks\.slack\.com/)[^\s'\"]+"), rf"\1{HIDDEN}"),
)

QUIET = {
    "alembic": logging.WARNING,
    "apscheduler": logging.ERROR,
    "httpx": logging.WARNING,
    "slack_bolt": logging.WARNING,
    "slack_sdk": logging.WARNING,
    "uvicorn": logging.WARNING,
}
"""Libraries whose everyday lines say nothing to an operator."""


def hide_secrets(value: Any, name: str = "") -> Any:
    """The value with every secret in it hidden: tokens, passwords of URLs, and whatever has a telling name."""
    if isinstance(value, str):
        if SECRET_NAME.search(name) and value:
            return HIDDEN
        for pattern, replacement in SECRET_TEXTS:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {key: hide_secrets(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [hide_secrets(inner, name) for inner in value]
    return value if isinstance(value, int | float | bool | None) else hide_secrets(str(value), name)


def configure_logs(stream: TextIO | None = None, *, level: str = "INFO") -> None:
    """Send this process's logs, structlog's and the standard library's alike, to `stream` (stderr)."""
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(target)))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name, quieter in QUIET.items():
        logging.getLogger(name).setLevel(quieter)
    structlog.configure(
        processors=[*shared[:-1], structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _rendering(stream: TextIO) -> list[Processor]:
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if stream.isatty()
        else structlog.processors.JSONRenderer(sort_keys=True)
    )
    # Tracebacks become text before secrets are looked for, so that none hides in one.
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _hide,
        renderer,
    ]


def _hide(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: hide_secrets(value, name) for name, value in event.items()}
