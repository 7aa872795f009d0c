"""Symbolic sizes: interned polynomials with rational coefficients over named symbols and a few opaque calls.

An `Expr` is a dimension, a byte count or a FLOP count that is not known until the symbols (batch, lengths, degrees) are
bound. It plays the role of MLIR's AffineExpr, which cannot hold a product of two symbols.
"""

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import ClassVar, Literal, NamedTuple, Self, cast

Rational = int | Fraction

CALLS = ("ceildiv", "max", "min", "hit")
"""Calls that are not polynomials.

`ceildiv(a, b)` is a / b rounded up. `hit(n, e, k, t)` is the expected number of n given experts out of e that t tokens
with k distinct choices each reach under balanced routing, `n (1 - (1 - k / e)^t)`.
"""


class Call(NamedTuple):
    """An opaque function of expressions, one of CALLS."""

    name: str
    args: "tuple[Expr, ...]"

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.args))})"


Atom = str | Call
Monomial = tuple[tuple[Atom, int], ...]
"""`((atom, power), ...)`, sorted by the text of the atoms; `()` is the constant term."""


def _as_rational(value: Fraction) -> Rational:
    return value.numerator if value.denominator == 1 else value


class Expr:
    """Immutable and interned: equal expressions are the same object, so `is` and `==` agree and hashing is cheap."""

    __slots__ = ("_symbols", "_text", "terms")
    _pool: ClassVar[dict[tuple[tuple[Monomial, Rational], ...], "Expr"]] = {}
    # Variants of a model add and multiply the same sizes again and again.
    _sums: ClassVar[dict[tuple["Expr", "Expr"], "Expr"]] = {}
    _products: ClassVar[dict[tuple["Expr", "Expr"], "Expr"]] = {}
    terms: tuple[tuple[Monomial, Rational], ...]
    _text: str | None
    _symbols: frozenset[str] | None

    def __new__(cls, terms: Mapping[Monomial, Rational]) -> Self:
        """Intern the sum of `coefficient * monomial`; zero terms are dropped."""
        kept = [(mono, coefficient) for mono, coefficient in terms.items() if coefficient]
        if len(kept) > 1:
            kept.sort(key=lambda term: [(str(atom), power) for atom, power in term[0]])
        key = tuple(kept)
        found = cls._pool.get(key)
        if found is None:
            found = object.__new__(cls)
            found.terms, found._text, found._symbols = key, None, None
            cls._pool[key] = found
        return cast(Self, found)

    def __reduce__(self) -> "tuple[type[Expr], tuple[dict[Monomial, Rational]]]":
        return Expr, (dict(self.terms),)

    # ---- arithmetic

    def __add__(self, other: "ExprLike") -> "Expr":
        right = as_expr(other)
        found = self._sums.get((self, right))
        if found is None:
            out: dict[Monomial, Rational] = dict(self.terms)
            for mono, coefficient in right.terms:
                out[mono] = out.get(mono, 0) + coefficient
            found = self._sums[self, right] = Expr(out)
        return found

    def __mul__(self, other: "ExprLike") -> "Expr":
        right = as_expr(other)
        if right is ONE:
            return self
        if self is ONE:
            return right
        found = self._products.get((self, right))
        if found is None:
            found = self._products[self, right] = self._times(right)
        return found

    def _times(self, right: "Expr") -> "Expr":
        out: dict[Monomial, Rational] = {}
        for left_mono, left in self.terms:
            for right_mono, coefficient in right.terms:
                powers = dict(left_mono)
                for atom, power in right_mono:
                    powers[atom] = powers.get(atom, 0) + power
                mono = tuple(sorted(powers.items(), key=lambda item: str(item[0])))
                out[mono] = out.get(mono, 0) + left * coefficient
        return Expr(out)

    __radd__ = __add__
    __rmul__ = __mul__

    def __sub__(self, other: "ExprLike") -> "Expr":
        return self + as_expr(other) * -1

    def __rsub__(self, other: "ExprLike") -> "Expr":
        return as_expr(other) - self

    def __truediv__(self, other: int) -> "Expr":
        """Exact division by an integer constant."""
        return self * Expr({(): _as_rational(Fraction(1, other))})

    # ---- inspection

    @property
    def constant(self) -> Rational | None:
        """The value where no symbol is left, else None."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and not self.terms[0][0]:
            return self.terms[0][1]
        return None

    @property
    def symbols(self) -> frozenset[str]:
        """Names of all symbols in it, inside calls too."""
        if self._symbols is None:
            found: set[str] = set()
            for mono, _ in self.terms:
                for atom, _ in mono:
                    if isinstance(atom, str):
                        found.add(atom)
                    else:
                        found.update(*(arg.symbols for arg in atom.args))
            self._symbols = frozenset(found)
        return self._symbols

    def __str__(self) -> str:
        if self._text is None:
            self._text = " + ".join(_term_text(mono, coefficient) for mono, coefficient in self.terms) or "0"
        return self._text

    def __repr__(self) -> str:
        return f"Expr({self})"

    def evaluate(self, binding: Mapping[str, int]) -> Rational:
        """The exact value for integer symbols (`hit` is rounded to a double first, being irrational in general).

        Raises:
            KeyError: A symbol is not bound.
        """
        total: Rational = 0
        for mono, coefficient in self.terms:
            value: Rational = coefficient
            for atom, power in mono:
                base = binding[atom] if isinstance(atom, str) else _call_exact(atom, binding)
                value = value * base**power
            total += value
        return _as_rational(total) if isinstance(total, Fraction) else total


ExprLike = Expr | int | str


def as_expr(value: "ExprLike") -> Expr:
    """An integer constant, a symbol by its name, or an expression as it is."""
    if isinstance(value, Expr):
        return value
    return Expr({(): value}) if isinstance(value, int) else Expr({((value, 1),): 1})


def fraction(value: Fraction) -> Expr:
    """A rational constant, such as the bytes of one element of a 4-bit format."""
    return Expr({(): _as_rational(value)})


ZERO = Expr({})
ONE = Expr({(): 1})


def product(factors: Iterable[ExprLike]) -> Expr:
    """The product of all factors; 1 for none."""
    out = ONE
    for factor in factors:
        out = out * factor
    return out


def total(terms: Iterable[ExprLike]) -> Expr:
    """The sum of all terms; 0 for none."""
    out = ZERO
    for term in terms:
        out = out + term
    return out


def ceildiv(numerator: ExprLike, denominator: ExprLike) -> Expr:
    """`numerator / denominator` rounded up, folded where it is exact; nested divisions are merged.

    Raises:
        ZeroDivisionError: The denominator is the constant 0.
    """
    top, bottom = as_expr(numerator), as_expr(denominator)
    if bottom is ONE or top is ZERO:
        return top
    if bottom is ZERO:
        raise ZeroDivisionError(f"{top} divided by zero")
    top_value, bottom_value = top.constant, bottom.constant
    if isinstance(top_value, int) and isinstance(bottom_value, int):
        return as_expr(-(-top_value // bottom_value))
    exact = _exact_quotient(top, bottom)
    if exact is not None:
        return exact
    inner = _single_call(top)
    if inner is not None and inner.name == "ceildiv":
        return ceildiv(inner.args[0], inner.args[1] * bottom)
    return _call("ceildiv", top, bottom)


def minimum(*args: ExprLike) -> Expr:
    """The smallest of the arguments; constants and repeated arguments are folded."""
    return _extremum("min", args)


def maximum(*args: ExprLike) -> Expr:
    """The largest of the arguments; constants and repeated arguments are folded."""
    return _extremum("max", args)


def hit(given: ExprLike, experts: ExprLike, top_k: ExprLike, tokens: ExprLike) -> Expr:
    """Expected number of `given` experts out of `experts` that `tokens` tokens reach: `given (1 - (1 - k / e)^t)`.

    Source: expectation of a union under uniform routing with k distinct experts per token.
    """
    args = [as_expr(arg) for arg in (given, experts, top_k, tokens)]
    return args[0] if args[1] is args[2] else _call("hit", *args)


def _call(name: str, *args: Expr) -> Expr:
    return Expr({((Call(name, args), 1),): 1})


def _single_call(expr: Expr) -> Call | None:
    if len(expr.terms) == 1 and expr.terms[0][1] == 1 and len(expr.terms[0][0]) == 1:
        atom, power = expr.terms[0][0][0]
        if power == 1 and isinstance(atom, Call):
            return atom
    return None


def _exact_quotient(top: Expr, bottom: Expr) -> Expr | None:
    """top / bottom where bottom is one monomial that divides every term of top to integers; else None."""
    if len(bottom.terms) != 1:
        return None
    divisor, divisor_coefficient = bottom.terms[0]
    out: dict[Monomial, Rational] = {}
    for mono, coefficient in top.terms:
        powers = dict(mono)
        for atom, power in divisor:
            powers[atom] = powers.get(atom, 0) - power
        quotient = Fraction(coefficient) / Fraction(divisor_coefficient)
        if quotient.denominator != 1 or any(power < 0 for power in powers.values()):
            return None
        out[tuple((atom, power) for atom, power in powers.items() if power)] = quotient.numerator
    return Expr(out)


def _extremum(name: Literal["min", "max"], args: Iterable[ExprLike]) -> Expr:
    constants: list[Rational] = []
    rest: dict[Expr, None] = {}
    for arg in args:
        expr = as_expr(arg)
        inner = _single_call(expr)
        for part in inner.args if inner is not None and inner.name == name else (expr,):
            value = part.constant
            if value is None:
                rest[part] = None
            else:
                constants.append(value)
    folded = (min if name == "min" else max)(constants) if constants else None
    parts = sorted(rest, key=str)
    if folded is not None:
        parts.append(fraction(Fraction(folded)))
    return parts[0] if len(parts) == 1 else _call(name, *parts)


def _call_exact(call: Call, binding: Mapping[str, int]) -> Rational:
    args = [arg.evaluate(binding) for arg in call.args]
    if call.name == "ceildiv":
        return math.ceil(Fraction(args[0]) / Fraction(args[1]))
    if call.name == "hit":
        given, experts, top_k, tokens = (float(arg) for arg in args)
        return Fraction(given * (1.0 - (1.0 - top_k / experts) ** tokens))
    return min(args) if call.name == "min" else max(args)


def _term_text(mono: Monomial, coefficient: Rational) -> str:
    factors = [str(atom) for atom, power in mono for _ in range(power)]
    if coefficient != 1 or not factors:
        factors.insert(0, str(coefficient))
    return "*".join(factors)
