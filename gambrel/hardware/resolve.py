"""From a name to one tree: find the file, follow `extends`, merge, apply `--set`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from gambrel.errors import Problem, ProfileError, did_you_mean
from gambrel.hardware.tree import Entry, Mapping, Mark, Node, Scalar, Sequence, read_tree

SHIPPED = Path(__file__).parent / "profiles"
SUFFIXES = (".yaml", ".yml")
WHAT_IF = "what-if"
"""Source of the numbers that an override gives."""

_NOT_INHERITED = frozenset({"id", "title", "aliases", "abstract", "extends", "default_source", "status"})
# Optional sections that an override may open; elsewhere a missing step of the path is a slip of the pen.
_OPENABLE = re.compile(r"price|parameters(\.[^.]+)?|limits|power\.energy_per_flop")
_FACTOR = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))\s*x")
_PERCENT = re.compile(r"([-+]\s*(?:\d+\.?\d*|\.\d+))\s*%")
_NUMBER_AND_UNIT = re.compile(r"\s*([-+]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The merged tree of a profile.

    Attributes:
        tree: Every key and value with its mark.
        file: Name of the profile's own file, as marks show it.
        default_sources: `default_source` of each file that took part.
        overridden: Whether a `--set` changed it.
    """

    tree: Mapping
    file: str
    default_sources: dict[str, str]
    overridden: bool = False


def find_profile(name_or_path: str | Path) -> Path:
    """The file of a profile: a path as it stands, else a shipped name or one of its aliases.

    Names are the same in capitals, and with `_` or a blank for `-`.

    Raises:
        ProfileError: There is none; the error lists the nearest names.
    """
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or name.endswith(SUFFIXES) or "/" in name:
        return Path(name_or_path)
    path = SHIPPED / f"{name}.yaml"
    if name and path.is_file():
        return path
    known = {**shipped_aliases(), **{other: SHIPPED / f"{other}.yaml" for other in shipped_names()}}
    spelled = {canonical(other): path for other, path in known.items()}
    if canonical(name) in spelled:
        return spelled[canonical(name)]
    raise ProfileError(
        Problem(
            where=name or "''",
            what="unknown device",
            why="it is neither a shipped profile nor a path to a YAML file",
            fix=f"{did_you_mean(name.lower(), shipped_names())} `gambrel hw list` shows all",
        )
    )


def canonical(name: str) -> str:
    """A name as it is compared: in small letters, its words joined by `-`."""
    return re.sub(r"[_\s]+", "-", name.strip().casefold())


def shipped_names(*, abstract: bool = False) -> tuple[str, ...]:
    """Names of the shipped profiles, sorted; with `abstract`, those of the bases instead."""
    paths = sorted(SHIPPED.glob("*.yaml"), key=lambda path: path.stem)
    headers = ((path.stem, _header(path)) for path in paths)
    return tuple(name for name, header in headers if (_text(header, "abstract") == "true") == abstract)


def shipped_aliases() -> dict[str, Path]:
    """The other spellings of the shipped names."""
    return {alias: path for path in sorted(SHIPPED.glob("*.yaml")) for alias in _texts(_header(path), "aliases")}


def resolve(path: Path, overrides: Iterable[str] = (), *, without: str = "") -> Resolved:
    """Reads a profile and the profiles that it extends, merges them and applies overrides.

    A base comes first and each later file wins: maps merge by key, a quantity is replaced whole with its provenance,
    and a `null` removes. Identity is not inherited.

    Bases whose names begin with `without` are left out, where that is given.

    Raises:
        ProfileError: A file cannot be read, an `extends` has no target or goes in a circle, a `null` removes nothing,
            or an override has no target; all of them at once.
    """
    default_sources: dict[str, str] = {}
    problems: list[Problem] = []
    tree = _Merge(default_sources, problems, without).tree(path, ())
    merged = Resolved(tree=tree, file=str(path), default_sources=default_sources)
    try:
        merged = override(merged, overrides)
    except ProfileError as error:
        problems.extend(error.problems)
    if problems:
        raise ProfileError(*problems)
    return merged


