"""The capacity model: costs from folders, and predictions that can be worked out by hand."""

import math

import pytest

from analysis import capacity
from analysis.capacity import CapacityOptions, Work, advice, predict, wall_s, work_of
from analysis.costs import CostError, Costs, fit, measure, starts, walls
from pipeline.events import JsonlSink
from pipeline.run import RunFolder
from pipeline.storage import Storage

COSTS = Costs(
    problems=640,
    block_problems=64,
    n=10,
    m=5,
    tokens=100.0,
    tokens_per_s=1000.0,
    start_s=60.0,
    generation_cpu_s=0.01,
    variant_cpu_s=0.002,
    stretch=1.0,
    bytes_per_generation=10_000.0,
    bytes_per_program=500.0,
    points=2,
)


def test_a_run_tells_its_costs(toy) -> None:
    costs = measure([toy])
    assert (costs.problems, costs.block_problems, costs.n) == (12, 4, 4)
    assert costs.points == 3
    assert costs.cpu_s(20) >= costs.cpu_s(0) > 0
    shards = RunFolder(Storage(toy)).generations.names("", ".arrow")
    assert costs.bytes_per_generation * 12 * 4 > 1000 * len(shards)
    assert costs.tokens_per_s == 0.0  # nothing generated them


def test_two_ms_tell_a_variant_from_a_generation() -> None:
    assert fit([0, 10], [1.0, 3.0]) == (1.0, 0.2)
    assert fit([4], [1.0]) == (0.2, 0.2)
    assert fit([1, 10], [0.5, 10.0])[0] == 0.0  # a line through the origin, not a negative cost
    assert fit([0, 10], [2.0, 1.0]) == (1.5, 0.0)


def test_the_size_of_a_run_follows_from_its_costs() -> None:
    work = work_of(COSTS, CapacityOptions())
    assert work.blocks == 10
    assert work.engine_s == pytest.approx(64 * 10 * 100 / 1000)
    assert work.cpu_s == pytest.approx(640 * 0.02)
    assert work.mb == pytest.approx(640 * (10_000 + 6 * 500) / 1e6)
    assert (work.puts, work.gets) == (13, 15)
    larger = work_of(COSTS, CapacityOptions(problems=1280, n=20, m=0, cells=3, tokens_per_s=2000))
    assert larger.blocks == 20
    assert larger.engine_s == pytest.approx(64 * 20 * 100 / 2000)
    assert larger.cpu_s == pytest.approx(3 * 64 * 20 * 0.01)


def test_engines_or_workers_are_the_bottleneck() -> None:
    fast_workers = Work(10, 4.0, 1.0, 1.0, 0, 0, 0, 0, 0)
    assert wall_s(fast_workers, engines=2, workers=1, start_s=3.0) == 3 + 5 * 4 + 2
    slow_workers = Work(10, 1.0, 4.0, 4.0, 0, 0, 0, 0, 0)
    assert wall_s(slow_workers, engines=2, workers=1, start_s=3.0) == 3 + 1 + 10 * 4
    assert wall_s(slow_workers, engines=0, workers=2, start_s=3.0, cpu_start_s=2.0) == 2 + 5 * 4


def test_cores_keep_up_and_hours_are_those_of_the_whole_cluster() -> None:
    work = work_of(COSTS, CapacityOptions())  # 64 engine s and 12.8 CPU s a block
    found = predict(work, 5, 60.0, CapacityOptions())
    assert found.cpus_needed == found.cpus == 1
    assert found.wall_s == pytest.approx(60 + 2 * 64 + 5 * 12.8)
    assert found.gpu_h == pytest.approx(5 * found.wall_s / 3600)
    assert predict(work, 10, 60.0, CapacityOptions()).cpus_needed == 2
    too_many = predict(work, 100, 60.0, CapacityOptions())
    assert too_many.busy == 10
    assert any("90 engines get no work" in line for line in advice(too_many, work, 640))


