"""What a run is good for: each answer has a run that gets it and a run that does not."""

import numpy as np
import pytest

import sgdvi
from sgdvi.diagnostics.use import PURPOSES, Answer, uses
from sgdvi.draws import make_tree

YES, NO, UNKNOWN = Answer.YES, Answer.NO, Answer.UNKNOWN


def answers(draws: np.ndarray, chains_ok: bool = True) -> list[Answer]:
    rng = np.random.default_rng(0)
    status = np.full(len(draws), "ok" if chains_ok else "overflowed")
    sgd = make_tree({"v": draws}, kind="sgd", chain_status={"status": status, "step": np.full(len(draws), -1)})
    nuts = make_tree({"v": rng.normal(size=(4, 2000))}, kind="nuts")
    record = sgdvi.compare({"SGD": sgd, "NUTS": nuts}, functionals={"v": lambda ds: ds.v})
    assert list(uses(record, "NUTS").values()) == [YES] * 4
    return list(uses(record, "SGD").values())


def normal(loc: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(1).normal(loc, scale, (4, 2000))


def stuck() -> np.ndarray:
    return normal() + np.arange(4)[:, None]


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        pytest.param(normal(), [YES, YES, YES], id="same"),
        pytest.param(normal(0.5), [NO, NO, NO], id="shifted"),
        pytest.param(normal(scale=0.3), [YES, NO, NO], id="narrow"),
        pytest.param(normal()[:, :20], [UNKNOWN, UNKNOWN, UNKNOWN], id="too few"),
        pytest.param(np.clip(normal(), -1.75, 1.75), [YES, YES, NO], id="tails"),
    ],
)
def test_each_purpose_has_its_answer(draws, expected):
    assert answers(draws) == [*expected, UNKNOWN]


def test_chains_that_disagree_are_never_good():
    assert YES not in answers(stuck())


def test_a_run_that_is_no_sample_is_good_for_nothing():
    assert answers(np.full((4, 2000), np.nan), chains_ok=False) == [NO] * len(PURPOSES)
