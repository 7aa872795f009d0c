"""The measured operations, one family a file."""
