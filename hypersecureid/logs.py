"""Logs: one JSON object a line on stderr, readable lines on a terminal."""

import sys
from typing import Any

import structlog

_stamps: list[structlog.typing.Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_renderers: list[structlog.typing.Processor] = (
    [structlog.dev.ConsoleRenderer()]
    if sys.stderr.isatty()
    else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
)


def configuration(level: str) -> dict[str, Any]:
    """What Django, and gunicorn likewise, hands to `logging.config`."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_stamps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "events": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers],
                "foreign_pre_chain": _stamps,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "events"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"level": "WARNING"},
            # A client's mistakes are its own.
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            # The statements it would tell of hold the values.
            "django.db.backends": {"level": "INFO"},
            # The store says once that the database is out of reach, and why.
            "psycopg": {"level": "ERROR"},
            "gunicorn.error": {"level": "WARNING", "propagate": True, "handlers": []},
            "gunicorn.access": {"level": "CRITICAL", "propagate": False, "handlers": []},
            "uvicorn.error": {"level": "ERROR"},
            "uvicorn.access": {"level": "CRITICAL", "propagate": False},
            "httpx2": {"level": "WARNING"},
            "httpcore2": {"level": "WARNING"},
        },
    }
