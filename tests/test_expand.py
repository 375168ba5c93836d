"""Cells that are computed together are what they would be alone, whatever they share."""

from pathlib import Path

import pytest

from bench.synthetic import KEY, compose, make_run
from pipeline import passes
from pipeline.config import make_cell
from pipeline.expand import Expander
from pipeline.plan import add_cell
from pipeline.todo import Plan

POINTS = {
    "drawn": [("sample.m=2",), ("sample.m=6",), ("sample.m=6", "sample.reject_static=false")],
    "valid": [
        ("sample.m_counts=valid", "sample.m=4", "rules=all"),
        ("sample.m_counts=valid", "sample.m=4", "rules=all", "sample.reject_static=false"),
        ("sample.m_counts=distinct", "sample.m=4", "sample.max_draws_per_variant=1"),
        ("sample.m_counts=distinct", "sample.m=4", "sample.max_draws_per_variant=8"),
    ],
}


def expand(folder: Path, points: list[tuple[str, ...]]) -> dict[str, bytes]:
    """Returns each cell's results, byte for byte."""
    run = make_run(folder, n_problems=4, n=2, block_problems=4)
    configs = [compose("generate.n=2", "flow.block_problems=4", *point) for point in points]
    plan = Plan(run, configs[0], KEY, [])
    for config in configs:
        add_cell(plan, make_cell(config, KEY))
    expander = Expander()
    try:
        names = [cell.name for cell in plan.cells]
        expander.expand_block(run, configs[0], KEY, run.blocks(4)[0], names)
    finally:
        expander.close()
    return {n: run.cell(n).read_bytes("results/block-00000.arrow") for n in names}


@pytest.mark.parametrize("counting", list(POINTS))
def test_cells_of_one_pass_equal_cells_alone(tmp_path: Path, counting: str) -> None:
    together = expand(tmp_path / "together", POINTS[counting])
    assert len(together) == len(POINTS[counting])
    for index, point in enumerate(POINTS[counting]):
        for name, content in expand(tmp_path / str(index), [point]).items():
            assert together[name] == content, point


def test_a_cell_that_fails_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", n_problems=4, n=2, block_problems=4)
    configs = [compose("generate.n=2", f"sample.m={m}") for m in (1, 2)]
    broken = compose("generate.n=2", "rules=digit")
    plan = Plan(run, configs[0], KEY, [])
    for config in (*configs, broken):
        add_cell(plan, make_cell(config, KEY))
    names = [cell.name for cell in plan.cells]
    whole = passes.compile_generations

    def compile_generations(*arguments):
        if arguments[4].name == "digit":
            raise ValueError("this rule set cannot be compiled")
        return whole(*arguments)

    monkeypatch.setattr(passes, "compile_generations", compile_generations)
    expander = Expander()
    try:
        record = expander.expand_block(run, configs[0], KEY, run.blocks(4)[0], names)
    finally:
        expander.close()
    assert record["done_cells"] == names[:2]
    assert record["failed_cells"] == {
        names[2]: "ValueError: this rule set cannot be compiled",
    }
    assert not run.storage.names("attempts")
    assert not run.storage.names("quarantine")  # nobody's generations are at fault
    alone = expand(tmp_path / "alone", [("sample.m=2",)])
    (name,) = alone
    assert run.cell(name).read_bytes("results/block-00000.arrow") == alone[name]


def test_a_cell_of_fewer_generations_is_what_it_would_be_alone(tmp_path: Path) -> None:
    points = [("n=1", "sample.m=3"), ("sample.m=3",), ("sample.m=0",)]
    together = expand(tmp_path / "together", points)
    for index, point in enumerate(points):
        for name, content in expand(tmp_path / str(index), [point]).items():
            assert together[name] == content, point
