"""Values of many expressions by NumPy: a design point is one element of the arrays that go in."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

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


class Factored:
    """Expressions from the values of the symbols and calls that stand in them, each worked out when it is asked for.

    The bits are those of a generated function; that is faster where all of its values are wanted.
    """

    def __init__(self, factors: Mapping[Atom, Array]) -> None:
        """Take the values of all symbols and calls."""
        self._factors = factors
        self._made: dict[Expr, Array] = {}

    def __call__(self, expression: Expr) -> Array:
        """The value of an expression."""
        if expression not in self._made:
            self._made[expression] = np.asarray(sum(self._terms(expression), 0.0), dtype=np.float64)
        return self._made[expression]

    def _terms(self, expression: Expr) -> Iterator[Array | float]:
        for mono, coefficient in expression.terms:
            term: Array | float = float(Fraction(coefficient))
            for atom, power in mono:
                for _ in range(power):
                    term = (
                        self._factors[atom] if isinstance(term, float) and term == 1.0 else self._factors[atom] * term
                    )
            yield term


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
