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
    """Send every log line, our own and the libraries', to standard error; call once a process.

    Our own do not pass through ``logging``, which costs several times what the line does.
    """
    on_terminal = sys.stderr.isatty()
    begun: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ended: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        hide_secrets,
        structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer(),
    ]
    _set_up_libraries(begun, ended, level)
    structlog.configure(
        processors=[*begun, *ended],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(agent=agent)


def _set_up_libraries(
    begun: list[structlog.typing.Processor], ended: list[structlog.typing.Processor], level: str
) -> None:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=begun,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ended],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in ("aiohttp.access", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger; bind ``job=`` and ``peer=`` where they are known."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger
