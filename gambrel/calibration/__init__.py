"""Measured tables beside estimates: kernels from columns, predictions with intervals, and scores."""
