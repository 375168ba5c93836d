"""`python -m bench.scale [n_generations]`: the flow over many generations on one machine.

A run of real shards with synthetic logprobs goes through expand, execute and vote by the code
of `jobs.expand`, while memory, processor time and progress are sampled. Then a part of it goes
through one worker and through two, twice in turn. A million generations take minutes:

    python -m bench.scale 1000000 --every 5 --out docs/scale
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench._sampling import GROUPS, Progress, Sample, Sampler, at_share, slope
from bench.synthetic import compose, make_run
from pipeline.drive import Outcome, drive
from pipeline.events import JsonlSink
from pipeline.monitor import Monitor
from pipeline.plan import plan_expansion
from pipeline.run import RunFolder

N = 20  # generations of each problem
_LABELS = {
    "workers": "workers (2 CPU actors)",
    "fork_servers": "sandboxes (fork servers and programs)",
    "driver": "driver",
    "ray": "Ray's own processes",
}
_COUNTERS = {
    "programs": "programs (originals and variants)",
    "executed": "distinct programs executed",
    "generations": "generations",
}


@dataclass
class Result:
    """What one pass over a run gave."""

    outcome: Outcome
    progress: Progress
    samples: list[Sample]
    wall_s: float


def expand(
    run: RunFolder, overrides: tuple[str, ...], m: int, log: Path, every_s: float = 5.0
) -> Result:
    """Expands a run into the cell with these overrides."""
    config = compose(f"generations={run.storage.uri}", f"sample.m={m}", *overrides)
    (plan,) = plan_expansion([(overrides, config)])
    blocks = plan.blocks()
    progress = Progress({b.index: (b.stop - b.start) * N for b in blocks}, m)
    sampler = Sampler(log, progress, every_s)
    started = time.monotonic()
    with sampler, Monitor(Console(), [JsonlSink(plan.run), progress]) as monitor:
        (outcome,) = drive([plan], monitor, generate=False)
        monitor.close("complete")
    wall_s = time.monotonic() - started
    if outcome.failures or progress.blocks != len(blocks):
        raise SystemExit(f"{progress.blocks} of {len(blocks)} blocks: {outcome.failures[:3]}")
    return Result(outcome, progress, sampler.samples, wall_s)


def report(run: RunFolder, result: Result, m: int) -> None:
    """Prints what the pass took, and whether it was flat."""
    progress, samples = result.progress, result.samples
    (entry,) = result.outcome.summaries
    per_100k = 1e5 / progress.programs
    print(
        f"\n{progress.generations:,} generations in {progress.blocks:,} shards, m = {m}: "
        f"{progress.programs:,} programs, {progress.executed:,} of them different and executed\n"
        f"wall time {result.wall_s:,.0f} s, {progress.steady_rate():,.0f} generations/s; "
        f"{entry['cpu_s'] * per_100k:.1f} CPU s per 100,000 programs in workers and sandboxes, "
        f"{sum(samples[-1][f'{g}_cpu_s'] for g in GROUPS) * per_100k:.1f} with driver and Ray\n"
        f"pass@{N} {entry['pass_at_k'][str(N)]:.3f}, maj@{N} {entry['maj_at_k'][str(N)]:.3f}"
    )
    for name, size in folder_sizes(run).items():
        print(f"{name + ' on disk':24}{size / 2**20:>10,.0f} MiB")
    print(
        f"\n{'memory, MiB':24}{'at 10%':>8}{'at 50%':>8}{'at 100%':>8}{'per 100k generations':>22}"
    )
    for name in [*(f"{group}_mib" for group in GROUPS), "object_store_mib"]:
        cells = "".join(f"{at_share(samples, share)[name]:>8,.0f}" for share in (0.1, 0.5, 1.0))
        print(f"{name.removesuffix('_mib'):24}{cells}{slope(samples, name):>+22.2f}")


def folder_sizes(run: RunFolder) -> dict[str, int]:
    """Returns the bytes below each folder of a run."""
    root = Path(run.storage.uri)
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    return {f.name: sum(p.stat().st_size for p in f.rglob("*") if p.is_file()) for f in folders}


def efficiency(folder: Path, n_generations: int, m: int) -> None:
    """Prints the rates of one worker and of two, each twice and in turn, on the same shards."""
    run = make_run(folder / "part", max(1, n_generations // N), N, processes=2)
    rate: dict[int, list[float]] = {1: [], 2: []}
    cpu_s: dict[int, list[float]] = {1: [], 2: []}
    for seed, workers in enumerate((1, 2, 1, 2)):
        # A cell of its own each time, and no result of another pass is used.
        own = (f"flow.expand_actors={workers}", f"seed={seed}", "execute.cache=false")
        found = expand(run, own, m, folder / "part.csv")
        rate[workers].append(found.progress.steady_rate())
        cpu_s[workers].append(found.outcome.summaries[0]["cpu_s"] * 1e5 / found.progress.programs)
    print(
        f"\n{n_generations:,} generations again, from the first finished block to the last\n"
        f"{'':12}{'generations/s':>18}{'CPU s per 100,000 programs':>30}"
    )
    for workers in (1, 2):
        speeds = " ".join(f"{value:,.0f}" for value in rate[workers])
        costs = " ".join(f"{value:.1f}" for value in cpu_s[workers])
        print(f"{workers} worker(s) {speeds:>18}{costs:>30}")
    ratio, dearer = sum(rate[2]) / sum(rate[1]), sum(cpu_s[2]) / sum(cpu_s[1])
    print(
        f"two against one: {ratio:.2f} in rate ({ratio / 2:.0%} of linear), {dearer:.2f} in CPU s"
    )


def draw(samples: list[Sample], title: str, path: Path) -> None:
    """Draws memory per group, rates, and processor time per program over time."""
    from matplotlib import pyplot as plt

    minutes = [s["wall_s"] / 60 for s in samples]
    figure, (memory, rate, cost) = plt.subplots(
        3, 1, figsize=(8, 7.6), sharex=True, layout="constrained", height_ratios=(3, 2, 1.2)
    )
    for group, label in _LABELS.items():
        memory.plot(minutes, [s[f"{group}_mib"] for s in samples], label=label)
    memory.plot(minutes, [s["object_store_mib"] for s in samples], "k:", label="object store")
    memory.set(ylabel="memory, MiB (PSS)", ylim=(0, None), title=title)
    memory.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, frameon=False)
    for name, label in _COUNTERS.items():
        rate.plot(minutes, rates(samples, name), label=label)
    rate.set(ylabel="per second", ylim=(0, None))
    rate.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, frameon=False)
    load = rate.twinx()
    load.plot(minutes, [s["load"] for s in samples], ":", color="grey")
    load.set(ylabel="load average of\nthe host (dotted)", ylim=(0, None))
    load.spines["top"].set_visible(False)
    spent = [
        {"wall_s": s["wall_s"], "cpu_s": sum(s[f"{g}_cpu_s"] for g in GROUPS)} for s in samples
    ]
    programs, cpu = rates(samples, "programs"), rates(spent, "cpu_s")
    some = 0.1 * max(programs)  # a rate of nothing has no cost
    each = [1e5 * c / p if p > some else float("nan") for c, p in zip(cpu, programs, strict=True)]
    cost.plot(minutes, each, "k")
    cost.set(xlabel="minutes since the start", ylabel="CPU s per\n100k programs", ylim=(0, None))
    for axes in (memory, rate, cost):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def rates(samples: list[Sample], name: str, window_s: float = 20.0) -> list[float]:
    """Returns a counter's increase per second over the window before each sample."""
    found = []
    for sample in samples:
        past = next(s for s in samples if s["wall_s"] >= sample["wall_s"] - window_s)
        span = sample["wall_s"] - past["wall_s"]
        found.append((sample[name] - past[name]) / span if span else 0.0)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Makes the run, drives it, prints figures and draws the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("n_generations", nargs="?", type=int, default=40_000)
    parser.add_argument("--m", type=int, default=1, help="variants of each generation")
    parser.add_argument("--block", type=int, default=64, help="problems in a shard")
    parser.add_argument("--out", default="", help="writes OUT.csv and OUT.png")
    parser.add_argument("--part", type=int, default=20_000, help="generations for 1 against 2")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between samples")
    parser.add_argument("--folder", default=None, help="for the runs; else the system's for these")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        started = time.monotonic()
        run = make_run(
            folder / "run", max(1, given.n_generations // N), N, given.block, processes=2
        )
        print(f"shards written in {time.monotonic() - started:.0f} s", flush=True)
        log = Path(f"{given.out}.csv") if given.out else folder / "scale.csv"
        result = expand(run, ("flow.expand_actors=2",), given.m, log, given.every)
        report(run, result, given.m)
        if given.out:
            title = (
                f"{result.progress.generations:,} generations through expand, execute and vote, "
                f"m = {given.m}"
            )
            draw(result.samples, title, Path(f"{given.out}.png"))
        if given.part:
            efficiency(folder, given.part, given.m)


if __name__ == "__main__":
    main()