def test_what_is_given_replaces_what_was_measured() -> None:
    options = CapacityOptions(variant_cpu_ms=0.6, generation_cpu_ms=0.0, start_s=5.0, stretch=1.5)
    costs = capacity.given(COSTS, options)
    assert (costs.start_s, costs.stretch, costs.tokens_per_s) == (5.0, 1.5, 1000.0)
    assert costs.cpu_s(20) == pytest.approx(0.012)
    assert work_of(costs, options).worker_s == pytest.approx(640 * 5 * 0.0006 * 1.5)
    assert capacity.given(COSTS, CapacityOptions()) == COSTS


def test_what_is_used_up_slows_the_run_and_says_what_to_do() -> None:
    options = CapacityOptions(problems=640_000, mb_per_s=100.0)
    work = work_of(COSTS, options)
    found = predict(work, 1000, 60.0, options)
    per_s = 1000 / work.engine_s
    assert found.limit == "file system MB/s"
    assert found.share[found.limit] == pytest.approx(per_s * 2 * work.mb / 100.0)
    assert found.gpus_at_limit == pytest.approx(1000 / found.share[found.limit])
    free = predict(work, 1000, 60.0, CapacityOptions(problems=640_000, mb_per_s=math.inf))
    assert found.wall_s - 60 == pytest.approx(
        (free.wall_s - 60) * found.share[found.limit] / max(1.0, max(free.share.values()))
    )
    assert any("runs_dir in a bucket" in line for line in advice(found, work, 640_000))


def test_in_a_bucket_requests_are_the_limit_and_not_megabytes() -> None:
    options = CapacityOptions(problems=640_000, bucket=True, puts_per_s=100.0)
    work = work_of(COSTS, options)
    found = predict(work, 1000, 60.0, options)
    assert found.limit == "bucket PUT"
    assert found.share["bucket PUT"] == pytest.approx(1000 / work.engine_s * 13 / 100.0)
    assert not any(name.startswith("file system") for name in found.share)
    assert any("larger flow.block_problems" in line for line in advice(found, work, 640_000))


def test_the_start_is_what_the_first_block_does_not_explain(tmp_path) -> None:
    run = RunFolder(Storage(tmp_path / "run"))
    run.open("x", "key", {"model": {"num_gpus": 2.0}})
    sink = JsonlSink(run)
    for event in (
        {"time": 100.0, "event": "start"},
        {"time": 150.0, "event": "block", "n_generations": 8, "gpu_s": 40.0, "cpu_s": 5.0},
        {"time": 170.0, "event": "block", "n_generations": 8, "gpu_s": 40.0, "cpu_s": 5.0},
        {"time": 900.0, "event": "start"},
        {"time": 910.0, "event": "block", "n_generations": 0, "cpu_s": 5.0},
    ):
        sink.emit(event)
    assert starts(run) == [150 - 100 - 40 / 2 - 5]
    assert [(w["blocks"], w["wall_s"], w["cpu_s"]) for w in walls(run)] == [
        (2, 70.0, 10.0),
        (1, 10.0, 5.0),
    ]


def test_the_command_prints_a_row_per_size_and_refuses_what_it_cannot_know(toy, capsys) -> None:
    capacity.main([toy, "gpus=8,64", "tokens_per_s=5000", "tokens=200", "problems=1319"])
    printed = capsys.readouterr().out
    assert "CPU ms per variant" in printed
    assert (
        len([line for line in printed.splitlines() if line.startswith(("|    8", "|   64"))]) == 2
    )
    with pytest.raises(ValueError, match="tokens_per_s="):
        capacity.main([toy])
    with pytest.raises(ValueError, match="gpus=none"):
        capacity.main([toy, "gpus=none", "tokens_per_s=1"])
    with pytest.raises((CostError, ValueError), match="run"):
        capacity.main(["/nowhere"])
