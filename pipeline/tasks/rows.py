"""A task over a table of rows: what all benchmarks that come as a file or hub data set share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from pipeline.execute.job import Job, Result
from pipeline.tasks import source
from pipeline.tasks.base import Message, Problem, Span, TaskConfig, TaskError
from pipeline.tasks.source import DataVersion, Hub


class RowTask(ABC):
    """Reads rows, gives them ids and filters them; a subclass says what a row means.

    A problem's id is "<task>/<split>/<number>". The number is the benchmark's own where its
    rows carry one (`number`), else the row's index from 0 in the whole file. The row's own
    identifier, where it has one, is kept as the field "source_id".

    Subclasses set `name`, `hub`, `sizes` and `required`, and define `fields`, `messages`,
    `completion_prompt`, `program_span`, `job`, `score` and, where the data has one,
    `reference`.

    Attributes:
        hub: the hub's data set that is read when `task.source` is empty; None: there is none.
        sizes: published rows per split.
        required: columns that every row must have.
    """

    name: ClassVar[str] = ""
    hub: ClassVar[Hub | None] = None
    sizes: ClassVar[dict[str, int]] = {}
    required: ClassVar[tuple[str, ...]] = ()
    known_options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: TaskConfig):
        unknown = set(config.options) - {"revision", "subset", *self.known_options}
        if unknown:
            allowed = ", ".join(sorted({"revision", "subset", *self.known_options}))
            raise TaskError(
                f"task.options of {self.name}: unknown {', '.join(sorted(unknown))}; "
                f"there are {allowed}"
            )
        self.config = config

    def problems(self) -> Iterator[Problem]:
        """Yields the configured problems in the source's order. Raises: TaskError."""
        wanted = set(self.config.ids)
        n_found = 0
        for problem in self._all():
            if self.config.ids and problem.id not in wanted:
                continue
            wanted.discard(problem.id)
            n_found += 1
            yield problem
            if self.config.limit and n_found == self.config.limit:
                return
        if wanted:
            raise TaskError(
                f"task.ids: {self._where()} has no problem {', '.join(sorted(wanted)[:5])}; "
                f"ids look like {self.name}/{self.config.split}/0"
            )

    def version(self) -> DataVersion:
        """Returns what the source holds: row count, published count, checksum."""
        rows = [problem.fields for problem in self._all()]
        expected = self.sizes.get(self.config.split, 0)
        return DataVersion(self._where(), len(rows), expected, source.digest_of(rows))

    def variable_span(self, text: str, program: Span) -> Span:
        """Returns the whole program: every part of it may vary."""
        return program

    @abstractmethod
    def program_span(self, text: str) -> Span | None:
        """Returns where in the completion the program stands; None: there is none."""

    def problem_id(self, index: int, row: dict[str, Any]) -> str:
        """Returns the problem's id."""
        return f"{self.name}/{self.config.split}/{self.number(index, row)}"

    def number(self, index: int, row: dict[str, Any]) -> str:
        """Returns the last part of the problem's id; the row's index by default."""
        return str(index)

    @abstractmethod
    def fields(self, row: dict[str, Any], where: str) -> dict[str, Any] | None:
        """Returns what prompt, job and score need of a row; None leaves the row out.

        Raises: TaskError naming `where`.
        """

    @abstractmethod
    def messages(self, problem: Problem) -> list[Message]:
        """Returns the chat prompt."""

    @abstractmethod
    def completion_prompt(self, problem: Problem) -> str:
        """Returns the prompt for base models."""

    @abstractmethod
    def job(self, problem: Problem, program: str) -> Job:
        """Returns how to run one program."""

    @abstractmethod
    def score(self, problem: Problem, result: Result) -> float | None:
        """Returns 1.0 right, 0.0 wrong."""

    def answer(self, problem: Problem, program: str, result: Result) -> object:
        """Returns what a program that ran votes for; None abstains. By default its value."""
        return result.value

    def reference(self, problem: Problem) -> str | None:
        """Returns a completion that scores 1.0, where the data has one."""
        return None

    def _all(self) -> Iterator[Problem]:
        seen: dict[str, int] = {}
        for index, (line, row) in enumerate(self._rows()):
            where = f"{self._where()}, row {line}"
            missing = [column for column in self.required if column not in row]
            if missing:
                raise TaskError(
                    f"{where}: no column {', '.join(missing)}; this is not the format of "
                    f"{self.name}, whose rows have {', '.join(self.required)}"
                )
            identity = self.problem_id(index, row)
            if identity in seen:
                raise TaskError(f"{where}: id {identity} was already used in row {seen[identity]}")
            seen[identity] = line
            fields = self.fields(row, where)
            if fields is not None:
                yield Problem(identity, fields)

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        given = self.config.source
        if given and source.is_path(given):
            return source.read_file(given)
        hub = self._hub()
        if hub is None:
            raise TaskError(
                f"{self.name} has no data set on the hub that this code knows: give a local "
                "file as task.source=FILE"
            )
        return source.read_hub(hub, self.config.split, str(self.config.options.get("revision", "")))

    def _hub(self) -> Hub | None:
        subset, named = str(self.config.options.get("subset", "")), self.config.source
        if self.hub and named in ("", self.hub.name):
            return replace(self.hub, subset=subset or self.hub.subset)
        return Hub(named, subset) if named else None

    def _where(self) -> str:
        hub = self._hub()
        return self.config.source or (hub.name if hub else self.name)
