"""Code that is generated from a compiled variant: the same arithmetic in another language."""
