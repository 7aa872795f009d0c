"""Look up a model by name in the shipped library, or by path.

A file of the library states only the dimensions that a cost depends on, under the key names of Hugging Face configs,
with their source and the parameter count that they must add up to.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from gambrel.errors import FrontendError, Problem, did_you_mean
from gambrel.frontends.architecture import Architecture
from gambrel.frontends.hf import architecture_from_config, read_config
from gambrel.frontends.hf.source import JsonValue

_FOLDER = Path(__file__).parent / "library"
_ALIASES = Path(__file__).parent / "aliases.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One entry of the library.

    Attributes:
        name: Its canonical name.
        source: Where the dimensions and the parameter count come from.
        parameters: The count that the dimensions must give.
        config: The dimensions.
    """

    name: str
    source: str
    parameters: int
    config: dict[str, JsonValue]


def list_models() -> tuple[str, ...]:
    """The canonical names of the shipped models, in alphabetical order."""
    return tuple(sorted(file.name.removesuffix(".json") for file in _FOLDER.glob("*.json")))


def list_aliases() -> dict[str, str]:
    """Other names of shipped models: another model of the same dimensions, or a longer spelling."""
    return json.loads(_ALIASES.read_text())


def read_card(name: str) -> ModelCard:
    """The library's entry under a name or alias.

    Raises:
        FrontendError: The library has no such model.
    """
    card = _find_card(name)
    if card is None:
        what = f"the library has no model {name!r}"
        raise FrontendError(Problem(where="model library", what=what, fix=_nearest(name)))
    return card


def load_model(name_or_path: str | Path) -> Architecture:
    """The architecture of a shipped model, of a `config.json`, or of the folder that holds one.

    Args:
        name_or_path: A name of the library (upper case and an organisation prefix do not matter) or a path. A folder
            with the name of a shipped model is meant by `./name`.

    Raises:
        FrontendError: Neither the library nor the file system has it, or the file cannot be understood.
    """
    text = str(name_or_path)
    path = Path(name_or_path)
    if path.exists() and ("/" in text or path.suffix == ".json"):
        return read_config(path)
    card = _find_card(text)
    if card is not None:
        return architecture_from_config(card.config, name=_short(text), citation=card.source)
    if path.exists() or path.suffix == ".json":
        return read_config(path)
    what = "no such file, and no such model in the library"
    raise FrontendError(Problem(where=text, what=what, fix=_nearest(text)))


def _find_card(name: str) -> ModelCard | None:
    short = _short(name)
    file = _file(short)
    if file is None:
        alias = list_aliases().get(short)
        file = None if alias is None else _file(alias)
    return None if file is None else ModelCard(**json.loads(file.read_text()))


def _file(name: str) -> Path | None:
    """The file of a canonical name; a name is never a path, so that `../x` finds nothing."""
    file = _FOLDER / f"{name}.json"
    return file if file.parent == _FOLDER and file.is_file() else None


def _short(name: str) -> str:
    """`meta-llama/Llama-3.1-70B` is `llama-3.1-70b`."""
    return name.rsplit("/", maxsplit=1)[-1].lower()


def _nearest(name: str) -> str:
    return did_you_mean(_short(name), (*list_models(), *list_aliases()))
