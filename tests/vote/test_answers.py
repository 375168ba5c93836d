import math
import random
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.vote.answers import cluster, may_join, normalise

numbers = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.fractions(), st.decimals(allow_nan=False)
)
values = st.recursive(
    st.one_of(st.booleans(), numbers, st.text(), st.binary(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (3, 3.0),
        (3, Decimal("3.00")),
        (0.5, Fraction(1, 2)),
        (0.0, -0.0),
        (10**20, 1e20),
        (10**30, 1e30),
        ([1, 2.0], [1.0, 2]),
        ({1, 2, 3}, {3, 2, 1.0}),
        ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}),
    ],
)
def test_equal_numbers_of_different_types_share_a_key(a, b):
    assert normalise(a) == normalise(b) is not None


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (True, 1),
        (False, 0),
        ("3", 3),
        ([1], (1,)),
        ({1}, frozenset({1})),
        ([True], [1]),
        ("a", b"a"),
        (1, 1 + 0j),
        ("None", [None]),
        ("inf", math.inf),
        (math.inf, -math.inf),
        ((), []),
    ],
)
def test_different_types_keep_different_keys(a, b):
    assert normalise(a) != normalise(b)
    assert cluster([normalise(a), normalise(b)])[0] != cluster([normalise(a), normalise(b)])[1]


@pytest.mark.parametrize("value", [None, math.nan, [1, math.nan], {"a": {math.nan}}, object()])
def test_what_equals_nothing_abstains(value):
    assert normalise(value) is None


def test_endless_nesting_abstains_instead_of_overflowing():
    value: list = []
    value.append(value)
    assert normalise(value) is None


def test_an_integer_of_a_million_digits_gets_a_short_key():
    key = normalise(10**1_000_000)
    assert key == "1e1000000"
    assert normalise(Decimal("1e999999999")) == "1e999999999"


@given(values)
def test_every_key_can_be_stored_and_clusters_with_itself(value):
    key = normalise(value)
    if key is not None:
        key.encode("utf-8")
        assert cluster([key, key]) == [key, key]


finite = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.fractions())


@given(finite)
def test_a_number_within_the_tolerance_joins_its_neighbour(number):
    near = Fraction(number) * (1 + Fraction(1, 10**10))
    assert len(set(cluster([normalise(number), normalise(near)]))) == 1


@given(finite)
def test_a_number_beyond_the_tolerance_stays_apart(number):
    assume(number == 0 or abs(number) > 1e-300)  # below, floats are further apart than that
    far = Fraction(number) * (1 + Fraction(1, 10**7)) + (1 if number == 0 else 0)
    assert len(set(cluster([normalise(number), normalise(far)]))) == 2


@given(st.lists(values, max_size=8), st.randoms())
def test_clusters_do_not_depend_on_the_order(items, rng):
    keys = [normalise(item) for item in items]
    named = dict(zip(keys, cluster(keys)))
    shuffled = list(keys)
    rng.shuffle(shuffled)
    assert cluster(shuffled) == [named[key] for key in shuffled]


def test_a_chain_of_close_numbers_is_one_cluster_from_any_end():
    chain = [repr(1 + i * 8e-10) for i in range(5)]
    for seed in range(10):
        random.Random(seed).shuffle(chain)
        assert set(cluster(chain)) == {"1.0"}


def test_numbers_inside_containers_are_compared_with_tolerance_and_text_is_not():
    assert len(set(cluster(["[0.3, 'x1']", "[0.30000000000000004, 'x1']"]))) == 1
    assert len(set(cluster(["['1']", "['1.0000000000001']"]))) == 2
    assert len(set(cluster(["{9.9999999999, 50}", "{10, 50}"]))) == 1


def test_rounding_does_not_reorder_a_set():
    a, b = normalise({9.9999999999, 50}), normalise({10, 50})
    assert len(set(cluster([a, b]))) == 1


def test_zero_is_close_to_zero_alone():
    assert len(set(cluster(["0", "1e-300"]))) == 2


def test_infinities_stay_apart_from_large_numbers_and_each_other():
    assert len(set(cluster(["inf", "-inf", "1e308", "1e400"]))) == 4


_NEAR = ["0", "1", "0.3", "0.30000000000000004", "3", "2.9999999999999996", "1e22"]
_EDGES = ["1e300", "1e400", "1e-320", "inf", "-inf", "True", "'a'", "'a1'"]
_LISTS = ["[1, 0.3]", "[1, 0.30000000000000004]"]
NUMBERS = st.sampled_from([*_NEAR, *_EDGES, *_LISTS])


@given(st.lists(NUMBERS, max_size=9, unique=True), st.sampled_from([0.0, 1e-9, 1e-3]))
def test_a_quick_look_never_misses_keys_that_a_cluster_joins(keys, tolerance):
    told = may_join(keys, np.zeros(len(keys), np.int64), tolerance)
    names = cluster(keys, tolerance)
    for key, name, may in zip(keys, names, told.tolist(), strict=True):
        assert may or (name == key and names.count(name) == 1)


def test_keys_of_different_groups_are_not_looked_at_together():
    keys, group = ["0.3", "0.30000000000000004"], np.array([0, 1])
    assert may_join(keys, group).tolist() == [False, False]
