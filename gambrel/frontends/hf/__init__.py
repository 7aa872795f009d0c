"""The Hugging Face frontend: a `config.json` in, a plain architecture out."""

from gambrel.frontends.hf.read import architecture_from_config, read_config

__all__ = ["architecture_from_config", "read_config"]
