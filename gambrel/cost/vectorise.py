"""Values of many expressions by NumPy: a design point is one element of the arrays that go in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from gambrel.ir.expr import Atom, Call, Expr, Monomial, Rational

Array = NDArray[np.float64]
Binding = Mapping[str, Array]
"""The value of each symbol; arrays broadcast against each other."""


class Vectorised:
    """Expressions compiled to one function, common subexpressions shared.

    The values of all expressions are computed at the broadcast shape of the symbols that each depends on, so that a
    factor that varies along one axis of a design space is computed once along that axis.
    """

    def __init__(self, expressions: Iterable[Expr]) -> None:
        """Remember what to compile: that takes longer than a call, and some functions are never called."""
        self.expressions: tuple[Expr, ...] = tuple(dict.fromkeys(expressions))
        self.symbols: tuple[str, ...] = tuple(sorted(frozenset[str]().union(*(e.symbols for e in self.expressions))))
        self._function: Callable[..., tuple[Array, ...]] | None = None

    def __call__(self, binding: Binding) -> dict[Expr, Array]:
        """The value of each expression.

        Raises:
            KeyError: A symbol is not bound.
        """
        if self._function is None:
            self._function = _compile(self.expressions, self.symbols)
        values = self._function(*(binding[name] for name in self.symbols))
        return {e: np.asarray(value, dtype=np.float64) for e, value in zip(self.expressions, values, strict=True)}


class Interpreted:
    """Expressions worked out one by one, each when it is asked for.

    The bits are those of a generated function. That is faster for a few points; this one makes nothing beforehand and
    works out no more than is asked.
    """

    def __init__(self, known: Iterable[tuple[Atom, Array]]) -> None:
        """Take the values of symbols, or of calls in place of the symbols in them."""
        self._atoms = dict(known)
        self._made: dict[Expr, Array] = {}

    def __call__(self, expression: Expr) -> Array:
        """The value of an expression.

        Raises:
            KeyError: A symbol is not bound.
        """
        if expression not in self._made:
            self._made[expression] = np.asarray(self._sum(expression), dtype=np.float64)
        return self._made[expression]

    def atom(self, atom: Atom) -> Array:
        """The value of a symbol or a call."""
        if atom not in self._atoms:
            if isinstance(atom, str):
                raise KeyError(atom)
            args = [self(arg) for arg in atom.args]
            if atom.name == "ceildiv":
                value = np.ceil(args[0] / args[1])
            elif atom.name == "hit":
                value = _hit(*args)
            else:
                value = reduce(np.maximum if atom.name == "max" else np.minimum, args)
            self._atoms[atom] = value
        return self._atoms[atom]

    def _sum(self, expression: Expr) -> Array | float:
        total: Array | float | None = None
        for mono, coefficient in expression.terms:
            term: Array | float | None = float(Fraction(coefficient)) if coefficient != 1 or not mono else None
            for atom, power in mono:
                for _ in range(power):
                    term = self.atom(atom) if term is None else term * self.atom(atom)
            assert term is not None
            total = term if total is None else total + term
        return 0.0 if total is None else total


def _compile(expressions: Sequence[Expr], symbols: Sequence[str]) -> Callable[..., tuple[Array, ...]]:
    writer = _Writer({name: f"s{number}" for number, name in enumerate(symbols)})
    results = [writer.expression(e) for e in expressions]
    # Symbols are renamed to s0, s1, ... so that no text from outside reaches the compiler.
    args = ", ".join(writer.names.values())
    body = "".join(f"    {line}\n" for line in writer.lines)
    source = f"def values({args}):\n{body}    return ({''.join(f'{name}, ' for name in results)})\n"
    namespace: dict[str, object] = {"ceil": np.ceil, "maximum": np.maximum, "minimum": np.minimum, "hit": _hit}
    exec(compile(source, "<cost expressions>", "exec"), namespace)
    return namespace["values"]  # pyright: ignore[reportReturnType]


def _hit(given: Array, experts: Array, top_k: Array, tokens: Array) -> Array:
    """`given (1 - (1 - k / e)^t)`, by expm1 and log1p so that it is exact where few tokens reach many experts."""
    return -given * np.expm1(tokens * np.log1p(-top_k / experts))


class _Writer:
    """Writes one assignment for each distinct sum and call."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.lines: list[str] = []
        self._made: dict[Expr | Call, str] = {}

    def expression(self, expr: Expr) -> str:
        if expr not in self._made:
            text = " + ".join(self._term(mono, coefficient) for mono, coefficient in expr.terms) or "0.0"
            self._assign(expr, text)
        return self._made[expr]

    def _assign(self, key: Expr | Call, text: str) -> None:
        name = f"v{len(self._made)}"
        self._made[key] = name
        self.lines.append(f"{name} = {text}")

    def _term(self, mono: Monomial, coefficient: Rational) -> str:
        factors = [self._atom(atom) for atom, power in mono for _ in range(power)]
        if coefficient != 1 or not factors:
            factors.insert(0, repr(float(Fraction(coefficient))))
        return "*".join(factors)

    def _atom(self, atom: Atom) -> str:
        if isinstance(atom, str):
            return self.names[atom]
        if atom not in self._made:
            args = [self.expression(arg) for arg in atom.args]
            if atom.name == "ceildiv":
                self._assign(atom, f"ceil({args[0]}/{args[1]})")
            elif atom.name == "hit":
                self._assign(atom, f"hit({', '.join(args)})")
            else:
                function = "maximum" if atom.name == "max" else "minimum"
                text = args[0]
                for arg in args[1:]:
                    text = f"{function}({text}, {arg})"
                self._assign(atom, text)
        return self._made[atom]
