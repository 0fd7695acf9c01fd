"""Trainings, benchmarks and the paper's tables."""
