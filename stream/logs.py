"""Logs: colours on a terminal, JSON lines elsewhere."""

import logging
import os
import sys

import structlog


def configure_logs() -> None:
    """Set structlog up once, for a command; WELDFUSION_LOG names the least level shown."""
    name = os.environ.get("WELDFUSION_LOG", "info").upper()
    level = logging.getLevelNamesMapping().get(name, logging.INFO)
    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # looked up anew for each line, so that a redirected stderr is honoured
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
