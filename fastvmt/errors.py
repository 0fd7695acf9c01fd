"""Errors that end in one line instead of a traceback, and the line that tells of others."""

from __future__ import annotations


class UserError(Exception):
    """A setting or input that the user can mend; shown as one line."""


class JobFailed(Exception):
    """A job of a sweep, in a process of a launcher's, has failed and has said so.

    Its arguments are those of :func:`fastvmt.study.end_sweep`, which Hydra then passes over; none where nothing ran.
    """


def first_line(error: BaseException) -> str:
    """Tell what an error says first; what it is, where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
