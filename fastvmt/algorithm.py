"""The version of the arithmetic that makes videos."""

ALGORITHM = 1
"""Rises with every change of a method, the loop or a backbone that moves the latents of a transfer.

Records and caches of other versions do not count; ``tests/golden/algorithm.json`` holds the latents of every version.
"""
