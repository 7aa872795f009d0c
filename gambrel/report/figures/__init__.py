"""Figures of a report: each a statement, the picture that shows it, and what it leaves out."""
