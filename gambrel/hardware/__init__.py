"""Described machines: profiles in YAML with the provenance of each number, and the plain devices made from them."""
