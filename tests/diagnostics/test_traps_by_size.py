"""Traps at 1, 20 and 200 parameters, each beside its twin: the same draws without what is wrong."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from check_cases import judge

from sgdvi.diagnostics import Status

ASKED = {"functionals": {"p": lambda draws: draws.p}}
Runs = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


class Trap(NamedTuple):
    """Draws of a run and of its reference, wrong or not, and what is said of them where they are wrong."""

    draws: Callable[[np.random.Generator, int, bool], Runs]
    status: Status
    words: str
    options: Mapping[str, Any] = {}


def shape_of(size: int) -> tuple[int, int]:
    """Return chains and draws: among many functionals fewer draws are too few to tell."""
    return 4, 200 if size <= 2 else 500


def normal(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.normal(size=(*shape_of(size), size))


# --- dependence -------------------------------------------------------------------------------------------------


def pair(rng: np.random.Generator, size: int, rho: float) -> dict[str, np.ndarray]:
    b = normal(rng, max(size, 2))
    b[..., 1] = rho * b[..., 0] + np.sqrt(1 - rho**2) * b[..., 1]
    return {"b": b}


def one_pair(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    return pair(rng, size, 0.95), pair(rng, size, 0.0 if wrong else 0.95)


def another_sign(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    return pair(rng, size, 0.6), pair(rng, size, -0.6 if wrong else 0.6)


def common_factor(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    def draws(share: float) -> dict[str, np.ndarray]:
        return {"b": np.sqrt(share) * normal(rng, size)[..., :1] + np.sqrt(1 - share) * normal(rng, max(size, 2))}

    return draws(0.5), draws(0.0 if wrong else 0.5)


# --- constants and counts: the last entry is wrong ----------------------------------------------------------------


def last(size: int, usual: float, other: float, wrong: bool) -> np.ndarray:
    return np.where(wrong & (np.arange(size) == size - 1), other, usual)


def constants(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    def draws(width: np.ndarray) -> dict[str, np.ndarray]:
        return {"t": rng.normal(size=shape_of(size)), "s": 2 + width * normal(rng, size)}

    return draws(np.zeros(size)), draws(last(size, 0.0, 1e-3, wrong))


def spreads(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    nuts, run = constants(rng, size, wrong)
    return run, nuts


def other_constants(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    def draws(value: np.ndarray) -> dict[str, np.ndarray]:
        return {"t": rng.normal(size=shape_of(size)), "s": np.broadcast_to(value, (*shape_of(size), size)).copy()}

    return draws(np.ones(size)), draws(last(size, 1.0, 0.0, wrong))


def counts(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    rates = last(size, 2.0, 4.0, wrong)
    return {"k": rng.poisson(rates, (*shape_of(size), size))}, {"k": rng.poisson(2.0, (*shape_of(size), size))}


def indicators(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    shares = last(size, 0.3, 0.6, wrong)
    return {"z": rng.binomial(1, shares, (*shape_of(size), size))}, {"z": rng.binomial(1, 0.3, (*shape_of(size), size))}


# --- what nobody asked about: what is wrong is wrong of the functional asked for, else of the others alone -----------


def dead_biases(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    dead, p = np.full((*shape_of(size), size), 0.7), rng.normal(size=shape_of(size))
    return {"p": np.full(shape_of(size), 0.7) if wrong else p, "bias": dead}, {
        "p": rng.normal(size=shape_of(size)),
        "bias": dead + p[0, 0],
    }


def lost_sites(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    nuts = {"p": rng.normal(size=shape_of(size)), "unused": np.full((*shape_of(size), size), np.nan)}
    if wrong:
        nuts["p"][2:, 7] = np.nan
    return {"p": rng.normal(size=shape_of(size))}, nuts


def another_law(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    runs = [{"p": rng.normal(size=shape_of(size)), "w": normal(rng, size)} for _ in range(2)]
    runs[0]["p" if wrong else "w"] *= 3
    return runs[0], runs[1]


# --- copies of chains -------------------------------------------------------------------------------------------


def copies(shift: int) -> Callable[[np.random.Generator, int, bool], Runs]:
    def draws(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
        b = normal(rng, size)
        copied = np.stack([np.roll(b[0], k * shift, axis=0) for k in range(4)])
        return {"b": copied if wrong else b}, {"b": normal(rng, size)}

    return draws


def copied_reference(rng: np.random.Generator, size: int, wrong: bool) -> Runs:
    nuts, run = copies(0)(rng, size, wrong)
    return run, nuts


TRAPS = {
    "one pair": Trap(one_pair, Status.FAIL, "rank correlation of b[0] and b[1]"),
    "another sign": Trap(another_sign, Status.FAIL, "rank correlation of b[0] and b[1]"),
    "common factor": Trap(common_factor, Status.FAIL, "rank correlation of b["),
    "a constant against a spread": Trap(constants, Status.FAIL, "no sample"),
    "a spread against a constant": Trap(spreads, Status.FAIL, "on s["),
    "another constant": Trap(other_constants, Status.FAIL, "All draws of s["),
    "counts": Trap(counts, Status.FAIL, "not the posterior"),
    "indicators": Trap(indicators, Status.FAIL, "not the posterior"),
    "dead biases": Trap(dead_biases, Status.FAIL, "no sample", ASKED),
    "sites of nan": Trap(lost_sites, Status.UNKNOWN, "cannot be relied on", ASKED),
    "another law": Trap(another_law, Status.FAIL, "on p, SGD is not the posterior", ASKED),
    "copies of a chain": Trap(copies(0), Status.UNKNOWN, "copies of each other"),
    "shifted copies of a chain": Trap(copies(7), Status.UNKNOWN, "copies of each other"),
    "copies in the reference": Trap(copied_reference, Status.UNKNOWN, "cannot be relied on"),
}


@pytest.mark.parametrize("size", [1, *(pytest.param(size, marks=pytest.mark.slow) for size in (20, 200))])
@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_beside_its_twin(name: str, size: int) -> None:
    trap = TRAPS[name]
    wrong, right = (
        judge(*trap.draws(np.random.default_rng(5), size, each), **trap.options).verdict for each in (True, False)
    )
    assert wrong.status is trap.status, wrong.sentence
    assert trap.words in wrong.sentence
    # what nobody asked about may be a warning
    assert right.status is Status.PASS or trap.options, right.sentence
    assert right.sentence.startswith("Yes"), right.sentence
