"""Programs become outcomes: jobs, executions, answers and scores, each distinct one once."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.execute.cache import ExecutionCache
from pipeline.execute.config import ExecuteConfig
from pipeline.execute.identity import limits_text, program_hash
from pipeline.execute.job import HARNESSES, Job, Result
from pipeline.execute.sandbox import Sandbox
from pipeline.tasks.base import Problem, Span, Task
from pipeline.tasks.extract import is_truncated
from pipeline.vote.answers import normalise


@dataclass
class Completions:
    """A block's completions, read by its task.

    Attributes:
        table: rows of `schema.GENERATION`.
        problems: [rows], the problem of each.
        program_spans, variable_spans: int64 [rows, 2], characters; -1: no program.
        status: [rows], why there is no program ("no_program", "truncated"), or "".
    """

    table: pa.Table
    problems: list[Problem]
    program_spans: np.ndarray
    variable_spans: np.ndarray
    status: list[str]

    @cached_property
    def mean_logprobs(self) -> np.ndarray:
        """Returns float64 [rows], mean ln P per token; NaN where it is not known."""
        column = self.table["logprobs"].combine_chunks()
        lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
        values = np.asarray(pc.fill_null(pc.list_flatten(column), np.nan)).astype(np.float64)
        means = np.full(len(lengths), np.nan)
        some = lengths > 0
        if some.any():
            starts = (np.cumsum(lengths) - lengths)[some]
            means[some] = np.add.reduceat(values, starts) / lengths[some]
        return np.where(np.isfinite(means), means, np.nan)


def read_completions(task: Task, table: pa.Table) -> Completions:
    """Returns where each completion holds its program."""
    problems: dict[tuple[str, str], Problem] = {}
    of_row: list[Problem] = []
    n = table.num_rows
    programs, variables = np.full((n, 2), -1, np.int64), np.full((n, 2), -1, np.int64)
    status = [""] * n
    names = ("problem_id", "problem", "text", "finish_reason")
    for row, (identifier, fields, text, reason) in enumerate(
        zip(*(table[name].to_pylist() for name in names), strict=True)
    ):
        key = (identifier, fields)
        if key not in problems:
            problems[key] = Problem(identifier, json.loads(fields))
        of_row.append(problems[key])
        span = task.program_span(text)
        if is_truncated(text, span, reason):
            status[row] = "truncated"
        elif span is None:
            status[row] = "no_program"
        else:
            inner: Span = task.variable_span(text, span)
            programs[row] = (span.start, span.end)
            variables[row] = (inner.start, inner.end)
    return Completions(table, of_row, programs, variables, status)


class Executor:
    """Runs programs, each distinct one once, and reads answers and scores off the results.

    Args:
        task: says how a program is run and scored.
        sandbox: returns the sandbox for execution settings.
        cache: results of earlier passes.
    """

    def __init__(
        self,
        task: Task,
        sandbox: Callable[[ExecuteConfig], Sandbox],
        cache: ExecutionCache | None,
    ) -> None:
        """Takes what it needs; runs nothing."""
        self._task = task
        self._sandbox = sandbox
        self._cache = cache
        self._jobs: dict[str, dict[tuple[str, str], tuple[str, Job]]] = {}
        self._results: dict[str, Result] = {}
        self._read: dict[tuple[str, str, str], tuple[str | None, float | None]] = {}
        self._messages: list[str] = []
        self.n_run = 0
        self.cpu_s = 0.0

    def notes(self) -> list[str]:
        """Returns what is worth a line in the log."""
        return self._messages

    def outcomes(
        self,
        config: ExecuteConfig,
        problems: list[Problem],
        sources: list[str],
        rejects: list[str | None],
        needed: list[int],
    ) -> "Outcomes":
        """Runs programs that have not been run yet and reads all that are asked for.

        Args:
            config: limits and isolation.
            problems, sources: of each program.
            rejects: why a program is not to be run, or None.
            needed: indices of the programs that are asked for.
        """
        identified = self._identify(config, problems, sources, needed)
        self._run(
            config, [job for i, job in zip(needed, identified, strict=True) if rejects[i] is None]
        )
        found = Outcomes(len(sources))
        for i, (name, _) in zip(needed, identified, strict=True):
            if rejects[i] is not None:
                found.set(i, name, Result("rejected"), None, self.nothing(problems[i]))
                continue
            result = self._results[name]
            found.set(i, name, result, *self._answer(problems[i], sources[i], name, result))
        return found

    def _identify(
        self,
        config: ExecuteConfig,
        problems: list[Problem],
        sources: list[str],
        needed: list[int],
    ) -> list[tuple[str, Job]]:
        """Returns the execution's hash and the job of each program needed."""
        known = self._jobs.setdefault(repr(config), {})
        limits = {harness: limits_text(config, harness) for harness in HARNESSES}
        found = []
        for i in needed:
            key = (problems[i].id, sources[i])
            if key not in known:
                job = self._task.job(problems[i], sources[i])
                known[key] = (program_hash(job, config, limits.get(job.harness)), job)
            found.append(known[key])
        return found

    def _run(self, config: ExecuteConfig, identified: list[tuple[str, Job]]) -> None:
        """Runs what has not been run yet."""
        todo = {name: job for name, job in identified if name not in self._results}
        if self._cache is not None:
            for name in list(todo):
                cached = self._cache.get(name)
                if cached is not None:
                    self._results[name] = cached
                    del todo[name]
        if not todo:
            return
        sandbox = self._sandbox(config)
        before = Counter(sandbox.counts)
        for name, result in zip(todo, sandbox.run(list(todo.values())), strict=True):
            self._results[name] = result
            self.cpu_s += result.cpu_s
            if self._cache is not None:
                self._cache.put(name, result)
        self.n_run += len(todo)
        for what in ("disagreements", "restarts"):
            if count := sandbox.counts[what] - before[what]:
                self._messages.append(f"sandbox: {count} {what}")

    def _answer(
        self, problem: Problem, program: str, name: str, result: Result
    ) -> tuple[str | None, float | None]:
        """Returns the normalised answer and the score of a program that was run."""
        key = (problem.id, name, program)
        if key not in self._read:
            answer: object = None
            if result.status == "ok":
                answer = self._task.answer(problem, program, result)
            score = None
            if result.status != "sandbox_error":
                score = self._task.score(problem, result)
            self._read[key] = (normalise(answer), score)
        return self._read[key]

    def nothing(self, problem: Problem) -> float | None:
        """Returns the score of a program that gave no answer: 0, or None without gold."""
        return self._task.score(problem, Result("error"))


class Outcomes:
    """What became of programs, as columns; null where a program was not asked for."""

    def __init__(self, n: int) -> None:
        """Makes room for n programs."""
        self.program_hash: list[str | None] = [None] * n
        self.status: list[str | None] = [None] * n
        self.value: list[str | None] = [None] * n
        self.error: list[str | None] = [None] * n
        self.answer: list[str | None] = [None] * n
        self.score: list[float | None] = [None] * n
        self.cpu_s: list[float] = [0.0] * n

    def set(
        self, i: int, name: str, result: Result, answer: str | None, score: float | None
    ) -> None:
        """Sets one program's outcome."""
        self.program_hash[i] = name
        self.status[i] = result.status
        self.value[i] = result.encoded
        self.error[i] = result.error
        self.answer[i] = answer
        self.score[i] = score
        self.cpu_s[i] = result.cpu_s
