"""Cheap reasons not to run a program: it does not parse, or it would burn its time limit."""

import ast
import re
from functools import lru_cache

import numpy as np
import pyarrow as pa

from pipeline.program.compiled import Programs
from pipeline.program.config import SampleConfig

# Each begins with a literal, which the search looks for first.
_LEADING_ZERO = re.compile(r"0(?<![\w.]0)[0-9_]*[1-9][0-9_]*(?![\w.])")
_TOWER = re.compile(r"\*\*[\s(+\-~]*[\w.]+[\s)]*(?=\*\*)")
_EXPONENT = re.compile(r"\*\*[\s(+]*([0-9][0-9_]*)(?![\w.])")


def static(
    programs: Programs,
    outcome: np.ndarray,
    generation: np.ndarray,
    first: np.ndarray,
    source: pa.Array,
    config: SampleConfig,
) -> list[str | None]:
    """Returns why each program is not to be run, or None.

    Args:
        programs: what the draws were made of.
        outcome: int16 [v, draws].
        generation: int64 [rows], of each program.
        first: int64 [rows], a draw that gave it; -1: the original.
        source: string [rows], its text.
        config: says what is refused.

    Only programs whose holes changed to something that may break are looked at: a number that
    now begins with 0 (leading_zero), an operator that became ** (power_tower), a rule whose
    support Python may not accept (syntax). The original is never refused.
    """
    out: list[str | None] = [None] * len(generation)
    if not config.reject_static or not len(programs.generation):
        return out
    variant = first >= 0
    zero = _flagged(programs, outcome, generation, first, _starts_zero(programs)) & variant
    power = _flagged(programs, outcome, generation, first, _is_power(programs)) & variant
    unsafe = _unsafe(programs, config.syntax)[generation] & variant
    flagged = np.flatnonzero(zero | power | unsafe)
    texts = source.take(pa.array(flagged)).to_pylist()
    row, original = -1, ""
    for at, text in zip(flagged.tolist(), texts, strict=True):
        if generation[at] != row:
            row = int(generation[at])
            original = programs.source(row) or ""
        if zero[at] and _more(_LEADING_ZERO, text, original):
            out[at] = "leading_zero"
        elif power[at] and _burns(text, original, config.max_literal_exponent):
            out[at] = "power_tower"
        elif unsafe[at] and not parses(text, config.syntax):
            out[at] = "syntax"
    return out


def parses(text: str, syntax: str) -> bool:
    """Returns whether Python parses `text` as a module or an expression."""
    try:
        ast.parse(text.strip() if syntax == "expression" else text, mode=_MODES[syntax])
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return False
    return True


# Rule sets of a sweep meet the same originals again.
_original_parses = lru_cache(4096)(parses)

_MODES = {"module": "exec", "expression": "eval"}


def _flagged(
    programs: Programs,
    outcome: np.ndarray,
    generation: np.ndarray,
    first: np.ndarray,
    flags: np.ndarray,
) -> np.ndarray:
    """Returns which programs take an outcome of `flags`, bool [v, s]."""
    hit = np.zeros((len(programs), outcome.shape[1] + 1), bool)
    variables = np.flatnonzero(flags.any(axis=1))
    if len(variables):
        taken = np.take_along_axis(flags[variables], outcome[variables].astype(np.int64), axis=1)
        v, d = np.nonzero(taken)
        hit[programs.generation[variables[v]], d] = True
    return hit[generation, first]


def _starts_zero(programs: Programs) -> np.ndarray:
    """Returns bool [v, s]: the outcome puts a 0 at the head of what may be a number."""
    zero = np.array([text.lstrip()[:1] == "0" for text in programs.texts] or [False])
    before = programs.completions.data[np.maximum(programs.start - 1, 0)]
    inside = np.isin(before, np.frombuffer(b"0123456789._", np.uint8)) & (programs.start > 0)
    flags = zero[programs.text] & (programs.text >= 0) & ~inside[:, None]
    flags[:, 0] = False
    return flags


def _is_power(programs: Programs) -> np.ndarray:
    power = np.array([text.strip() == "**" for text in programs.texts] or [False])
    flags = power[programs.text] & (programs.text >= 0)
    flags[:, 0] = False
    return flags


def _unsafe(programs: Programs, syntax: str) -> np.ndarray:
    """Returns bool [n]: variants need parsing, for the rule's sake or the original's."""
    out = np.zeros(len(programs), bool)
    if syntax == "none":
        return out
    out[programs.generation[~programs.keeps_syntax[programs.rule]]] = True
    for row in np.flatnonzero(~out & (np.diff(programs.offset) > 0)).tolist():
        out[row] = not _original_parses(programs.source(row) or "", syntax)
    return out


def _more(pattern: re.Pattern[str], text: str, original: str) -> bool:
    """Returns whether `text` matches oftener than `original` (whose strings may match too)."""
    found = len(pattern.findall(text))
    return found > 0 and found > len(pattern.findall(original))


def _burns(text: str, original: str, limit: int) -> bool:
    if _more(_TOWER, text, original):
        return True
    large = sum(int(exponent) > limit for exponent in _EXPONENT.findall(text))
    return large > 0 and large > sum(
        int(exponent) > limit for exponent in _EXPONENT.findall(original)
    )
