"""The arithmetic of a compiled variant as a graph: its slopes, and the same in another language."""
