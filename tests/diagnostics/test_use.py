"""What any run is good for: each answer has a run that gets it and a run that does not."""

import numpy as np
import pytest

import sgdvi
from sgdvi.diagnostics import TABLE, Status
from sgdvi.diagnostics.answers import USES, uses_of
from sgdvi.draws import make_tree

PASS, FAIL, UNKNOWN = Status.PASS, Status.FAIL, Status.UNKNOWN


def answers(draws: np.ndarray) -> list[Status]:
    sgd = make_tree({"v": draws}, kind="sgd")
    nuts = make_tree({"v": np.random.default_rng(0).normal(size=(4, 2000))}, kind="nuts")
    record = sgdvi.compare({"SGD": sgd, "NUTS": nuts}, functionals={"v": lambda ds: ds.v})
    return list(uses_of("SGD", record.findings, TABLE).values())


def normal(loc: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(1).normal(loc, scale, (4, 2000))


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        pytest.param(normal(), [PASS, PASS, PASS], id="same"),
        pytest.param(normal(0.5), [FAIL, FAIL, FAIL], id="shifted"),
        pytest.param(normal(scale=0.3), [PASS, FAIL, FAIL], id="narrow"),
    ],
)
def test_each_purpose_has_its_answer(draws, expected):
    assert answers(draws) == [*expected, UNKNOWN]


def test_chains_that_disagree_are_never_good():
    assert PASS not in answers(normal() + np.arange(4)[:, None])


def test_a_run_that_is_no_sample_is_good_for_nothing():
    answered = answers(np.full((4, 2000), np.nan))
    assert len(answered) == len(USES)
    assert PASS not in answered
