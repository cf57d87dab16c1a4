"""The models with scaling symmetries: what is found in them, at small cost, and the data they ship."""

import jax
import numpy as np
import pytest

from sgdvi import balance, zoo
from sgdvi.models._data import columns
from sgdvi.noise_balance.source import find_source
from sgdvi.symmetry import find_symmetries

# scalings, sizes of the GL(k), charges, parameters
EXPECTED = {
    "relu": ({"width": 3}, 3, [], 3, 16),
    "matrix-factorisation": ({}, 2, [2], 3, 44),
    "attention": ({}, 2, [2], 3, 41),
    "deep-diagonal": ({}, 6, [], 6, 9),
}


# attention is searched below
SEARCHED = ["deep-diagonal", *(pytest.param(name, marks=pytest.mark.slow) for name in ("matrix-factorisation", "relu"))]


@pytest.mark.parametrize("name", SEARCHED)
def test_the_symmetries_of_the_models_are_found_through_their_priors(name: str, key: jax.Array) -> None:
    options, scalings, families, charges, parameters = EXPECTED[name]
    problem = zoo.load(name, **options)
    with jax.enable_x64(True):
        source = find_source(problem, None)
        found = find_symmetries(source.loss, None, source.data, key=key)
    assert [symmetry.kind for symmetry in found] == ["rescaling"] * scalings
    assert [family.size for family in found.families] == families
    assert scalings + sum(k * (k - 1) // 2 for k in families) == charges
    assert sum(leaf.size for leaf in found[0].loss.leaves) == parameters
    # N(0, 1) priors on all parameters: gamma = 1/(2 N)
    rows = len(problem.data[0])
    np.testing.assert_allclose([symmetry.weight_decay for symmetry in found], 1 / (2 * rows), rtol=1e-6)


@pytest.mark.slow
def test_balance_agrees_with_its_prediction_on_a_numpyro_network(key: jax.Array) -> None:
    found = balance(zoo.load("attention"), key=key, learning_rate=0.02, batch_size=16, num_steps=400, points=32)
    assert np.abs(found.drift.z).max() < 5
    _, scalings, families, charges, parameters = EXPECTED["attention"]
    assert [symmetry.kind for symmetry in found.symmetries] == ["rescaling"] * scalings
    assert [family.size for family in found.symmetries.families] == families
    assert (found.num_charges, found.num_parameters) == (charges, parameters)


def test_the_digits_are_all_the_threes_and_eights() -> None:
    table = columns("digits_3_8.csv")
    assert len(table) == 65
    assert {int(digit) for digit in table["digit"]} == {3, 8}
    assert int((table["digit"] == 3).sum()) == 183
    pixels = np.column_stack([values for name, values in table.items() if name != "digit"])
    assert (pixels.min(), pixels.max()) == (0, 16)
    # the first 3 of the file, its upper half row by row
    assert pixels[0, :16].tolist() == [0, 0, 7, 15, 13, 1, 0, 0, 0, 8, 13, 6, 15, 4, 0, 0]


def test_the_low_rank_matrix_is_what_its_code_makes() -> None:
    rng = np.random.default_rng(0)
    u, w = rng.standard_normal((12, 2)), rng.standard_normal((10, 2))
    table = columns("low_rank.csv")
    mean = (u[table["row"].astype(int)] * w[table["column"].astype(int)]).sum(1)
    assert len(mean) == 90
    assert len(set(zip(table["row"], table["column"], strict=True))) == 90
    assert (table["value"] - mean).std() == pytest.approx(0.3, abs=0.1)


def test_the_readings_of_the_attention_head_are_its_log_odds() -> None:
    import xarray as xr

    problem = zoo.load("attention")
    rng = np.random.default_rng(0)
    shapes = {"query": (8, 2), "key": (8, 2), "value": (8,), "bias": ()}
    values = {name: rng.normal(size=(2, 3, *shape)) for name, shape in shapes.items()}
    draws = xr.Dataset({name: (("chain", "draw", *problem.dims.get(name, ())), v) for name, v in values.items()})
    got = problem.functionals["log-odds of the first 8"](draws)
    assert got.dims == ("chain", "draw")
    images, is_eight = problem.data
    x = images[is_eight == 1][0]
    q, k, v, b = (values[name][1, 2] for name in shapes)
    scores = np.exp((x @ q) @ (x @ k).T)
    assert float(got[1, 2]) == pytest.approx((scores / scores.sum(1, keepdims=True) @ x @ v).mean() + b, rel=1e-5)


@pytest.mark.slow
def test_the_default_rate_is_stable_and_flat_directions_are_not_waited_for() -> None:
    from sgdvi.experiment.plan import make_plan

    plan = make_plan(zoo.load("matrix-factorisation"))
    # by the curvature at the mode alone it would be 0.48, at which all chains overflow
    assert plan.learning_rate < 0.2
    assert "short runs at more overflow" in plan.rules["learning rate"]
    assert plan.num_warmup < 100_000  # the curvature along the rotations is next to nothing
