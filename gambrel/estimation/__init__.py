"""Estimates: plans, workloads, compiled variants, and their evaluation over design points."""
