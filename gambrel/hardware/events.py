"""The parse events of YAML text, typed; the one place that touches ruamel.yaml, which carries no usable types."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Literal, NamedTuple

EventKind = Literal["scalar", "mapping", "end-mapping", "sequence", "end-sequence", "alias", "document"]


class YamlEvent(NamedTuple):
    """One event; line and column count from 1, `text` and `quoted` are those of a scalar."""

    kind: EventKind
    line: int
    column: int
    text: str = ""
    quoted: bool = False


class YamlSyntaxError(Exception):
    """The text is not YAML."""

    def __init__(self, why: str, line: int, column: int) -> None:
        super().__init__(why)
        self.why = why
        self.line = line
        self.column = column


def yaml_events(text: str) -> Iterator[YamlEvent]:
    """Yields the events of YAML 1.2 text, lazily: what follows the last event that is asked for is never scanned.

    Raises:
        YamlSyntaxError: The text does not scan or parse.
    """
    from ruamel.yaml import YAML, events
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    kinds: dict[type, EventKind] = {
        events.MappingStartEvent: "mapping",
        events.MappingEndEvent: "end-mapping",
        events.SequenceStartEvent: "sequence",
        events.SequenceEndEvent: "end-sequence",
        events.AliasEvent: "alias",
        events.DocumentStartEvent: "document",
    }
    try:
        # The parser in C is fifteen times faster; where its wheel is missing, the one in Python gives the same events.
        for event in YAML(typ="safe", pure=find_spec("_ruamel_yaml") is None).parse(text):
            at = event.start_mark
            if isinstance(event, events.ScalarEvent):
                yield YamlEvent("scalar", at.line + 1, at.column + 1, str(event.value), event.style not in (None, ""))
            elif type(event) in kinds:
                yield YamlEvent(kinds[type(event)], at.line + 1, at.column + 1)
    except MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        why = str(error.problem or error.context or "it does not parse")
        raise YamlSyntaxError(why, at.line + 1 if at else 1, at.column + 1 if at else 1) from error
    except YAMLError as error:
        raise YamlSyntaxError(str(error).splitlines()[0], 1, 1) from error
