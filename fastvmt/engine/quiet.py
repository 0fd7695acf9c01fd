"""Silence of libraries while they load and run, and everything as it was afterwards."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType

import diffusers
import transformers

LOGGERS = ("lightning.pytorch", "lightning.fabric")
WARNINGS = ("does not have many workers", "GPU available but not used", "isinstance.*LeafSpec")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hold back what libraries say of themselves: logs below errors, progress bars, three of Lightning's warnings."""
    with ExitStack() as undo:
        undo.enter_context(warnings.catch_warnings())
        for message in WARNINGS:
            warnings.filterwarnings("ignore", f".*{message}")
        for logger in map(logging.getLogger, LOGGERS):
            undo.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        for library in (diffusers.utils.logging, transformers.utils.logging):
            silence(library, undo)
        root = logging.getLogger()
        before = list(root.handlers)
        for handler in before:  # open_clip logs to the root logger
            undo.callback(handler.removeFilter, worth_telling)
            handler.addFilter(worth_telling)
        undo.callback(remove_handlers, root, before)
        yield


def silence(library: ModuleType, undo: ExitStack) -> None:
    """Turn off the logs below errors and the progress bars of a Hugging Face library."""
    undo.callback(library.set_verbosity, library.get_verbosity())
    library.set_verbosity_error()
    if library.is_progress_bar_enabled():
        undo.callback(library.enable_progress_bar)
        library.disable_progress_bar()


def remove_handlers(logger: logging.Logger, but: list[logging.Handler]) -> None:
    """Remove the handlers that a logger got since, as ``logging.info`` gives one to a root logger without any."""
    for handler in logger.handlers[:]:
        if handler not in but:
            logger.removeHandler(handler)


def worth_telling(record: logging.LogRecord) -> bool:
    """Whether a log record is more than open_clip's notes on loading."""
    return "open_clip" not in record.pathname or record.levelno > logging.INFO
