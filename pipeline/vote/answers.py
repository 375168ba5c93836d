"""Normalisation of answers: when do two programs say the same thing.

An answer's key is readable text: numbers as decimals (`3` and `3.0` are `3`), everything
else as Python would print it, with sets and dictionaries in sorted order. Keys of equal
answers are equal; keys of numbers that differ by rounding are joined by `cluster`.
"""

import math
import re
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# A string or bytes literal first, so that digits inside it are not taken for numbers.
_TOKEN = re.compile(
    r"""b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*"|-?(?:inf\b|\d+(?:\.\d+)?(?:e[+-]?\d+)?)""",
    re.DOTALL,
)
_ROUND = Context(prec=17, Emax=10**15, Emin=-(10**15))
_EXACT_BELOW = 10**22  # integers below print in full; above, to 17 digits
_MAX_DEPTH = 100


class _Abstain(Exception):
    """Somewhere in the value is a thing that equals nothing."""


def normalise(value: object) -> str | None:
    """Returns the vote's key of an answer; None abstains.

    Types are told apart exactly: `True` is not `1`, `"3"` is not `3`, a list is not a tuple.
    Numbers are compared by value: `3`, `3.0`, `Decimal("3")` and `Fraction(3)` are one key,
    and -0.0 is 0. None, NaN (also inside a container), values of other types and values
    nested deeper than 100 levels abstain: they equal nothing, so they can agree with nothing.

    >>> normalise(3.0), normalise(True), normalise([1, "a"]), normalise(float("nan"))
    ('3', 'True', "[1, 'a']", None)
    """
    if value is None:
        return None
    try:
        return _key(value, 0)
    except _Abstain:
        return None


def cluster(keys: Sequence[str | None], relative_tolerance: float = 1e-9) -> list[str | None]:
    """Returns for each key the name of its cluster; None stays None.

    Two numbers are linked if |a - b| <= tolerance * max(|a|, |b|), and a cluster is a chain
    of links, so the outcome does not depend on the order of the keys. Answers that hold
    numbers (lists, dictionaries, ...) share a cluster if they are equal apart from their
    numbers and each of their numbers shares one. A cluster is named by its shortest key,
    the alphabetically first among equals.

    >>> cluster(["0.3", "0.30000000000000004", "'a'", None])
    ['0.3', '0.3', "'a'", None]
    """
    numbers: dict[str, list[tuple[tuple[Decimal, ...], str]]] = {}
    for key in set(keys):
        if key is not None:
            skeleton, values = _split(key)
            if values:
                numbers.setdefault(skeleton, []).append((values, key))
    names: dict[str, str] = {}
    for members in numbers.values():
        names.update(_name_clusters(members, relative_tolerance))
    return [None if key is None else names.get(key, key) for key in keys]


def may_join(
    keys: Sequence[str], group: NDArray[np.int64], tolerance: float = 1e-9
) -> NDArray[np.bool_]:
    """Tells which keys may share a cluster with another key of their group, bool [keys].

    A quick look in float arithmetic that errs towards yes: `cluster` decides.

    Args:
        keys: normalised answers, different within a group.
        group: int64 [keys]; keys of different groups never meet.
        tolerance: as for `cluster`.

    >>> may_join(["0.3", "0.30000000000000004", "7", "'a'"], np.zeros(4, np.int64)).tolist()
    [True, True, False, False]
    """
    numbers = np.array([_quick_number(key) for key in keys], np.float64)
    with_digits = np.array([any(c.isdigit() for c in key) for key in keys], bool)
    # Lists of numbers, and numbers at the edges of what a float holds, are looked at closely.
    out = with_digits & ~((np.abs(numbers) > 1e-300) & (np.abs(numbers) < 1e300) | (numbers == 0))
    order = np.lexsort((numbers, group))
    value, of = numbers[order], group[order]
    with np.errstate(invalid="ignore", over="ignore"):
        bound = (2 * tolerance + 1e-14) * np.maximum(np.abs(value[1:]), np.abs(value[:-1]))
        near = (np.diff(value) <= bound) & (of[1:] == of[:-1])
    out[order[1:][near]] = True
    out[order[:-1][near]] = True
    return out


def _quick_number(key: str) -> float:
    try:
        return float(key)
    except ValueError:
        return math.nan


