"""The scaling symmetries of many architectures: no false one, no miss."""

from pathlib import Path

import jax
import numpy as np
import pytest
from architectures import CASES

from sgdvi.symmetry import find_symmetries

# each shares its mechanism with one that is searched in every run
VARIANTS = {
    "ReLU with cross-entropy", "PReLU", "maxout", "GELU without bias", "softplus", "ELU", "SiLU", "gated, ReLU",
    "deep ReLU without bias, coarse groups", "deep ReLU ending in tanh", "recurrent ReLU", "residual block",
    "tied layers", "convolution with GELU", "convolution with max-pooling", "layer normalisation with epsilon",
    "query and key, with a bias that is no parameter", "query and key, normalised", "two heads",
    "logistic regression", "ReLU without bias", "ReLU with a bias of the output", "leaky ReLU", "absolute value",
    "tanh without bias", "GELU", "linear", "low-rank product", "diagonal, depth 1", "odd power",
    "batch normalisation and tanh", "layer normalisation and tanh, with bias",
    "query and key, with a bias of the query", "residual stream",
}  # fmt: skip
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in VARIANTS else name for name in CASES]


@pytest.mark.parametrize("name", NAMES)
def test_every_symmetry_is_found_and_no_other(name: str, key: jax.Array) -> None:
    case = CASES[name]
    found = find_symmetries(case.loss, case.params(), case.data(), key=key, **case.options)
    kinds = [symmetry.kind for symmetry in found]
    assert kinds.count("rescaling") == case.rescalings, str(found)
    assert kinds.count("scale invariance") == case.scales, str(found)
    assert sorted(family.size for family in found.families) == sorted(case.families)
    assert all(symmetry.status == "exact" for symmetry in found)
    if case.example is not None:
        assert case.example in [dict(symmetry.exponents) for symmetry in found], str(found)
    # the decision is not close: rounding on one side, the model on the other
    assert found.largest_dropped < 1e-11
    assert found.smallest_kept > 1e-6
    # finite transformations, which the search applies at its own points, once more at these parameters
    params = case.params()
    with jax.enable_x64(True):
        for symmetry in found:
            loss = symmetry.loss
            before = np.asarray(loss.values(loss.leaves, loss.data))
            after = np.asarray(loss.values(loss.flatten(symmetry.transform(params, 1.7)), loss.data))
            np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-9 * np.abs(before).mean())


def test_the_guide_lists_what_is_tested_here() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "symmetry.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in guide.split("| families |")[1].splitlines() if " | " in line]
    expected = {
        name: [
            str(case.rescalings or "–"),
            str(case.scales or "–"),
            ", ".join(f"GL({k})" for k in sorted(case.families)) or "–",
        ]
        for name, case in CASES.items()
    }
    assert {name: numbers for name, *numbers in rows} == expected


def test_the_table_is_large_enough() -> None:
    assert set(CASES) > VARIANTS
    assert len(CASES) >= 50
    assert len(set(CASES) - VARIANTS) >= 15
