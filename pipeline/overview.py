"""What a person sees of a run: its first lines, its last table, its state from the folder."""

from typing import Any

from rich.table import Table

from pipeline.config import RunConfig
from pipeline.drive import Outcome
from pipeline.events import event_files
from pipeline.monitor import duration
from pipeline.run import RunFolder
from pipeline.shards import read_manifests
from pipeline.todo import Plan
from pipeline.workers import STOP

LACKING = "generations are missing; the command that made the others makes them"
_TAIL_BYTES = 64 * 1024  # of the events, when only the last progress is wanted


def first_lines(plan: Plan, todo: list[dict[str, Any]]) -> list[str]:
    """Returns where the run lies and what will be done, before anything is spent."""
    config = plan.config
    blocks = plan.blocks()
    n_problems = blocks[-1].stop if blocks else 0
    generate = sum(item["generate"] is not None for item in todo)
    lines = [
        f"run folder  {plan.run.storage.uri}",
        f"model       {config.model.name} ({config.model.engine})",
        f"task        {config.task.name}: {n_problems:,} problems × {config.generate.n} "
        f"generations at temperature {config.generate.temperature:g}",
    ]
    lines += [
        f"cell        {cell.name}  {describe_cell(cell.config, cell.n)}" for cell in plan.cells[:6]
    ]
    if len(plan.cells) > 6:
        lines.append(f"            … and {len(plan.cells) - 6} more cells")
    if not todo:
        every = "nothing: every block" + (" that has generations" if plan.n_waiting else "")
        lines.append(f"to do       {every} is done")
    else:
        lines.append(
            f"to do       {generate} of {len(blocks)} blocks to generate, "
            f"{sum(len(i['cells']) for i in todo)} cell blocks to expand"
        )
    if waiting := plan.n_waiting - generate:
        lines.append(f"            {waiting} of {len(blocks)} blocks: {LACKING}")
    return lines


def describe_cell(config: RunConfig, n: int) -> str:
    """Returns a cell in a few words."""
    sample = config.sample
    top_k = f", top_k={config.compile.top_k}" if config.compile.top_k else ""
    return (
        f"k={n}, m={sample.m}, rules={config.rules.name}, sampler={sample.sampler}, "
        f"τ={sample.program_temperature:g}{top_k}"
    )


