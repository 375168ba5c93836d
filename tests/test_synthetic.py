"""Synthetic runs are runs: their rows hold together, whoever writes them."""

from pathlib import Path

import numpy as np

from bench.synthetic import KEY, VOCABULARY, make_run
from pipeline.expand import read_generations
from pipeline.shards import read_manifests


def test_any_number_of_processes_writes_the_same_shards(tmp_path: Path) -> None:
    checksums = []
    for processes in (1, 2):
        run = make_run(tmp_path / str(processes), 40, 2, block_problems=2, processes=processes)
        checksums.append([manifest.checksum for manifest in read_manifests(run.generations)])
    assert len(checksums[0]) == 20
    assert checksums[0] == checksums[1]


def test_tokens_ids_and_logprobs_of_a_row_belong_together(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 8, 3, block_problems=8)
    table, _ = read_generations(run, KEY, run.blocks(8)[0], 3)
    rows = table.to_pylist()
    assert [row["generation_id"] for row in rows[:4]] == [
        "word_problems/test/0/0",
        "word_problems/test/0/1",
        "word_problems/test/0/2",
        "word_problems/test/1/0",
    ]
    for row in rows:
        assert b"".join(row["tokens"]).decode() == row["text"]
        assert [VOCABULARY[i] for i in row["token_ids"]] == row["tokens"]
        candidates = np.array(row["candidate_logprobs"]).reshape(len(row["tokens"]), -1)
        assert np.allclose(np.exp(candidates).sum(axis=1), 1, atol=1e-5)
        for at, token in enumerate(row["token_ids"]):
            if token in row["candidate_ids"]:
                assert row["logprobs"][at] == row["candidate_logprobs"][at * 16 + token]


def test_some_programs_are_right_and_some_wrong(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 64, 4, block_problems=64)
    table, _ = read_generations(run, KEY, run.blocks(64)[0], 4)
    right = []
    for row in table.select(["text", "problem"]).to_pylist():
        scope: dict = {}
        exec(row["text"].strip("`").removeprefix("python"), scope)
        right.append(f'"gold": {scope["compute_answer"]()},' in row["problem"])
    assert 0.25 < np.mean(right) < 0.6
