"""A shard of generations as probabilistic programs, in one struct of arrays."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from pipeline.program import holes, literals, noise, support
from pipeline.program.candidates import Candidates, read_candidates
from pipeline.program.config import CompileConfig, RuleConfig, RulesConfig
from pipeline.program.spans import Completions, byte_spans, read_completions
from pipeline.program.vocabulary import Vocabulary


@dataclass
class Programs:
    """n generations with v random variables, each over at most s outcomes.

    A generation stands for the distribution Π_i π_i over assignments of its variables, where
    π_i(a) ∝ P_i(a)^(1/τ) and P_i(a) is the model's raw probability of all candidate tokens
    that put text a into hole i, given the original's prefix. Outcome 0 is the original. The
    mass of P_i on other texts is `outside`. What it assumes: a replaced token does not
    change what the model would have written after it.

    Attributes:
        table: the generations, `schema.GENERATION`.
        completions: their bytes.
        candidates: what is known of the model's distribution at each token.
        span: int64 [n, 2], byte span of each program; -1: the completion holds none.
        problem: [n], why a row was not compiled (to be quarantined), or None.
        offset: int64 [n + 1], each generation's first variable.
        generation: int64 [v].
        rule: int32 [v], index into `rule_names`.
        position: int32 [v], token position in the generation.
        start, end: int64 [v], byte span of the hole in the shard.
        probability: float64 [v, s], P_i of each outcome, 0 where there is none.
        text: int32 [v, s], index into `texts`, -1 where there is none.
        own: int32 [v], index of the text that the model wrote.
        texts: replacement texts.
        bare: int32 [texts], the index of each text without its outer blanks.
        misplaced: bool [v], outcome 0 is not the original (only in the reference's fault).
        keeps_syntax: bool [rules], no replacement by the rule can break the syntax, but for
            leading zeros.
        dropped: how many holes gave no variable, by reason.
    """

    table: pa.Table
    completions: Completions
    candidates: Candidates
    span: np.ndarray
    problem: list[str | None]
    offset: np.ndarray
    generation: np.ndarray
    rule: np.ndarray
    position: np.ndarray
    start: np.ndarray
    end: np.ndarray
    probability: np.ndarray
    text: np.ndarray
    own: np.ndarray
    bare: np.ndarray
    misplaced: np.ndarray
    texts: list[str]
    rule_names: list[str]
    keeps_syntax: np.ndarray
    dropped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.span)

    @cached_property
    def canonical(self) -> np.ndarray:
        """Returns int32 [v, s]: equal where Python reads the same token, -1 without outcome."""
        if not len(self.bare):
            return self.text
        out = np.where(self.text >= 0, self.bare[self.text], -1)
        # Only texts of digits that differ in length can be one number in two spellings.
        digits = np.array([len(t) if t.isdigit() else 0 for t in self.texts])[self.text]
        digits = np.where(self.text >= 0, digits, 0)
        for v in np.flatnonzero(digits.max(axis=1, initial=0) > 1).tolist():
            shown = np.flatnonzero(self.text[v] >= 0)
            texts = [self.texts[i] for i in self.text[v, shown]]
            span = int(self.start[v]), int(self.end[v])
            alike = literals.same_value_texts(self.completions.data, *span, texts)
            first = {text: shown[i] for i, text in reversed(list(enumerate(alike)))}
            out[v, shown] = [out[v, first[text]] for text in alike]
        return out

    @cached_property
    def has_synonyms(self) -> bool:
        """Returns whether Python reads two outcomes of some variable alike."""
        ordered = np.sort(self.canonical, axis=1)
        return bool(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any())

    @cached_property
    def tree_codes(self) -> np.ndarray:
        """Returns uint64 [v, s]: summed over a generation's variables, equal for equal trees.

        The original's outcome is 0 and so is any that Python reads alike.
        """
        return self._codes(self.canonical, self.bare[self.own])

    @cached_property
    def text_codes(self) -> np.ndarray:
        """Returns uint64 [v, s]: summed over a generation's variables, equal for equal texts."""
        return self._codes(self.text, self.own)

    def _codes(self, labels: np.ndarray, original: np.ndarray) -> np.ndarray:
        """Returns a random number for each label at each place (Zobrist hashing)."""
        index = np.arange(len(self.generation)) - self.offset[self.generation]
        salt = (index.astype(np.uint64)[:, None] << np.uint64(32)) + labels.astype(np.uint64)
        codes = noise.mix(noise.mix(salt + np.uint64(0x5851F42D4C957F2D)))
        codes[labels == original[:, None]] = 0
        return codes

    @cached_property
    def outside(self) -> np.ndarray:
        """Returns float64 [v]: the mass of the model's distribution outside the supports."""
        return np.maximum(1.0 - self.probability.sum(axis=1), 0.0)

    @cached_property
    def entropy_nats(self) -> np.ndarray:
        """Returns float64 [v]: the entropy of each π_i at τ = 1, in nats."""
        return support.entropy_nats(self.probability)

    def source(self, row: int) -> str | None:
        """Returns the original program, or None where the completion holds none."""
        start, end = self.span[row].tolist()
        if start < 0:
            return None
        return self.completions.data[start:end].tobytes().decode(errors="replace")

    def character_spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns start and end of each hole, int64 [v], in characters of its program."""
        begin = self.span[self.generation, 0]
        start, end = self.start - begin, self.end - begin
        for row in np.unique(self.generation[~self.completions.ascii[self.generation]]).tolist():
            mine = slice(self.offset[row], self.offset[row + 1])
            edges = np.concatenate([self.span[row, :1], self.start[mine], self.end[mine]])
            characters = self.completions.to_characters(row, edges)
            start[mine], end[mine] = (characters[1:] - characters[0]).reshape(2, -1)
        return start, end

    def originals(self) -> pa.Array:
        """Returns the text in each hole of the original, string [v]."""
        data = self.completions.data.tobytes()
        spans = zip(self.start.tolist(), self.end.tolist(), strict=True)
        return pa.array([data[a:b].decode(errors="replace") for a, b in spans], pa.string())


def compile_generations(
    generations: pa.Table,
    vocabulary: Vocabulary,
    program_spans: np.ndarray,
    variable_spans: np.ndarray | None,
    rules: RulesConfig,
    config: CompileConfig | None = None,
) -> Programs:
    """Returns the probabilistic programs of a shard.

    Args:
        generations: rows of `schema.GENERATION`; null logprobs give programs without
            variables.
        vocabulary: bytes of the candidates' ids.
        program_spans: int [n, 2], character span of the program in `text`; -1: none.
        variable_spans: int [n, 2], where variables may lie; None: the whole program.
        rules: which characters are random, checked.
        config: thresholds; None: every selected position is random.

    A bad row (logprobs NaN, -inf or of another length) is no error: it has no variables and
    a sentence in `problem`.
    """
    config = config or CompileConfig()
    completions = read_completions(generations)
    span = byte_spans(completions, program_spans)
    inner = span if variable_spans is None else byte_spans(completions, variable_spans)
    candidates = read_candidates(generations, completions)
    usable = np.array([problem is None for problem in completions.problem], bool)
    active = usable & (span[:, 0] >= 0) & (candidates.known)
    starts = np.where(active, span[:, 0], 0)
    ends = np.where(active, span[:, 1], 0)
    found, tokens = holes.find(
        completions.data, starts, ends, completions.token_start[:-1], rules.rules
    )
    chosen = support.choose(completions, found, inner)
    weights = support.outcomes(completions, candidates, vocabulary, chosen, rules, config, tokens)
    keep = support.thresholds(weights, chosen, config)
    offset = np.searchsorted(chosen.program[keep], np.arange(len(span) + 1))
    return Programs(
        table=generations,
        completions=completions,
        candidates=candidates,
        span=span,
        problem=completions.problem,
        offset=offset,
        generation=chosen.program[keep],
        rule=chosen.rule[keep],
        position=chosen.position[keep],
        start=weights.start[keep],
        end=weights.end[keep],
        probability=weights.probability[keep],
        text=weights.text[keep],
        own=weights.own[keep],
        bare=weights.bare,
        misplaced=weights.misplaced[keep],
        texts=weights.texts,
        rule_names=[rule.name for rule in rules.rules],
        keeps_syntax=np.array([_keeps_syntax(rule) for rule in rules.rules] or [True], bool),
        dropped=chosen.dropped,
    )


def _keeps_syntax(rule: RuleConfig) -> bool:
    """Returns whether a program stays a program whatever the rule puts into its holes."""
    operators = rule.where in ("binary", "augmented", "comparison", "unary")
    if operators and not rule.only and rule.hole == "match":
        roles = {"binary": holes.ARITHMETIC, "comparison": holes.COMPARISONS, "unary": ("+", "-")}
        augmented = tuple(f"{op}=" for op in holes.ARITHMETIC)
        return set(rule.support) <= set(roles.get(rule.where, augmented))
    if rule.where == "boolean_literal":
        return set(rule.support) <= {"True", "False", "None"}
    return rule.where == "digit" and rule.support_pattern == "[0-9]+" and rule.hole == "match"