def override(resolved: Resolved, overrides: Iterable[str]) -> Resolved:
    """A merged profile with overrides applied, in order.

    Raises:
        ProfileError: With every override that has no target.
    """
    tree, problems, overridden = resolved.tree, list[Problem](), resolved.overridden
    for text in overrides:
        overridden = True
        try:
            tree = _override(tree, text)
        except ProfileError as error:
            problems.extend(error.problems)
    if problems:
        raise ProfileError(*problems)
    return replace(resolved, tree=tree, overridden=overridden)


def is_relative(value: str) -> bool:
    """Whether the value of an override is a factor or a share of what the profile has: `1.5x`, `+10%`."""
    return bool(_FACTOR.fullmatch(value) or _PERCENT.fullmatch(value))


def _header(path: Path) -> Mapping:
    return read_tree(path, header_only=True)


def _text(tree: Mapping, key: str) -> str:
    node = tree.get(key)
    return node.text if isinstance(node, Scalar) else ""


def _texts(tree: Mapping, key: str) -> tuple[str, ...]:
    return tuple(node.text for node in _scalars(tree, key))


def _scalars(tree: Mapping, key: str) -> tuple[Scalar, ...]:
    node = tree.get(key)
    items = node.items if isinstance(node, Sequence) else (node,)
    return tuple(item for item in items if isinstance(item, Scalar))


@dataclass(frozen=True, slots=True)
class _Merge:
    """A walk over a profile and its bases: the default sources and problems that it finds, the bases it leaves out."""

    sources: dict[str, str]
    problems: list[Problem]
    without: str

    def tree(self, path: Path, chain: tuple[Path, ...]) -> Mapping:
        own = read_tree(path)
        self.sources[str(path)] = _text(own, "default_source")
        base = Mapping(mark=own.mark, entries={})
        for name in _scalars(own, "extends"):
            if self.without and name.text.startswith(self.without):
                continue
            target = _base_path(name.text, path.parent)
            if target is None:
                known = [*shipped_names(), *shipped_names(abstract=True)]
                what = f"extends {name.text!r}, which is not there"
                self.problems.append(Problem(where=str(name.mark), what=what, fix=did_you_mean(name.text, known)))
            elif target.resolve() in (*(p.resolve() for p in chain), path.resolve()):
                circle = " -> ".join(p.stem for p in (*chain, path, target))
                self.problems.append(Problem(where=str(name.mark), what="extends goes in a circle", why=circle))
            else:
                base = self._with_base(base, own, target, (*chain, path))
        return _merge(base, own, "", self.problems)

    def _with_base(self, base: Mapping, own: Mapping, target: Path, chain: tuple[Path, ...]) -> Mapping:
        try:
            parent = self.tree(target, chain)
        except ProfileError as error:
            self.problems.extend(error.problems)
            return base
        kept = {key: entry for key, entry in parent.entries.items() if key not in _NOT_INHERITED}
        return _merge(base, Mapping(mark=own.mark, entries=kept), "", self.problems)


def _base_path(name: str, folder: Path) -> Path | None:
    file = name if name.endswith(SUFFIXES) else f"{name}.yaml"
    return next((path for path in (folder / file, SHIPPED / file) if path.is_file()), None)


def _merge(base: Mapping, own: Mapping, path: str, problems: list[Problem]) -> Mapping:
    entries = dict(base.entries)
    for key, entry in own.entries.items():
        where = f"{path}.{key}" if path else key
        old = entries.get(key)
        if isinstance(entry.node, Scalar) and entry.node.plain is None:
            if old is None:
                what = f"null removes {where!r}, which no base has"
                problems.append(Problem(where=str(entry.key_mark), what=what, fix=did_you_mean(key, entries)))
            entries.pop(key, None)
        elif old and isinstance(old.node, Mapping) and isinstance(entry.node, Mapping) and not _is_quantity(entry.node):
            if path == "sources" and to_plain(old.node) != to_plain(entry.node):
                why = f"{old.key_mark} gives it another meaning"
                what = f"source {key!r} is defined twice"
                problems.append(Problem(where=str(entry.key_mark), what=what, why=why, fix="Use another key"))
            entries[key] = Entry(key_mark=entry.key_mark, node=_merge(old.node, entry.node, where, problems))
        else:
            entries[key] = entry
    return Mapping(mark=own.mark, entries=entries)


def _is_quantity(node: Node) -> bool:
    return isinstance(node, Mapping) and "value" in node.entries


