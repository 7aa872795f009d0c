"""Accuracy against open measurements: kernels and end to end."""
