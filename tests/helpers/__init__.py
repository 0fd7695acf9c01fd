"""What several test files share."""

SHARED = "FASTVMT_TESTS_SHARED"
"""The variable that names a folder of the session's processes; without it, each keeps its own."""