def to_plain(node: Node) -> object:
    """The tree without its marks."""
    if isinstance(node, Scalar):
        return node.plain
    if isinstance(node, Sequence):
        return [to_plain(item) for item in node.items]
    return {key: to_plain(entry.node) for key, entry in node.entries.items()}


def locate(tree: Mapping, path: Iterable[str]) -> Mark:
    """Where a field stands, or the nearest thing around it that was written."""
    node: Node = tree
    mark = tree.mark
    for key in path:
        entry = node.entries.get(key) if isinstance(node, Mapping) else None
        if entry is None:
            break
        node, mark = entry.node, entry.node.mark
    return mark


def _override(tree: Mapping, override: str) -> Mapping:
    where = f"--set {override}"
    path, equals, value = (part.strip() for part in override.partition("="))
    if not (path and equals and value):
        why = "an override is PATH=VALUE"
        fix = "Write, for example, memory.hbm.bandwidth=2x, =+10%, or =6 TB/s"
        raise ProfileError(Problem(where=where, what="not an override", why=why, fix=fix))
    return _set(tree, tuple(path.split(".")), (), value, Mark(where))


def _set(tree: Mapping, path: tuple[str, ...], done: tuple[str, ...], value: str, mark: Mark) -> Mapping:
    key, rest = path[0], path[1:]
    old = tree.entries.get(key)
    here = (*done, key)
    if rest:
        node = old.node if old else None
        if old is None and _OPENABLE.fullmatch(".".join(here)):
            node = Mapping(mark=mark, entries={})
        if not isinstance(node, Mapping) or _is_quantity(node):
            raise _no_target(tree, here, mark, has_value=old is not None)
        new: Node = _set(node, rest, here, value, mark)
    elif value == "null":
        if old is None:
            raise _no_target(tree, here, mark, has_value=False)
        return Mapping(mark=tree.mark, entries={k: e for k, e in tree.entries.items() if k != key})
    else:
        new = _new_value(tree, here, value, mark)
    return Mapping(mark=tree.mark, entries={**tree.entries, key: Entry(key_mark=mark, node=new)})


def _no_target(tree: Mapping, path: tuple[str, ...], mark: Mark, *, has_value: bool) -> ProfileError:
    shown = ".".join(path)
    if has_value:
        return ProfileError(Problem(where=str(mark), what=f"{shown} is a value", why="nothing stands below it"))
    fix = did_you_mean(path[-1], tree.entries)
    return ProfileError(Problem(where=str(mark), what=f"the profile has no {shown!r}", fix=fix))


def _new_value(tree: Mapping, path: tuple[str, ...], value: str, mark: Mark) -> Node:
    entry = tree.entries.get(path[-1])
    old = entry.node if entry else None
    text = old.get("value") if isinstance(old, Mapping) and _is_quantity(old) else old
    if isinstance(old, Mapping) and not _is_quantity(old):
        fix = f"Its fields: {', '.join(old.entries)}"
        what = f"{'.'.join(path)} is a section"
        raise ProfileError(Problem(where=str(mark), what=what, why="one field is set at a time", fix=fix))
    factor, percent = _FACTOR.fullmatch(value), _PERCENT.fullmatch(value)
    if factor or percent:
        if not isinstance(text, Scalar) or not (split := _NUMBER_AND_UNIT.fullmatch(text.text)):
            raise _no_target(tree, path, mark, has_value=False)
        by = float(factor[1]) if factor else 1 + float(percent[1].replace(" ", "")) / 100 if percent else 1.0
        number = float(re.sub("[_,]", "", split[1])) * by
        return _what_if(f"{number!r}{split[2]}", f"{text.text} {value}", mark)
    if _NUMBER_AND_UNIT.fullmatch(value) and path[0] not in ("year", "schema"):
        return _what_if(value, f"instead of {text.text}" if isinstance(text, Scalar) else "not in the profile", mark)
    return Scalar(mark=mark, text=value)


def _what_if(text: str, note: str, mark: Mark) -> Mapping:
    words = {"value": text, "source": WHAT_IF, "kind": "estimated", "note": f"what-if: {note}"}
    entries = {k: Entry(key_mark=mark, node=Scalar(mark=mark, text=v, quoted=k != "value")) for k, v in words.items()}
    return Mapping(mark=mark, entries=entries)
