"""What a user can mend."""

from __future__ import annotations


class UserError(Exception):
    """A setting or input that the user can mend; shown as one line."""
