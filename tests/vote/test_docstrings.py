import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["answers", "estimators", "intervals"])
def test_the_worked_examples_in_the_docstrings_are_true(name):
    module = importlib.import_module(f"pipeline.vote.{name}")
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0 and outcome.failed == 0
