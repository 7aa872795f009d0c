"""The shipped model library: published dimensions of well-known models, by name."""

from gambrel.models.library import ModelCard, list_aliases, list_models, load_model, read_card

__all__ = ["ModelCard", "list_aliases", "list_models", "load_model", "read_card"]
