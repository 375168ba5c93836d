from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.vote.ballots import Ballots, Count, abstained
from tests.vote.by_hand import majority

KEYS = ["'a'", "0.3", "0.30000000000000004", "7"]


def ballots(problems: list[list[tuple[str | None, bool | None]]]) -> Ballots:
    """Problems of programs (answer, right), each a generation of its own."""
    flat = [(p, g, *row) for p, rows in enumerate(problems) for g, row in enumerate(rows)]
    truth = [-1 if right is None else int(right) for *_, right in flat]
    return Ballots(
        problem=np.array([p for p, *_ in flat], np.int64),
        generation=np.array([g for _, g, *_ in flat], np.int64),
        original=np.ones(len(flat), bool),
        n_drawn=np.zeros(len(flat), np.int64),
        log_mass=np.zeros(len(flat)),
        answer=np.array([-1 if a is None else KEYS.index(a) for *_, a, _ in flat], np.int64),
        keys=KEYS,
        correct=np.array(truth, np.int8),
        score=np.array([np.nan if t < 0 else float(t) for t in truth]),
    )


ROWS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from([None, *KEYS]),
            st.booleans(),
            st.sampled_from([0.0, 0.1, 0.2, 0.1 + 0.2, 0.3, 1.0]),
        ),
        min_size=1,
        max_size=8,
    ),
    min_size=1,
    max_size=4,
)


@given(ROWS)
def test_the_votes_of_all_problems_are_those_counted_by_hand(problems):
    cast = ballots([[(answer, right) for answer, right, _ in rows] for rows in problems])
    weights = np.array([weight for rows in problems for *_, weight in rows])
    votes = Count(cast).votes(weights)
    for problem, rows in enumerate(problems):
        keys, right, weight = (list(column) for column in zip(*rows, strict=True))
        by_hand = majority(keys, weight, right)
        answer = votes.answer[problem]
        assert (None if answer < 0 else KEYS[answer]) == by_hand.answer
        assert votes.share[problem] == pytest.approx(by_hand.share)
        assert bool(votes.tied[problem]) == by_hand.tied
        assert votes.expected[problem] == pytest.approx(by_hand.expected_correct)


@given(ROWS)
def test_a_problem_s_outcome_does_not_depend_on_its_neighbours(problems):
    together = ballots([[(answer, right) for answer, right, _ in rows] for rows in problems])
    weights = np.array([weight for rows in problems for *_, weight in rows])
    votes, start = Count(together).votes(weights), together.problem_start
    for problem, rows in enumerate(problems):
        alone = ballots([[(answer, right) for answer, right, _ in rows]])
        own = Count(alone).votes(weights[start[problem] : start[problem + 1]])
        assert own.share[0] == votes.share[problem]  # to the last bit
        assert own.expected[0] == votes.expected[problem]


@given(ROWS)
def test_tables_add_up_to_the_votes(problems):
    cast = ballots([[(answer, right) for answer, right, _ in rows] for rows in problems])
    weights = np.array([weight for rows in problems for *_, weight in rows])
    found = list(Count(cast).tables([weights, cast.count]))
    assert len(found) == len(problems)
    for rows, ((weighted, plain), correct) in zip(problems, found, strict=True):
        present = sorted({answer for answer, *_ in rows} - {None})
        assert weighted.shape == plain.shape == (len(rows), len(present))
        for place, key in enumerate(present):
            mine = [(right, weight) for answer, right, weight in rows if answer == key]
            assert weighted[:, place].sum() == pytest.approx(sum(w for _, w in mine))
            assert plain[:, place].sum() == len(mine)
            assert correct[place] == pytest.approx(sum(r for r, _ in mine) / len(mine))


def test_abstentions_are_counted_as_often_as_drawn():
    cast = ballots([[(None, False), ("7", True)], [(None, False)]])
    drawn = replace(cast, original=np.array([True, True, False]), n_drawn=np.array([0, 0, 3]))
    assert abstained(drawn).tolist() == [1, 3]


def test_answers_that_differ_by_rounding_are_joined_within_their_problem():
    cast = ballots([[("0.3", True), ("0.30000000000000004", True), ("7", False)], [("7", False)]])
    joined = cast.clustered(1e-9)
    assert [KEYS[i] for i in joined.answer] == ["0.3", "0.3", "7", "7"]
    alone = ballots([[("0.30000000000000004", True)], [("0.3", True)]]).clustered(1e-9)
    assert [KEYS[i] for i in alone.answer] == ["0.30000000000000004", "0.3"]
