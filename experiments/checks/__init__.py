"""Checks of the whole program from outside, through its command lines."""
