"""How many CPU cores keep N GPUs busy, what a run costs there, and what becomes the limit.

    python -m analysis.capacity RUN... [gpus=8,64,1000] [bucket=true] [problems=0] [n=0] [m=-1]
        [block_problems=0] [tokens_per_s=0] [tokens=0] [start_s=-1] [puts_per_s=3500 ...]

Stage costs are read from the runs; what a run cannot tell of a cluster is given. Two or more
cells of different m, each expanded alone, tell the cost of a variant from that of a generation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from analysis.arguments import ArgumentError, parse, run_command
from analysis.costs import Costs, measure
from analysis.table import Table


@dataclass
class CapacityOptions:
    """Options of the command; 0 (m, start_s: -1) takes what the runs show.

    Attributes:
        gpus: numbers of GPUs, comma-separated, one engine each.
        cpus: CPU cores for the workers; 0: as many as keep the engines busy.
        bucket: whether runs_dir lies in one, rather than on a shared file system.
        problems: problems of the run.
        n: generations per problem.
        m: variants per generation.
        cells: cells computed in the run.
        block_problems: problems per block.
        tokens_per_s: generated tokens per second and engine.
        tokens: generated tokens per generation.
        start_s: seconds until an engine generates.
        generation_cpu_ms: CPU milliseconds per generation; negative: the runs'.
        variant_cpu_ms: CPU milliseconds per variant; negative: the runs'.
        stretch: seconds of a worker per CPU second; a quiet cluster is near 1.
        driver_per_s: blocks that the driver accounts for per second.
        puts_per_s: PUT and DELETE requests per second that the bucket takes.
        gets_per_s: GET requests per second that the bucket takes.
        lists_per_s: pages of 1,000 names per second that the bucket lists.
        files_per_s: files per second that the shared file system makes or removes.
        mb_per_s: megabytes per second that the shared file system writes and reads together.
    """

    gpus: str = "8,64,1000"
    cpus: int = 0
    bucket: bool = False
    problems: int = 0
    n: int = 0
    m: int = -1
    cells: int = 1
    block_problems: int = 0
    tokens_per_s: float = 0.0
    tokens: float = 0.0
    start_s: float = -1.0
    generation_cpu_ms: float = -1.0
    variant_cpu_ms: float = -1.0
    stretch: float = 0.0
    driver_per_s: float = 75.0  # of two busy cores: python -m bench capacity
    puts_per_s: float = 3500.0  # per prefix: AWS S3's published figure
    gets_per_s: float = 5500.0  # per prefix: AWS S3's published figure
    lists_per_s: float = 5500.0  # a LIST counts as a GET there
    files_per_s: float = 2000.0  # assumption: a mid-sized NFS or Lustre server
    mb_per_s: float = 2000.0  # assumption: a mid-sized NFS or Lustre server


@dataclass(frozen=True)
class Work:
    """A run's size.

    Attributes:
        blocks: units of work.
        engine_s: engine seconds per block.
        cpu_s: CPU seconds per block, all cells.
        worker_s: seconds that a worker is at a block.
        mb: megabytes written per block, and read once.
        puts, gets, pages: requests per block: PUT or DELETE, GET, and pages of listings.
        files: files made or removed per block.
    """

    blocks: int
    engine_s: float
    cpu_s: float
    worker_s: float
    mb: float
    puts: float
    gets: float
    pages: float
    files: float


@dataclass(frozen=True)
class Prediction:
    """What a run needs on a cluster.

    Attributes:
        gpus, cpus: of the cluster.
        busy: engines that have work at all: there are no more than blocks.
        wall_s: from the command to the last block.
        gpu_h, cpu_h: hours paid for while it runs.
        cpus_needed: cores that keep up with the engines.
        share: use of each limited resource while all engines work, 1 is all of it.
        limit: the most used resource.
        gpus_at_limit: engines at which that one is used up.
    """

    gpus: int
    cpus: int
    busy: int
    wall_s: float
    gpu_h: float
    cpu_h: float
    cpus_needed: int
    share: dict[str, float]
    limit: str
    gpus_at_limit: float


CURES = {
    "driver": "larger flow.block_problems, or several runs side by side, each with its driver",
    "bucket PUT": "larger flow.block_problems; several runs, whose prefixes are served apart",
    "bucket GET": "larger flow.block_problems; several runs, whose prefixes are served apart",
    "bucket LIST": "larger flow.block_problems, or several runs of fewer blocks each",
    "file system MB/s": "runs_dir in a bucket, or generate.capture=support instead of top_k",
    "file system files/s": "larger flow.block_problems, or runs_dir in a bucket",
}


def given(costs: Costs, options: CapacityOptions) -> Costs:
    """Returns the costs with those that the options give in place of the measured ones."""
    fixed, each = options.generation_cpu_ms, options.variant_cpu_ms
    return replace(
        costs,
        tokens_per_s=options.tokens_per_s or costs.tokens_per_s,
        start_s=costs.start_s if options.start_s < 0 else options.start_s,
        generation_cpu_s=costs.generation_cpu_s if fixed < 0 else fixed / 1e3,
        variant_cpu_s=costs.variant_cpu_s if each < 0 else each / 1e3,
        stretch=options.stretch or costs.stretch,
    )


def work_of(costs: Costs, options: CapacityOptions) -> Work:
    """Returns the size of the run that the options ask for, by the costs of measured ones."""
    problems = options.problems or costs.problems
    size = options.block_problems or costs.block_problems
    n, m = options.n or costs.n, costs.m if options.m < 0 else options.m
    blocks = math.ceil(problems / size)
    generations = problems * n / blocks
    tokens = options.tokens or costs.tokens
    rate = options.tokens_per_s or costs.tokens_per_s
    if not rate:
        raise ArgumentError("the runs hold no engine time; give tokens_per_s=, tokens per second")
    written = costs.n_bytes(tokens) + options.cells * (1 + m) * costs.bytes_per_program
    cells, keys = options.cells, blocks * max(1, options.cells)
    return Work(
        blocks=blocks,
        engine_s=generations * tokens / rate,
        cpu_s=options.cells * generations * costs.cpu_s(m),
        worker_s=options.cells * generations * costs.cpu_s(m) * costs.stretch,
        mb=generations * written / 1e6,
        # As counted at an S3 server: tests/flow/test_object_storage.py. The driver lists the
        # manifests of the generations and twice those of each cell.
        puts=8 + 5 * cells,
        gets=11 + 4 * cells,
        pages=3 * math.ceil(keys / 1000) / blocks,
        files=8 + 5 * cells,
    )


def wall_s(work: Work, engines: int, workers: int, start_s: float, cpu_start_s: float = 0) -> float:
    """Returns seconds from the command to the last block, driver and storage apart.

    Either the engines are the bottleneck, and the last blocks are expanded after them, or the
    workers are, and they begin when the first block is generated.

    >>> work = Work(10, 4.0, 1.0, 1.0, 0, 0, 0, 0, 0)
    >>> wall_s(work, engines=2, workers=1, start_s=3.0)  # 3 + 5 rounds of 4 s + 2 blocks of 1 s
    25.0
    >>> wall_s(Work(10, 1.0, 4.0, 4.0, 0, 0, 0, 0, 0), 2, 1, 3.0)  # 3 + 1 + 10 blocks of 4 s
    44.0
    """
    if not engines:
        return cpu_start_s + math.ceil(work.blocks / workers) * work.worker_s
    busy = min(engines, work.blocks)
    rounds = math.ceil(work.blocks / busy)
    by_engines = rounds * work.engine_s + math.ceil(busy / workers) * work.worker_s
    by_workers = work.engine_s + math.ceil(work.blocks / workers) * work.worker_s
    return start_s + max(by_engines, by_workers)


def predict(work: Work, gpus: int, start_s: float, options: CapacityOptions) -> Prediction:
    """Returns what the run needs on a cluster of so many GPUs."""
    busy = min(gpus, work.blocks)
    per_s = busy / work.engine_s  # blocks per second
    needed = math.ceil(busy * work.worker_s / work.engine_s)
    cpus = options.cpus or max(1, needed)
    share = {"driver": per_s / options.driver_per_s}
    if options.bucket:
        share["bucket PUT"] = per_s * work.puts / options.puts_per_s
        share["bucket GET"] = per_s * work.gets / options.gets_per_s
        share["bucket LIST"] = per_s * work.pages / options.lists_per_s
    else:
        share["file system MB/s"] = per_s * 2 * work.mb / options.mb_per_s
        share["file system files/s"] = per_s * work.files / options.files_per_s
    limit = max(share, key=lambda name: share[name])
    slowed = max(1.0, max(share.values()))
    wall = wall_s(work, gpus, cpus, start_s)
    wall = start_s + (wall - start_s) * slowed
    hours = wall / 3600
    at_limit = busy / share[limit] if share[limit] else math.inf
    return Prediction(
        gpus, cpus, busy, wall, gpus * hours, cpus * hours, needed, share, limit, at_limit
    )


def table(predictions: Sequence[Prediction], work: Work) -> Table:
    """Returns one row per size of cluster."""
    head = ["GPUs", "at work", "CPU cores", "wall min", "GPU h", "CPU h", "blocks/s", "MB/s"]
    rows = []
    for p in predictions:
        per_s = p.busy / work.engine_s
        rows.append(
            [
                *(p.gpus, p.busy, p.cpus, p.wall_s / 60, p.gpu_h, p.cpu_h),
                *(per_s, per_s * work.mb, f"{p.share[p.limit]:.0%} of {p.limit}"),
                f"{p.gpus_at_limit:,.0f}",
            ]
        )
    return Table("Predicted", [*head, "most used", "used up at GPUs"], rows)


def advice(prediction: Prediction, work: Work, problems: int) -> list[str]:
    """Returns what to do about what does not fit, a sentence each."""
    p, said = prediction, []
    if p.busy < p.gpus:
        said.append(
            f"{p.gpus} GPUs: the run has {work.blocks} blocks, so {p.gpus - p.busy} engines get no "
            "work; take smaller flow.block_problems, fewer GPUs, or a larger run"
        )
    if p.cpus < p.cpus_needed:
        said.append(
            f"{p.gpus} GPUs: {p.cpus} CPU cores lag behind (it takes {p.cpus_needed}); shards pile "
            "up in the run folder, and jobs.expand works them off later on cheap nodes"
        )
    if p.share[p.limit] > 0.7:
        said.append(f"{p.gpus} GPUs: {p.limit} is used to {p.share[p.limit]:.0%}; {CURES[p.limit]}")
    rounds = p.busy and work.blocks / p.busy
    if p.busy == p.gpus and rounds < 4:
        said.append(
            f"{p.gpus} GPUs: {rounds:.1f} blocks per engine, so starting and the last round weigh "
            f"much; 4 rounds take flow.block_problems={max(1, problems // (4 * p.gpus))}, if that "
            "still fills an engine (4 × model.max_num_seqs generations a block), or fewer GPUs"
        )
    return said


def main(arguments: list[str]) -> None:
    """Prints costs, predictions and advice. Raises: ArgumentError, CostError."""
    folders, options = parse(CapacityOptions, arguments)
    if not folders:
        raise ArgumentError("give a run folder: python -m analysis.capacity runs/…")
    sizes = [int(g) for g in options.gpus.split(",") if g.strip().isdigit() and int(g)]
    if not sizes:
        raise ArgumentError(f"gpus={options.gpus} names no number of GPUs; give gpus=8,64,1000")
    costs = given(measure(folders), options)
    work = work_of(costs, options)
    print(costs.table().markdown())
    values = {f.name: getattr(options, f.name) for f in fields(options)}
    limits = {k: v for k, v in values.items() if k.endswith("per_s") and k != "tokens_per_s"}
    print("Limits reckoned with: " + ", ".join(f"{k}={v:g}" for k, v in limits.items()) + "\n")
    found = [predict(work, gpus, costs.start_s, options) for gpus in sizes]
    print(f"{work.blocks:,} blocks of {work.engine_s:.1f} engine s, {work.cpu_s:.1f} CPU s each\n")
    print(table(found, work).markdown())
    problems = options.problems or costs.problems
    for line in dict.fromkeys(s for p in found for s in advice(p, work, problems)):
        print(f"- {line}")


if __name__ == "__main__":
    np.seterr(all="raise")
    run_command(main)