def _name_clusters(
    members: Sequence[tuple[tuple[Decimal, ...], str]], tolerance: float
) -> dict[str, str]:
    """Returns key -> name for keys of one skeleton, each with its numbers."""
    if len(members) == 1:
        return {}
    labels = zip(*(_chains(column, tolerance) for column in zip(*(v for v, _ in members))))
    groups: dict[tuple[int, ...], list[str]] = {}
    for label, (_, key) in zip(labels, members):
        groups.setdefault(label, []).append(key)
    named = {}
    for group in groups.values():
        name = min(group, key=lambda key: (len(key), key))
        named.update(dict.fromkeys(group, name))
    return named


def _chains(values: Iterable[Decimal], tolerance: float) -> list[int]:
    """Returns a chain's number for each value.

    If a < b < c and a links to c, then both link to b, so neighbours in sorted order suffice.
    """
    values = list(values)
    order = sorted(range(len(values)), key=values.__getitem__)
    labels = [0] * len(values)
    bound = Decimal(tolerance)
    chain = 0
    for before, here in pairwise(order):
        a, b = values[before], values[here]
        if a != b and not _linked(a, b, bound):
            chain += 1
        labels[here] = chain
    return labels


def _linked(a: Decimal, b: Decimal, tolerance: Decimal) -> bool:
    if a.is_infinite() or b.is_infinite():
        return a == b
    larger = max(_ROUND.abs(a), _ROUND.abs(b))
    return _ROUND.abs(_ROUND.subtract(b, a)) <= _ROUND.multiply(tolerance, larger)


def _split(key: str) -> tuple[str, tuple[Decimal, ...]]:
    """Returns the key with its numbers cut out, and the numbers."""
    values: list[Decimal] = []

    def cut(match: re.Match[str]) -> str:
        text = match[0]
        if text[0] in "'\"b":
            return text
        values.append(Decimal(text))
        return "#"

    return _TOKEN.sub(cut, key), tuple(values)


def _key(value: object, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise _Abstain
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is bytes:
        return repr(value)
    if isinstance(value, int | float | Decimal | Fraction):
        return _number(value)
    if isinstance(value, complex):
        return f"complex({_number(value.real)}, {_number(value.imag)})"
    if isinstance(value, list | tuple):
        inner = ", ".join(_key(item, depth + 1) for item in value)
        if kind is list:
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, set | frozenset):
        inner = ", ".join(_sorted(_key(item, depth + 1) for item in value))
        return f"{kind.__name__}({{{inner}}})" if inner else f"{kind.__name__}()"
    if isinstance(value, dict):
        items = {_key(k, depth + 1): _key(v, depth + 1) for k, v in value.items()}
        return "{" + ", ".join(f"{k}: {items[k]}" for k in _sorted(items)) + "}"
    raise _Abstain


def _sorted(keys: Iterable[str]) -> list[str]:
    """Numbers by value first, so that rounding does not reorder a set; then text."""

    def order(key: str) -> tuple[int, Decimal, str]:
        skeleton, values = _split(key)
        return (0, values[0], key) if skeleton == "#" else (1, Decimal(0), key)

    return sorted(keys, key=order)


def _number(value: int | float | Decimal | Fraction) -> str:
    """Returns the one text of a number, whatever its type. Raises: _Abstain for NaN."""
    if isinstance(value, float | Decimal):
        if value != value:
            raise _Abstain
        if math.isinf(value) if isinstance(value, float) else value.is_infinite():
            return "inf" if value > 0 else "-inf"
    if isinstance(value, Decimal) and abs(value.adjusted()) > 400:
        return _scientific(value)  # turning it into a fraction could take gigabytes
    exact = Fraction(value)
    if exact.denominator == 1:
        whole = exact.numerator
        return str(whole) if abs(whole) < _EXACT_BELOW else _scientific(_leading(whole))
    try:
        near = float(exact)
    except OverflowError:
        return _scientific(_leading(round(exact)))
    text = repr(near)
    if near == 0 or math.isinf(near):
        return _scientific(_ROUND.divide(Decimal(exact.numerator), Decimal(exact.denominator)))
    return _scientific(_ROUND.create_decimal(near)) if abs(near) >= _EXACT_BELOW else text


def _leading(whole: int) -> Decimal:
    """Returns an integer to 17 digits without printing all of it (which is quadratic)."""
    shift = max(whole.bit_length() - 96, 0)
    return _ROUND.multiply(Decimal(whole >> shift), _ROUND.power(Decimal(2), Decimal(shift)))


def _scientific(value: Decimal) -> str:
    digits = _ROUND.plus(value).normalize(_ROUND)
    return format(digits, "e").replace("e+", "e").replace("E+", "e").replace("E", "e")
