"""The driver's side of a run: starts the flow, follows it, stops it cleanly, sums it up."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from pipeline import flow
from pipeline.attempts import forgive
from pipeline.budget import Budget
from pipeline.hold import held
from pipeline.monitor import Monitor
from pipeline.shards import ShardError, read_manifests, read_vocabulary, write_dataset_index
from pipeline.summary import merge_summary, summarise_cell
from pipeline.todo import Plan
from pipeline.workers import STOP

Work = list[tuple[Plan, list[dict[str, Any]]]]  # plans, and what is left to do of each


@dataclass
class Outcome:
    """What became of one plan.

    Attributes:
        plan: the plan.
        summaries: one entry per finished cell, as in summary.json.
        quarantined: generations set aside.
        failures: sentences about blocks that failed.
        cell_failures: cell -> a sentence about a block that failed in this cell alone.
        stopped: why the run was stopped before all was done; empty if it was not.
    """

    plan: Plan
    summaries: list[dict[str, Any]] = field(default_factory=list)
    quarantined: int = 0
    failures: list[str] = field(default_factory=list)
    cell_failures: dict[str, str] = field(default_factory=dict)
    stopped: str = ""

    def problems(self) -> list[str]:
        """Returns all that went wrong, as sentences."""
        return [*self.failures, *self.cell_failures.values(), *filter(None, [self.stopped])]


class Stopper:
    """Asks the actors, through the run folders, to skip what is not begun."""

    def __init__(self, plans: list[Plan], monitor: Monitor) -> None:
        """Takes the folders to mark."""
        self._plans = plans
        self._monitor = monitor
        self.reason = ""
        self.since = 0.0

    def stop(self, reason: str) -> None:
        """Marks the run folders; a second call changes nothing."""
        if self.reason:
            return
        self.reason, self.since = reason, time.monotonic()
        for plan in self._plans:
            plan.run.storage.write_json(STOP, {"reason": reason})
        self._monitor.warn(f"stopping: {reason}; what is begun is finished, all done is kept")


@contextmanager
def _signals(stopper: Stopper) -> Iterator[None]:
    """Turns SIGTERM and Ctrl-C into a clean stop; the second Ctrl-C interrupts."""

    def on_signal(number: int, _: object) -> None:
        if stopper.reason:
            raise KeyboardInterrupt
        # Not in the handler itself: it may have interrupted a write of the same file.
        name = signal.Signals(number).name
        threading.Thread(target=stopper.stop, args=(f"{name} received",), daemon=True).start()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, on_signal) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def drive(plans: list[Plan], monitor: Monitor, generate: bool = True) -> list[Outcome]:
    """Does what is left to do of the plans and sums them up.

    Args:
        plans: run folders with their cells.
        monitor: shown progress and events.
        generate: False never starts an engine (jobs.expand).

    Returns: one outcome per plan, in order.
    """
    with held([plan.run.storage for plan in plans], monitor.warn):
        return _drive(plans, monitor, generate)


def _drive(plans: list[Plan], monitor: Monitor, generate: bool) -> list[Outcome]:
    stopper = Stopper(plans, monitor)
    outcomes = {plan.run.storage.uri: Outcome(plan) for plan in plans}
    for plan in plans:
        plan.run.storage.delete(STOP)
    work = _readable(_work(plans, generate, monitor), outcomes, monitor)
    budget = Budget(plans[0].config.budget, [plan.run.generations for plan in plans])
    items = [item for _, found in work for item in found]
    _announce(plans, items, monitor)
    if items:
        for plan in plans:
            plan.run.storage.clear_leftovers()
        needs_gpus = [p.config.model.num_gpus for p, found in work if _generates(found)]
        try:
            flow.connect(plans[0].config.flow, max(needs_gpus, default=0))
        except flow.ClusterError:
            for plan in plans:
                plan.run.update(status="incomplete")
            raise
        with _signals(stopper):  # after Ray has started: it sets handlers of its own
            for group in _by_model(work):
                if not stopper.reason:
                    _follow(group, outcomes, stopper, budget, monitor)
        if stopper.reason:
            for plan in plans:
                forgive(plan.run.storage)
    for outcome in outcomes.values():
        outcome.stopped = stopper.reason
        _finish(outcome, monitor)
    return list(outcomes.values())


def _work(plans: list[Plan], generate: bool, monitor: Monitor) -> Work:
    """Returns what is left to do of each plan, shards that are lost included."""
    work = [(plan, plan.todo(generate)) for plan in plans]
    lost = [said for plan in plans for said in plan.discard_lost(generate)]
    for said in lost:
        monitor.warn(said)
    return [(plan, plan.todo(generate)) for plan in plans] if lost else work


def _readable(work: Work, outcomes: dict[str, Outcome], monitor: Monitor) -> Work:
    """Leaves out the plans whose saved generations nobody could read, and says so once."""
    readable: Work = []
    for plan, items in work:
        try:
            if items and not _generates(items):  # whoever generates writes the vocabulary
                read_vocabulary(plan.run.generations)
        except ShardError as error:
            outcomes[plan.run.storage.uri].failures.append(str(error))
            monitor.warn(f"failed: {error}")
        else:
            readable.append((plan, items))
    return readable


def _generates(items: list[dict[str, Any]]) -> bool:
    return any(item["generate"] is not None for item in items)


def _by_model(work: Work) -> Iterator[Work]:
    """Groups plans that one engine can serve, so that it is loaded once for all of them."""

    def engine(pair: tuple[Plan, list[dict[str, Any]]]) -> str:
        return repr(pair[0].config.model)

    for _, group in groupby(sorted(work, key=engine), key=engine):
        pairs = list(group)
        if any(items for _, items in pairs):
            yield pairs


def _announce(plans: list[Plan], items: list[dict[str, Any]], monitor: Monitor) -> None:
    """Sets up the stages with what is to be done in this invocation."""
    sizes = {p.run.storage.uri: {b.index: b.stop - b.start for b in p.blocks()} for p in plans}
    n_generate = sum(
        sizes[i["run"]][i["block"]] * (i["generate"][1] - i["generate"][0])
        for i in items
        if i["generate"]
    )
    monitor.stage("generate", n_generate, "generations")
    n_cells = sum(len(item["cells"]) for item in items)
    monitor.stage("expand", n_cells, "cell blocks" if n_cells != len(items) else "blocks")
    monitor.event("start", items=len(items), runs=[p.run.storage.uri for p in plans])


def _follow(
    work: Work,
    outcomes: dict[str, Outcome],
    stopper: Stopper,
    budget: Budget,
    monitor: Monitor,
) -> None:
    """Streams one model's items and accounts for every record."""
    plans = [plan for plan, _ in work]
    items = [item for _, found in work for item in found]
    ticker = _Ticker(monitor, stopper, budget, plans[0].config.flow.grace_s)
    with ticker, suppress(KeyboardInterrupt):  # the end of the grace time: all written is kept
        for record in flow.stream(plans, items):
            _account(record, outcomes[record["run"]], monitor)


