"""Runs model-written programs, one result per job, whatever they do.

`Sandbox.run` is the door. Identical jobs run once; jobs of one import profile and harness
share a process in batches where the gate admits them; everything doubtful in a batch (a
program without progress, a crash, a memory error) is run again alone before the verdict; a
share of the batch results is audited. A fork server that dies is replaced and its unit
repeated; only when that fails again and again does a job end as `sandbox_error`.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

from pipeline.execute.child import harness
from pipeline.execute.config import ExecuteConfig, Limits
from pipeline.execute.forkserver import (
    REGION_BYTES,
    ForkServer,
    SandboxUnavailableError,
    ServerLostError,
    UnitReport,
)
from pipeline.execute.identity import limits_text, program_hash
from pipeline.execute.job import HARNESSES, Job, Result
from pipeline.execute.profiles import profile_of
from pipeline.execute.verdict import result_of, same_outcome, verdict

log = logging.getLogger(__name__)

_MAX_SOURCE_BYTES = REGION_BYTES // 8
_MAX_UNIT_BYTES = REGION_BYTES // 4
_CANARY = Job("def compute_answer():\n    return [6 * 7, 'ok']\n")


class ResultCache(Protocol):
    """What `Sandbox` asks of a store of results, see `pipeline.execute.cache`."""

    def get(self, program_hash: str) -> Result | None:
        """Returns a stored result."""
        ...

    def put(self, program_hash: str, result: Result) -> None:
        """Stores a result."""
        ...


class Sandbox:
    """Runs jobs in fork servers, one per import profile, each started when first needed.

    Not for use from several threads at once.

    Attributes:
        config: the settings.
        counts: what was done since the start: jobs, duplicates, cached, units, shared, alone,
            culprits, audited, disagreements, restarts, retries, fork_failures.
        cpu_s: processor seconds of all programs and fork servers since the start.
    """

    def __init__(self, config: ExecuteConfig, cache: ResultCache | None = None) -> None:
        config.check()
        self.config = config
        self.counts: Counter[str] = Counter()
        self.cpu_s = 0.0
        self._cache = cache
        self._servers: dict[str, ForkServer] = {}
        self._said: Counter[str] = Counter()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all fork servers."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def layers(self) -> dict[str, str]:
        """Returns each protection's state on this host: "on ..." or "off: why".

        Raises: SandboxUnavailableError if a required one does not hold.
        """
        return dict(self._server("bare").layers)

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """Returns one result per job, in their order.

        Raises: SandboxUnavailableError if no fork server can be started at all.
        """
        self.counts["jobs"] += len(jobs)
        results: dict[Job, Result] = {}
        todo = list(dict.fromkeys(jobs))
        self.counts["duplicates"] += len(jobs) - len(todo)
        hashes: dict[Job, str] = {}
        if self._cache is not None:
            limits = {name: limits_text(self.config, name) for name in HARNESSES}
            hashes = {job: program_hash(job, self.config, limits.get(job.harness)) for job in todo}
            for job in todo:
                found = self._cache.get(hashes[job])
                if found is not None:
                    results[job] = found
            todo = [job for job in todo if job not in results]
            self.counts["cached"] += len(results)
        fresh = self._run_distinct(todo)
        if self._cache is not None:
            for job, result in fresh.items():
                self._cache.put(hashes[job], result)
        results.update(fresh)
        return [results[job] for job in jobs]

    def _run_distinct(self, jobs: list[Job]) -> dict[Job, Result]:
        results: dict[Job, Result] = {}
        groups: dict[tuple[str, str], list[Job]] = defaultdict(list)
        for name in {job.harness for job in jobs}:
            self.config.limits(name)  # an unknown harness is the caller's mistake
        for job in jobs:
            if len(job.source) + len(job.target) > _MAX_SOURCE_BYTES // 4:
                error = "SourceTooLongError: the program is longer than 1 MiB"
                results[job] = Result("syntax_error", error=error)
            else:
                groups[profile_of(job), job.harness].append(job)
        for (profile, harness_name), members in groups.items():
            alone = members
            if profile == "bare" and harness_name != "figure" and self.config.batch_size > 1:
                alone = self._run_batches(members, results)
            for job in alone:
                results[job] = self._run_alone(profile, job)
        return results

    def _run_batches(self, jobs: list[Job], results: dict[Job, Result]) -> list[Job]:
        """Runs jobs in shared processes. Returns those that must run alone."""
        alone: list[Job] = []
        shared: list[Job] = []
        for unit in self._units(jobs):
            done = self._run_unit(unit, results, alone)
            shared += done
        self._audit(shared, results)
        return alone

    def _units(self, jobs: list[Job]) -> list[list[Job]]:
        units: list[list[Job]] = []
        size = 0
        for job in jobs:
            length = 4 * (len(job.source) + len(job.target)) + 64
            full = units and len(units[-1]) >= self.config.batch_size
            if not units or full or size + length > _MAX_UNIT_BYTES:
                units.append([])
                size = 0
            units[-1].append(job)
            size += length
        return units

    def _run_unit(self, unit: list[Job], results: dict[Job, Result], alone: list[Job]) -> list[Job]:
        """Runs a unit to its end, going on behind each culprit. Returns the jobs it decided."""
        limits = self.config.limits(unit[0].harness)
        patience = min(self.config.patience_s, limits.cpu_s)
        decided: list[Job] = []
        rest = unit
        losses = 0
        while rest:
            try:
                report = self._ask("bare", rest, limits, True, patience)
            except ServerLostError as error:
                self._lost("bare", error)
                losses += 1
                if losses > self.config.retries:
                    return decided + self._give_up_sharing(rest, alone)
                continue
            n_done = len(report.outcomes)
            share = max(n_done, 1)
            for job, outcome in zip(rest, report.outcomes, strict=False):
                if outcome.status == harness.NEEDS_OWN_PROCESS:
                    alone.append(job)
                    continue
                results[job] = result_of(outcome, report.cpu_s / share, report.wall_s / share)
                decided.append(job)
            if n_done < len(rest) and _last_ended_its_process(report):
                # It printed too much: the verdict stands only if it does so alone.
                alone.append(rest[n_done - 1])
                decided = [job for job in decided if job is not rest[n_done - 1]]
            elif n_done < len(rest):
                self.counts["culprits"] += 1
                alone.append(rest[n_done])
                n_done += 1
            rest = rest[n_done:]
        self.counts["shared"] += len(decided)
        return decided

    def _give_up_sharing(self, rest: list[Job], alone: list[Job]) -> list[Job]:
        """Sends what is left of a unit to be run alone, each with its own retries."""
        alone.extend(rest)
        return []

    def _audit(self, jobs: list[Job], results: dict[Job, Result]) -> None:
        """Runs a share of batch results again, in other company and in reverse order.

        Where the two runs differ the program runs alone, and that result stands.
        """
        fraction = self.config.audit_fraction
        if not jobs or fraction <= 0:
            return
        step = max(1, round(1 / fraction))
        start = (self.config.audit_seed + self.counts["jobs"]) % step
        chosen = jobs[start::step][::-1]
        again: dict[Job, Result] = {}
        alone: list[Job] = []
        for unit in self._units(chosen):
            self._run_unit(unit, again, alone)
        self.counts["shared"] -= len(again)
        self.counts["audited"] += len(chosen)
        for job in chosen:
            second = again.get(job)
            if second is not None and same_outcome(results[job], second):
                continue
            third = self._run_alone("bare", job)
            if not same_outcome(results[job], third):
                self.counts["disagreements"] += 1
                self._say(
                    "disagreement",
                    f"a program gave {results[job].status} {results[job].encoded} in a batch and"
                    f" {third.status} {third.encoded} alone; the latter counts. Program"
                    f" {program_hash(job, self.config)[:16]}",
                )
                results[job] = third

    def _run_alone(self, profile: str, job: Job) -> Result:
        """Runs one program in a process of its own; repeats when the sandbox fails."""
        limits = self.config.limits(job.harness)
        reason = ""
        for attempt in range(self.config.retries + 1):
            if attempt:
                self.counts["retries"] += 1
            try:
                report = self._ask(profile, [job], limits, False, limits.cpu_s)
            except ServerLostError as error:
                self._lost(profile, error)
                reason = str(error)
                continue
            self.counts["alone"] += 1
            result = verdict(report, limits)
            if result.status != "sandbox_error":
                return result
            reason = result.error or ""
            self._say(reason, f"the sandbox failed, a program is tried again: {reason}")
        return Result("sandbox_error", error=f"SandboxError: {reason}")

    def _ask(
        self, profile: str, jobs: list[Job], limits: Limits, shared: bool, cpu_s: float
    ) -> UnitReport:
        """Runs one unit; waits and tries again while the host has no process to give."""
        pause = 0.05
        while True:
            self.counts["units"] += 1
            server = self._server(profile)
            try:
                report = server.run(jobs, limits, shared, cpu_s)
            except ServerLostError:
                raise
            except BaseException:
                # Interrupted between question and answer: the next unit needs a fresh server.
                self._servers.pop(profile, None)
                server.close()
                raise
            self.cpu_s += report.cpu_s + report.server_cpu_s
            if report.end != "fork":
                return report
            self.counts["fork_failures"] += 1
            self._say("fork", f"no process to be had ({report.error}); waiting for one")
            if pause > 3:
                raise ServerLostError(f"no process could be forked: {report.error}")
            time.sleep(pause)
            pause *= 2

    def _server(self, profile: str) -> ForkServer:
        """Returns the running server of a profile, starting it and asking it a canary."""
        server = self._servers.get(profile)
        if server is not None:
            return server
        reason: Exception = SandboxUnavailableError("not tried")
        for _ in range(3):
            server = None
            try:
                server = ForkServer(profile, self.config)
                report = server.run([_CANARY], self.config.function, False, 10.0)
                if not report.outcomes or report.outcomes[0].encoded != '[42, "ok"]':
                    raise ServerLostError(f"the canary program ended with {report}")
            except (ServerLostError, OSError) as error:
                if server is not None:
                    server.close()
                reason = error
                self._say("start", f"the {profile} fork server is started again: {error}")
                time.sleep(0.2)
                continue
            self._servers[profile] = server
            return server
        raise SandboxUnavailableError(f"the {profile} fork server cannot start: {reason}")

    def _lost(self, profile: str, error: ServerLostError) -> None:
        """Puts a dead or silent server away; the next unit starts another."""
        self.counts["restarts"] += 1
        self._say("lost", f"the {profile} fork server is replaced: {error}")
        server = self._servers.pop(profile, None)
        if server is not None:
            server.close()

    def _say(self, kind: str, message: str) -> None:
        """Logs a kind of event when it happens for the 1st, 10th, 100th, ... time."""
        self._said[kind] += 1
        times = self._said[kind]
        if str(times).strip("0") == "1":
            log.warning("%s%s", message, f" ({times} times so far)" if times > 1 else "")


def _last_ended_its_process(report: UnitReport) -> bool:
    """Returns whether the last finished program of a batch ended it by printing too much."""
    return (
        bool(report.outcomes)
        and report.outcomes[-1].status == harness.OUTPUT_LIMIT
        and (report.end == "exit" and report.code == 0)
    )
