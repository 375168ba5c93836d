"""Three Ray nodes give what one gives, also when one of them is lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench._injury import EXPANDED, Command
from bench._nodes import Nodes, three_nodes
from tests.flow.conftest import SMALL, Jobs
from tests.flow.test_faults import completes, expansion, same_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with three_nodes() as running:
        yield running


def test_three_nodes_give_the_same_bytes_as_one(first_run, nodes: Nodes, tmp_path: Path) -> None:
    command = Command(*SMALL, f"flow.ray_address={nodes.address}", runs_dir=tmp_path / "runs")
    worker = command.wait_for(lambda: command.at_work("generate"))
    assert nodes.node_of(worker) in nodes.workers
    completes(command)
    same_run(first_run[0], command.folder)


def test_a_lost_node_changes_nothing(first_run, nodes: Nodes, tmp_path: Path) -> None:
    command = Command(*SMALL, f"flow.ray_address={nodes.address}", runs_dir=tmp_path / "runs")

    def node_at_work() -> Any:
        return nodes.node_of(command.at_work("generate"))

    nodes.lose(command.wait_for(node_at_work))
    assert len(nodes.workers) == 1
    printed = completes(command)
    assert "ended without a word: killed, out of memory, or its node was lost" in printed
    same_run(first_run[0], command.folder)


def test_a_cluster_that_goes_away_is_named_and_another_goes_on(
    saved: Path, job: Jobs, nodes: Nodes, tmp_path: Path
) -> None:
    command = expansion(saved, tmp_path, f"flow.ray_address={nodes.address}")
    command.wait_for(lambda: command.shards(EXPANDED))
    nodes.lose_all()
    assert command.finish(180) != 0
    assert f"the Ray cluster at {nodes.address} is gone; start it again" in command.printed()
    assert "Traceback" not in command.printed()
    job("expand", f"generations={command.folder}", "sample.m=20", f"runs_dir={tmp_path}")
    same_run(saved, command.folder)
