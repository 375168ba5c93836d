"""A run ends with numbers that add up, resumes, and repeats bit for bit on the CPU side."""

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import load_from_disk

from tests.flow.conftest import SMALL, Jobs


def contents(folder: Path) -> dict[str, str]:
    """Returns a digest per Arrow file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.arrow"))
    }


def results(cell: Path) -> list[dict]:
    files = sorted((cell / "results").glob("*.arrow"))
    return [row for f in files for row in pa.ipc.open_stream(f.read_bytes()).read_all().to_pylist()]


def the_cell(run: Path) -> Path:
    (cell,) = (run / "cells").iterdir()
    return cell


def test_the_last_lines_show_accuracy_with_and_without_variants(first_run) -> None:
    folder, printed = first_run
    assert "k=2, m=0" in printed
    assert "k=2, m=5" in printed
    assert str(folder) in printed
    assert json.loads((folder / "run.json").read_text())["status"] == "complete"
    assert (folder / "report" / "pass_at_k.png").stat().st_size > 5_000


def test_the_numbers_of_the_summary_add_up_from_the_rows(first_run) -> None:
    folder, _ = first_run
    (entry,) = json.loads((folder / "summary.json").read_text())["cells"]
    rows = results(the_cell(folder))
    assert entry["n_problems"] == 12
    assert entry["n_generations"] == 24
    assert len({(r["problem_id"], r["generation_index"]) for r in rows}) == 24
    assert sum(r["variant_index"] == 0 for r in rows) == 24
    assert sum(entry["statuses"].values()) == len(rows)
    assert entry["programs"]["drawn"] == sum(r["n_drawn"] for r in rows)
    solved = {r["problem_id"] for r in rows if r["correct"]}
    assert entry["pass_at_k"]["2"] == pytest.approx(len(solved) / 12)
    plain = [r for r in rows if r["variant_index"] == 0]
    assert entry["avg_at_k"] == pytest.approx(sum(r["correct"] for r in plain) / 24)


def test_datasets_opens_the_generations(first_run) -> None:
    folder, _ = first_run
    dataset = load_from_disk(str(folder / "generations"))
    assert len(dataset) == 24
    row = dataset[0]
    assert b"".join(row["tokens"]).decode() == row["text"]
    assert len(row["logprobs"]) == len(row["tokens"])


def test_the_same_command_again_does_nothing(first_run, job: Jobs) -> None:
    folder, _ = first_run
    before = contents(folder)
    printed = job("run", *SMALL, f"runs_dir={folder.parents[1]}").stdout
    assert "nothing: every block is done" in printed
    assert "k=2, m=5" in printed
    assert contents(folder) == before


@pytest.mark.parametrize("n_actors", [1, 2])
def test_expanding_again_gives_the_same_bytes_with_any_number_of_actors(
    first_run, job: Jobs, tmp_path: Path, n_actors: int
) -> None:
    folder, _ = first_run
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("cells", "executions"))
    job("expand", f"generations={copy}", f"flow.expand_actors={n_actors}", "flow.num_cpus=2")
    assert contents(copy / "cells") == contents(folder / "cells")
    assert the_cell(copy).name == the_cell(folder).name


def test_every_cell_of_a_sweep_is_what_it_would_be_alone(
    first_run, job: Jobs, tmp_path: Path
) -> None:
    folder, _ = first_run
    together, alone = tmp_path / "together", tmp_path / "alone"
    for copy in (together, alone):
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("cells", "executions"))
    sweep = ["sample.m=0,2,5", "rules=digit,all", f"runs_dir={tmp_path}"]
    printed = job("expand", "-m", f"generations={together}", *sweep).stdout
    assert len(list((together / "cells").iterdir())) == 6
    assert "sweep index" in printed
    index = (tmp_path / "default" / "sweep.csv").read_text().splitlines()
    assert len(index) == 7
    assert index[0].startswith("generations,sample.m,rules,")
    job("expand", f"generations={alone}", "sample.m=2", "rules=digit")
    name = the_cell(alone).name
    assert contents(together / "cells" / name) == contents(alone / "cells" / name)
    again = job("expand", "-m", f"generations={together}", *sweep).stdout
    assert "nothing: every block is done" in again


def test_a_failed_point_says_so_and_does_not_stop_the_others(
    first_run, job: Jobs, tmp_path: Path
) -> None:
    folder, _ = first_run
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("cells", "executions"))
    sweep = ["sample.m=-1,1", f"generations={copy}", f"runs_dir={tmp_path}"]
    result = job("expand", "-m", *sweep, check=False)
    assert result.returncode == 1
    assert "sample.m=-1 must not be negative" in result.stderr
    assert "1 of 2 points failed" in result.stderr
    assert len(results(the_cell(copy))) > 24


def test_a_larger_n_keeps_the_generations_that_are_there(
    first_run, job: Jobs, tmp_path: Path
) -> None:
    folder, _ = first_run
    runs = tmp_path / "runs"
    copy = runs / "default" / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("cells", "executions"))
    before = contents(copy / "generations")
    job("run", *SMALL, "generate.n=3", f"runs_dir={runs}")
    after = contents(copy / "generations")
    assert before.items() <= after.items()
    assert len(after) == len(before) + 3
    job("expand", f"generations={copy}", "n=2")
    smaller = copy / "cells" / the_cell(folder).name
    assert contents(smaller) == contents(the_cell(folder))


@pytest.mark.slow
def test_axes_of_generation_open_a_folder_each_and_the_others_share_it(
    first_run, job: Jobs, tmp_path: Path
) -> None:
    folder, _ = first_run
    axes = ["generate.temperature=0.7,1.2", "sample.m=0,5"]
    printed = job("run", "-m", *SMALL, *axes, f"runs_dir={tmp_path}").stdout
    runs = {
        json.loads((run / "run.json").read_text())["config"]["generate"]["temperature"]: run
        for run in (tmp_path / "default").glob("bundled-*")
    }
    assert sorted(runs) == [0.7, 1.2]
    assert all(len(list((run / "cells").iterdir())) == 2 for run in runs.values())
    # What the sweep generated is what the run alone did.
    assert runs[0.7].name == folder.name
    assert contents(runs[0.7] / "generations") == contents(folder / "generations")
    name = the_cell(folder).name
    assert contents(runs[0.7] / "cells" / name) == contents(folder / "cells" / name)
    assert contents(runs[1.2] / "generations") != contents(folder / "generations")
    assert printed.count("temperature=1.2") >= 1