def results_table(outcomes: list[Outcome], most: int = 20) -> tuple[Table, int]:
    """Returns the last table, and how many cells are not in it.

    Accuracy with and without variants, [95% interval over problems]; of more than `most` cells
    with variants, those with the highest pass@k.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), collapse_padding=True)
    table.add_column("", overflow="fold")
    for title in ("programs", "pass@k", "maj@k", "weighted maj@k"):
        table.add_column(title, justify="right", no_wrap=True)
    entries = [entry for outcome in outcomes for entry in outcome.summaries]
    shared = set.intersection(*(set(entry["overrides"]) for entry in entries))
    varied = sorted((entry for entry in entries if entry["m"]), key=_pass_at_k, reverse=True)
    shown = {(entry["run"], entry["cell"]) for entry in varied[:most]}
    for outcome in outcomes:
        shown_plain: set[int] = set()
        for entry in outcome.summaries:
            k = str(entry["k"])
            if entry["k"] not in shown_plain:
                shown_plain.add(entry["k"])
                table.add_row(
                    f"k={k}, m=0{_what_varies(entry, shared, ('generate.',))}",
                    f"{entry['n_generations']:,}",
                    score(entry, "pass_at_k_m0", k),
                    score(entry, "maj_at_k_m0", k),
                    "",
                )
            if (entry["run"], entry["cell"]) in shown:
                table.add_row(
                    f"k={k}, m={entry['m']}{_what_varies(entry, shared)}",
                    f"{entry['programs']['distinct']:,}",
                    score(entry, "pass_at_k", k),
                    score(entry, "maj_at_k", k),
                    score(entry, "weighted_maj_at_k", k),
                )
    return table, len(varied) - len(shown)


def _pass_at_k(entry: dict[str, Any]) -> float:
    return (entry.get("pass_at_k") or {}).get(str(entry["k"])) or 0.0


def _what_varies(entry: dict[str, Any], shared: set[str], of: tuple[str, ...] = ("",)) -> str:
    """Returns the overrides, beside m and n, that set an entry apart, a line each."""
    told = ("sample.m=", "generate.n=", "n=", "generations=", "runs_dir=")
    apart = [o for o in entry["overrides"] if o not in shared and not o.startswith(told)]
    short = [key.rsplit(".", 1)[-1] + "=" + value for key, _, value in map(_parts, apart)]
    return "".join(f"\n{s}" for o, s in zip(apart, short, strict=True) if o.startswith(of))


def _parts(override: str) -> tuple[str, str, str]:
    return override.partition("=")


def score(entry: dict[str, Any], name: str, k: str) -> str:
    """Returns a metric at k with its interval, in percent; a dash where there is no gold."""
    value = (entry.get(name) or {}).get(k)
    if value is None:
        return "–"
    low, high = entry[f"{name}_interval"][k]
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def cost_lines(outcome: Outcome) -> list[str]:
    """Returns what a run cost and what became of its programs."""
    lines = []
    for entry in outcome.summaries[:4]:
        programs = entry["programs"]
        statuses = ", ".join(f"{k} {v:,}" for k, v in sorted(entry["statuses"].items()))
        lines += [
            f"cell {entry['cell']}: {programs['drawn']:,} programs drawn, "
            f"{programs['distinct']:,} distinct, {programs['executed']:,} executed; "
            f"{entry['gpu_s']:.0f} engine s, {entry['cpu_s']:.1f} CPU s",
            f"  statuses (a program counts once per generation): {statuses}",
        ]
    if outcome.quarantined:
        where = outcome.plan.run.storage.path("quarantine")
        lines.append(f"quarantined: {outcome.quarantined} generations, see {where}")
    return lines


def status_lines(run: RunFolder) -> list[str]:
    """Returns a run's state from its folder alone, while it runs or after.

    Raises: RunError if it is no run folder.
    """
    about = run.read()
    config = about["config"]
    n_blocks = len(run.blocks(config["flow"]["block_problems"]))
    manifests = read_manifests(run.generations)
    n_rows = sum(m.rows for m in manifests)
    n_tokens = sum(m.counts.get("n_tokens", 0) for m in manifests)
    gpu_s = sum(m.counts.get("gpu_s", 0.0) for m in manifests)
    quarantined = int(sum(m.counts.get("quarantined", 0) for m in manifests))
    lines = [
        f"run folder   {run.storage.uri}",
        f"status       {about['status']}{_why_stopped(run, about['status'])}",
        f"model, task  {config['model']['name']}, {config['task']['name']}",
        f"generations  {n_rows:,} in {len(manifests)} shards over {n_blocks} blocks, "
        f"{n_tokens:,.0f} tokens, {gpu_s:.0f} engine s, {quarantined} quarantined",
    ]
    for name in run.storage.names("cells"):
        storage = run.cell(name)
        done = len(storage.names("manifests/results", ".json"))
        lines.append(f"cell         {name}: {done} of {n_blocks} blocks done")
    return lines + _last_progress(run)


def _why_stopped(run: RunFolder, status: str) -> str:
    """Returns what stopped a run and how it goes on; empty if nothing did."""
    if status != "stopped" or not run.storage.exists(STOP):
        return ""
    return f": {run.storage.read_json(STOP)['reason']}; the same command goes on from here"


def _last_progress(run: RunFolder) -> list[str]:
    """Returns the progress that the events say last, unless the run has finished since."""
    import json

    try:
        events = run.storage.tail(event_files(run.storage)[-1], _TAIL_BYTES).splitlines()
    except FileNotFoundError:
        return []
    for line in reversed(events):
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the last line may be half written
        if event.get("event") == "finish":
            return []
        if event.get("event") == "progress":
            return [
                f"{name:<12} {row['done']:,}/{row['total']:,} {row['unit']}, "
                f"{row['rate']:,.1f}/s, {duration(row['left_s'])} left"
                for name, row in event["progress"].items()
            ]
    return []
