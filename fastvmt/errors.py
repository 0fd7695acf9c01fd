"""The error that ends in one line instead of a traceback."""


class UserError(Exception):
    """A setting or input that the user can mend; shown as one line."""


class JobFailed(Exception):
    """A job of a sweep, in a process of a launcher's, has failed and has said so."""