class _Ticker:
    """Redraws progress, watches the budget and the grace time while no record arrives."""

    def __init__(self, monitor: Monitor, stopper: Stopper, budget: Budget, grace_s: float) -> None:
        self._monitor, self._stopper, self._budget = monitor, stopper, budget
        self._grace_s = grace_s
        self._cluster = flow.ClusterWatch()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._done.wait(1.0):
            self._monitor.refresh()
            if reason := self._budget.used_up():
                self._stopper.stop(reason)
            lost = self._cluster.lost()
            if lost:
                self._stopper.stop(lost)
            over = time.monotonic() - self._stopper.since > self._grace_s
            if lost or (self._stopper.reason and over):
                # Whole shards only: what an actor has not finished now is not worth waiting for.
                signal.raise_signal(signal.SIGINT)
                return


def _account(record: dict[str, Any], outcome: Outcome, monitor: Monitor) -> None:
    """Takes one item's record into progress, events and the outcome."""
    name = f"block {record['block']} of {record['run']}"
    if record.get("failed"):
        outcome.failures.append(f"{name}: {record['failed']}")
        monitor.warn(f"failed: {name}: {record['failed']}")
    for cell, why in record.get("failed_cells", {}).items():
        outcome.cell_failures.setdefault(cell, f"cell {cell}, {name}: {why}")
        monitor.warn(f"failed: cell {cell}, {name}: {why}")
    if record.get("note"):
        monitor.warn(f"{name}: {record['note']}")
    monitor.event("block", **record)
    monitor.advance("generate", int(record.get("n_generations", 0)), int(record.get("bad", 0)))
    monitor.advance("expand", len(record.get("done_cells", [])), int(record.get("bad_expand", 0)))


def _finish(outcome: Outcome, monitor: Monitor) -> None:
    """Writes what stands at the end of a run: index, summary, status."""
    plan = outcome.plan
    manifests = read_manifests(plan.run.generations)
    if manifests:
        write_dataset_index(plan.run.generations, manifests)
    outcome.quarantined = sum(int(m.counts.get("quarantined", 0)) for m in manifests)
    complete = not plan.todo()
    if complete:
        outcome.stopped = ""  # the stop came when all was done
    for cell in plan.cells:
        try:
            entry = summarise_cell(plan, cell, manifests)
        except ShardError as error:
            outcome.failures.append(str(error))
            complete = False
            continue
        if entry:
            outcome.summaries.append(entry)
    merge_summary(plan, outcome.summaries)
    status = "complete" if complete else "stopped" if outcome.stopped else "incomplete"
    bad = _bad_fraction(outcome)
    if bad > plan.config.flow.max_bad_fraction:
        status = "failed"
        outcome.failures.append(
            f"{outcome.quarantined} generations ({bad:.1%}) are quarantined, more than "
            f"flow.max_bad_fraction={plan.config.flow.max_bad_fraction}; see "
            f"{plan.run.storage.path('quarantine')}"
        )
    plan.run.update(status=status, finished_at=time.time())
    monitor.event("finish", run=plan.run.storage.uri, status=status)


def _bad_fraction(outcome: Outcome) -> float:
    plan = outcome.plan
    total = sum(block.stop - block.start for block in plan.blocks()) * plan.config.generate.n
    return outcome.quarantined / total if total else 0.0
