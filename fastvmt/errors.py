"""The error that ends in one line instead of a traceback."""


class UserError(Exception):
    """A setting or input that the user can mend; shown as one line."""
