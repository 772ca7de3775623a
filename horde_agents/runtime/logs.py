"""Structured log lines: JSON for machines, coloured text on a terminal; secrets never get out."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from horde_agents.runtime.redaction import shown


def hide_secrets(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what must not get out, wherever in the line it stands."""
    for name in line:
        line[name] = shown(name, line[name])
    return line


def set_up_logs(agent: str, level: str = "info") -> None:
    """Send every log line, our own and the libraries', to standard error; call once a process."""
    on_terminal = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            hide_secrets,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in ("aiohttp.access", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(agent=agent)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; bind ``job=`` and ``peer=`` where they are known."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
