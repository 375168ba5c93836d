import math

import pyarrow as pa
import pytest

from pipeline import schema
from pipeline.vote.config import VoteConfig, VoteConfigError
from pipeline.vote.vote import generation_weights, problem_row


def result(generation, variant, answer, correct, n_drawn=1, mass=0.5, status="ok", **more):
    row = {
        "problem_id": "p",
        "generation_index": generation,
        "variant_index": variant,
        "program_hash": f"{generation}.{variant}",
        "source": "",
        "logprob": math.log(mass),
        "mass": mass,
        "n_drawn": 0 if variant == 0 else n_drawn,
        "changes": [],
        "reject": None,
        "status": status,
        "value": None,
        "error": None,
        "answer": answer,
        "correct": correct,
        "score": None if correct is None else float(correct),
    }
    return row | more


def test_a_variant_votes_as_often_as_it_was_drawn():
    rows = [result(0, 0, "1", True), result(0, 1, "2", False, n_drawn=3)]
    row = problem_row(rows)
    assert row["vote_answer"] == "2" and row["vote_correct"] == 0.0
    assert row["vote_share"] == 0.75


def test_the_weighted_vote_gives_every_generation_one_vote_shared_by_mass():
    rows = [
        result(0, 0, "1", True, mass=0.6),
        result(0, 1, "2", False, n_drawn=9, mass=0.2),
        result(1, 0, "2", False, mass=1e-9),
    ]
    assert generation_weights(rows) == pytest.approx([0.75, 0.25, 1.0])
    assert problem_row(rows)["weighted_answer"] == "2"
    assert problem_row(rows[:2])["weighted_answer"] == "1"


def test_a_mass_too_small_for_a_float_falls_back_to_its_logarithm():
    rows = [
        result(0, 0, "1", True, mass=0.5, logprob=-1000.0) | {"mass": 0.0},
        result(0, 1, "2", False, mass=0.5) | {"mass": 0.0, "logprob": -1001.0},
    ]
    assert generation_weights(rows) == pytest.approx([1 / (1 + math.e**-1), 1 / (1 + math.e)])


def test_the_likelihood_vote_follows_the_likelier_completion():
    rows = [result(0, 0, "1", True), result(1, 0, "2", False), result(2, 0, "2", False)]
    assert problem_row(rows)["likelihood_answer"] is None
    row = problem_row(rows, generation_logprobs={0: -0.1, 1: -3.0, 2: -3.0})
    assert row["likelihood_answer"] == "1" and row["likelihood_correct"] == 1.0
    assert row["weighted_answer"] == "2"


def test_the_row_fits_the_schema_and_tells_originals_from_variants():
    rows = [
        result(0, 0, "1", False),
        result(0, 1, "3", True, n_drawn=2),
        result(1, 0, None, False, status="error"),
        result(1, 1, None, False, status="rejected", reject="power"),
    ]
    row = problem_row(rows)
    table = pa.Table.from_pylist([row], schema=schema.PROBLEM)
    assert table.to_pylist()[0] == row
    assert row["original_correct"] == [False, False]
    assert row["any_correct"] == [True, False]
    assert row["plain_answer"] == "1" and row["plain_correct"] == 0.0
    assert (row["n_drawn"], row["n_distinct"], row["n_executed"]) == (3, 4, 3)
    assert row["n_abstained"] == 2
    assert row["statuses"] == '{"error": 1, "ok": 2, "rejected": 1}'
    assert row["vote_curve"] == pytest.approx([0.5, 1.0])
    assert row["maj_exact"] is True


def test_identical_programs_of_two_generations_run_once_and_vote_twice():
    rows = [result(g, 0, "1", True, program_hash="same") for g in (0, 1)]
    row = problem_row([*rows, result(2, 0, "2", False)])
    assert row["n_distinct"] == 2 and row["vote_share"] == 2 / 3


def test_columns_and_rows_give_the_same_row():
    rows = [result(0, 0, "1", True), result(0, 1, "1.0000000000001", False)]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert problem_row(rows) == problem_row(columns)
    assert problem_row(rows)["vote_share"] == 1.0


def test_without_gold_nothing_is_scored():
    row = problem_row([result(0, 0, "1", None), result(0, 1, "2", None)])
    assert row["vote_correct"] is None and row["vote_curve"] is None
    assert row["any_correct"] == [None] and row["score"] is None
    pa.Table.from_pylist([row], schema=schema.PROBLEM)


def test_a_graded_task_keeps_the_best_score_of_each_generation():
    rows = [
        result(0, 0, "1", False, score=0.25),
        result(0, 1, "2", False, score=0.75),
        result(1, 0, "3", False, score=0.5),
    ]
    row = problem_row(rows)
    assert row["score"] == 0.75
    assert row["best_curve"] == pytest.approx([0.625, 0.75])


def test_a_bad_setting_is_refused_with_a_sentence():
    VoteConfig().check()
    with pytest.raises(VoteConfigError, match=r"vote\.confidence is 95"):
        VoteConfig(confidence=95).check()
