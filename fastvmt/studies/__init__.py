"""Studies: the rows of a sweep as one table, its claims and its report."""
