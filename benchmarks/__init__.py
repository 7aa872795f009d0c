"""Accuracy and speed, measured by hand: never part of the test suite."""
