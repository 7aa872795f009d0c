"""Estimates of whole models beside published end-to-end measurements."""
