"""Trees of draws: their shape is checked, NetCDF can hold them, moments are taken in float64."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.infer import MCMC, NUTS

import sgdvi
from sgdvi.draws import (
    NUTS_FIELDS,
    config,
    from_numpyro,
    from_samples,
    functional,
    in_chains,
    is_tree,
    load,
    make_tree,
    save,
)

RNG = np.random.default_rng(3)
U, W = RNG.normal(size=(2, 4, 50))


def small() -> xr.DataTree:
    return make_tree(
        {"u": U, "weights": RNG.normal(size=(4, 50, 3))},
        kind="sgd",
        sample_stats={"loss": W},
        dims={"weights": ["unit"]},
        attrs={"config": {"learning_rate": 0.1, "optimizer": None, "replace": True}, "note": None, "exact": True},
        chain_status={"status": ["ok", "ok", "overflowed", "ok"], "step": [-1, -1, 7, -1]},
        observed_data={"y": np.arange(3.0)},
        start=["a", "b", "a", "b"],
    )


def test_groups_dimensions_and_attributes() -> None:
    tree = small()
    assert set(tree.children) == {"posterior", "sample_stats", "chain_status", "observed_data"}
    posterior = tree["posterior"]
    assert posterior["u"].dims == ("chain", "draw")
    assert posterior["weights"].dims == ("chain", "draw", "unit")
    assert list(posterior["start"].values) == ["a", "b", "a", "b"]
    assert posterior.attrs["inference_library"] == "sgdvi"
    assert posterior.attrs["kind"] == "sgd"
    assert posterior.attrs["exact"] == 1
    assert "note" not in posterior.attrs
    assert config(tree) == {"learning_rate": 0.1, "optimizer": None, "replace": True}
    assert config(make_tree({"u": U}, kind="vi")) == {}
    assert make_tree({"m": np.zeros((2, 9, 3, 4))}, kind="x")["posterior"]["m"].dims[2:] == ("m_dim_0", "m_dim_1")


@pytest.mark.parametrize(
    ("posterior", "options", "text"),
    [
        ({}, {}, "at least one site"),
        ({"u": np.zeros(500)}, {}, r"'u' must have axes \(chain, draw, ...\)"),
        ({"u": np.zeros((500, 3))}, {}, "at most as many chains as draws"),
        ({"u": np.zeros((500, 3, 2))}, {}, "at most as many chains as draws"),
        ({"u": U, "w": W[:, :-1]}, {}, r"'w' must have axes \(chain, draw, ...\) = \(4, 50\)"),
        ({"u": U}, {"sample_stats": {"loss": np.zeros((50, 4))}}, "'loss' must have axes"),
        ({"u": U}, {"dims": {"u": ["unit"]}}, "dims of 'u' must name its 0 axes"),
        ({"u": U}, {"start": ["a"]}, "start must name the start of each chain"),
    ],
)
def test_arrays_of_the_wrong_shape(posterior: Any, options: Any, text: str) -> None:
    with pytest.raises(sgdvi.InputError, match=text):
        make_tree(posterior, **({"kind": "nuts"} | options))


def test_many_short_chains_of_sgd_are_meant() -> None:
    assert make_tree({"u": np.zeros((500, 3))}, kind="sgd")["posterior"].sizes["chain"] == 500


def test_functional_is_float64_of_chain_and_draw() -> None:
    large = np.float32(1e4) + RNG.normal(size=(2, 300)).astype(np.float32)
    tree = make_tree({"u": large, "w": np.ones_like(large)}, kind="sgd")
    value = functional(tree, lambda ds: ds.u * ds.w)
    assert value.dtype == np.float64
    assert value.shape == (2, 300)
    np.testing.assert_array_equal(value, large.astype(np.float64))
    dataset = tree["posterior"].to_dataset()
    np.testing.assert_array_equal(functional(dataset, lambda ds: ds.u.transpose()), value)
    squared = functional(tree, lambda ds: ds.u**2)
    assert squared.mean() - value.mean() ** 2 == pytest.approx(value.var(), rel=1e-6)


def test_functional_sums_over_units_by_name() -> None:
    factors = RNG.normal(size=(2, 2, 5, 3))
    tree = make_tree({"u": factors[0], "w": factors[1]}, kind="x", dims={"u": ["unit"], "w": ["unit"]})
    value = functional(tree, lambda ds: (ds.u * ds.w).sum("unit"))
    np.testing.assert_allclose(value, (factors[0] * factors[1]).sum(-1))


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (lambda ds: ds.missing, "computable from the sites of the run; got AttributeError.*sites: u, weights"),
        (lambda ds: ds.weights, "one number per draw.*unit"),
        (lambda ds: ds.u.mean("draw"), "one number per draw"),
        (lambda ds: 3.0, "one number per draw.*float"),
    ],
)
def test_bad_functionals(fn: Any, text: str) -> None:
    with pytest.raises(sgdvi.InputError, match=text):
        functional(small(), fn)


def test_independent_draws_are_one_chain() -> None:
    tree = from_samples({"u": U[0], "weights": np.zeros((50, 3))}, dims={"weights": ["unit"]}, family="mean-field")
    assert dict(tree["posterior"].sizes) == {"chain": 1, "draw": 50, "unit": 3}
    assert tree["posterior"].attrs["independent"] == 1
    assert tree["posterior"].attrs["kind"] == "vi"
    assert tree["posterior"].attrs["family"] == "mean-field"


def test_independent_draws_are_cut_into_chains_for_plots_of_ranks() -> None:
    one = from_samples({"u": np.arange(10.0), "b": np.zeros((10, 3))})
    two = in_chains(one, 2)
    np.testing.assert_array_equal(two["posterior"]["u"], np.arange(10.0).reshape(2, 5))
    assert two["posterior"]["b"].shape == (2, 5, 3)
    assert two["posterior"].attrs == one["posterior"].attrs
    assert in_chains(one, 4)["posterior"].sizes["draw"] == 2
    with pytest.raises(sgdvi.InputError, match="only independent draws"):
        in_chains(small())
    with pytest.raises(sgdvi.InputError, match="at least 11 draws"):
        in_chains(one, 11)


@pytest.mark.slow
def test_nuts_comes_with_the_statistics_that_arviz_looks_for() -> None:
    def model() -> None:
        numpyro.sample("a", dist.Normal(0, 1).expand([2]).to_event(1))

    run = MCMC(NUTS(model, max_tree_depth=2), num_warmup=20, num_samples=30, progress_bar=False)
    run.run(jax.random.key(0), extra_fields=NUTS_FIELDS)
    tree = from_numpyro(run, dims={"a": ["unit"]}, note="short")
    names = ("lp", "n_steps", "tree_depth", "reached_max_treedepth", "acceptance_rate", "energy", "diverging")
    assert set(tree["sample_stats"].data_vars) == set(names)
    stats = tree["sample_stats"]
    np.testing.assert_array_equal(stats["reached_max_treedepth"], stats["n_steps"] >= 2)
    draws = tree["posterior"]["a"].values
    np.testing.assert_allclose(stats["lp"], dist.Normal(0, 1).log_prob(draws).sum(-1), rtol=1e-4)
    assert tree["posterior"].attrs["note"] == "short"

    run.run(jax.random.key(0))
    with pytest.raises(sgdvi.InputError, match="extra_fields=sgdvi.draws.NUTS_FIELDS"):
        from_numpyro(run)


def test_save_and_load(tmp_path: Path) -> None:
    runs = {"SGD": small(), "full-rank VI": from_samples({"u": U[0]})}
    path = save(runs, tmp_path / "new" / "folder")
    assert path.name == "draws.nc"
    assert [file.name for file in path.parent.iterdir()] == ["draws.nc"]
    again = load(path.parent)
    assert list(again) == ["SGD", "full-rank VI"]
    for name, run in runs.items():
        xr.testing.assert_identical(again[name].to_dict()["/posterior"], run.to_dict()["/posterior"])
    assert list(again["SGD"]["chain_status"]["status"].values) == ["ok", "ok", "overflowed", "ok"]
    assert config(again["SGD"])["learning_rate"] == 0.1
    assert is_tree(again["SGD"])
    # the file is closed: it can be written again, and replaced
    save({"SGD": again["SGD"]}, path.parent)
    assert list(load(path.parent)) == ["SGD"]


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    save({"SGD": small()}, tmp_path)
    bad = small()
    bad["posterior"].attrs["config"] = {"a": object()}
    with pytest.raises(Exception):  # noqa: B017, PT011
        save({"SGD": bad}, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["draws.nc"]
    assert list(load(tmp_path)) == ["SGD"]


def test_folders_and_names_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(sgdvi.InputError, match="must be writable"):
        save({"SGD": small()}, tmp_path / "file")
    with pytest.raises(sgdvi.InputError, match="must not be empty or hold '/'"):
        save({"a/b": small()}, tmp_path)
    with pytest.raises(sgdvi.InputError, match=r"must hold draws.nc"):
        load(tmp_path)


def test_a_tree_of_sgd_survives_the_disk(tmp_path: Path) -> None:
    x = RNG.normal(size=20)
    model = sgdvi.LinearNetwork(x, x + RNG.normal(size=20), depth=0).model
    tree = sgdvi.sample(
        sgdvi.SGD(model, learning_rate=0.1), (x, x), key=jax.random.key(0), num_steps=9, progress=False,
        init={"near": {"u": 0.1}},
    )  # fmt: skip
    save({"SGD": tree}, tmp_path)
    again = load(tmp_path)["SGD"]
    xr.testing.assert_identical(again["posterior"].to_dataset(), tree["posterior"].to_dataset())
    assert again["posterior"].attrs == tree["posterior"].attrs
