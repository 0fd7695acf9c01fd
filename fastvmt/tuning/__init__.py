"""Tuning a few parameters on one reference clip: adapters, losses, and the loop that they share."""
