"""Runs of other tools: every form that compare() takes gives the same draws, and anything else one clear message."""

import json
import pickle
from pathlib import Path
from typing import Any

import arviz as az
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
import xarray as xr
from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal
from numpyro.optim import optax_to_numpyro

import sgdvi
from sgdvi._internal.check import InputError
from sgdvi.diagnostics import Status
from sgdvi.draws import from_samples, make_tree, save
from sgdvi.inputs import as_run, from_svi, read_file

Y = np.random.default_rng(0).normal(0.4, 1.0, 50)


def model(y=None):
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", 50):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


@pytest.fixture(scope="module")
def mcmc() -> MCMC:
    run = MCMC(
        NUTS(model), num_warmup=200, num_samples=400, num_chains=2, chain_method="vectorized", progress_bar=False
    )
    run.run(jax.random.key(0), Y)
    return run


@pytest.fixture(scope="module")
def fitted() -> tuple:
    svi = SVI(model, AutoNormal(model), optax_to_numpyro(optax.adam(0.02)), Trace_ELBO())
    return svi, svi.run(jax.random.key(1), 1500, Y, progress_bar=False)


def test_everything_at_once(mcmc, fitted, tmp_path, key):
    draws = np.asarray(mcmc.get_samples(group_by_chain=True)["mean"])
    tree = az.from_numpyro(mcmc)
    tree.to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    tree.to_zarr(tmp_path / "other.zarr", consolidated=False)
    result = sgdvi.compare(
        {
            "MCMC": mcmc,
            "VI": fitted,
            "arrays": {"mean": draws},
            "file": tmp_path / "other.nc",
            "store": str(tmp_path / "other.zarr"),
            "ArviZ": tree,
            "law": dist.Normal(50 / 51 * Y.mean(), (1 / 51) ** 0.5),
            "guide in ArviZ": az.from_dict({"posterior": {"mean": draws.reshape(-1)}}, sample_dims=["sample"]),
        },
        reference="law",
        functionals={"mean": lambda ds: ds["mean"]},
        key=key,
    )
    assert result.summaries["MCMC"]["mean"]["mean"] == pytest.approx(draws.mean(dtype=np.float64), rel=1e-6)
    for name in ("arrays", "file", "store", "ArviZ"):
        assert result.summaries[name] == result.summaries["MCMC"], name
    checks = {(f.run, f.check): f.status for f in result.findings}
    assert checks["MCMC", "distance.ks"] is Status.PASS
    assert checks["VI", "mixing.rhat"] is checks["guide in ArviZ", "mixing.rhat"] is Status.NOT_APPLICABLE
    assert checks["file", "hmc.divergences"] is checks["MCMC", "hmc.divergences"] is Status.PASS


def test_draws_of_a_guide_that_is_a_function(key):
    def guide(y=None):
        place = numpyro.param("place", 0.3)
        numpyro.sample("mean", dist.Normal(place, 0.1))

    svi = SVI(model, guide, optax_to_numpyro(optax.adam(0.01)), Trace_ELBO())
    result = svi.run(jax.random.key(0), 5, Y, progress_bar=False)
    tree = from_svi(svi, result, Y, key=key, num_draws=500)
    assert tree["posterior"]["mean"].shape == (1, 500)
    assert tree["posterior"].attrs["independent"] == 1
    assert float(tree["posterior"]["mean"].std()) == pytest.approx(0.1, rel=0.15)
    assert as_run("VI", (svi, result), key)["posterior"]["mean"].shape == (1, 4000)


def test_a_guide_that_still_moves_is_not_judged_yet(mcmc, fitted):
    svi = SVI(model, AutoNormal(model), optax_to_numpyro(optax.adam(0.002)), Trace_ELBO(num_particles=4))
    short = svi, svi.run(jax.random.key(1), 200, Y, progress_bar=False)
    for fit, converged in ((short, False), (fitted, True)):
        result = sgdvi.compare({"VI": fit, "NUTS": mcmc})
        finding = next(f for f in result.findings if (f.check, f.run) == ("fit.convergence", "VI"))
        assert finding.status is (Status.PASS if converged else Status.UNKNOWN), finding.meaning
        assert converged or "still rises" in result.verdict.sentence
        assert converged or "with 2,000 steps" in finding.advice


def test_one_chain_as_a_vector_is_one_chain():
    rng = np.random.default_rng(0)
    result = sgdvi.compare({"SGD": {"u": rng.normal(size=2000)}, "other": {"u": rng.normal(size=(4, 500))}}, "other")
    assert result.summaries["SGD"]["u"]["n"] == 2000
    assert result.verdict.status is Status.WARN
    assert "One chain only" in result.verdict.sentence


def test_bad_input_is_one_clear_message(tmp_path, key, mcmc):
    (tmp_path / "text.nc").write_text("no file of draws")
    save({"a": from_samples({"u": np.zeros(9)}), "b": from_samples({"u": np.zeros(9)})}, tmp_path)
    empty = az.from_dict({"prior": {"u": np.zeros((1, 9))}})
    untried = MCMC(NUTS(model), num_warmup=1, num_samples=1, progress_bar=False)
    for run, words in (
        (np.zeros((4, 9)), "draws or be a law"),
        ({}, "at least one site"),
        ({"u": "text"}, "array of numbers"),
        ({"u": np.float64(3)}, "array of numbers"),
        (tmp_path / "missing.nc", "must exist"),
        (tmp_path / "text.nc", "NetCDF file or a Zarr store"),
        (tmp_path / "draws.nc", r"several runs \(a, b\)"),
        (empty, "group 'posterior'"),
        (untried, "must have been run"),
        ((1, 2), "draws or be a law"),
        ({"u": np.zeros((500, 3))}, "at most as many chains as draws"),
    ):
        with pytest.raises(InputError, match=words):
            as_run("run", run, key)


def test_a_file_with_one_run_is_that_run(tmp_path):
    save({"only": make_tree({"u": np.arange(12.0).reshape(2, 6)}, kind="nuts")}, tmp_path)
    assert np.array_equal(read_file(tmp_path / "draws.nc")["posterior"]["u"], np.arange(12.0).reshape(2, 6))


class Mark:
    """An object whose pickle leaves a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_pickles_in_a_store_are_never_loaded(tmp_path: Path, zarr_format: int) -> None:
    data = xr.Dataset({"u": (("chain", "draw"), np.ones((1, 4)))})
    store, loaded = tmp_path / "a.zarr", tmp_path / "loaded"
    xr.DataTree.from_dict({"posterior": data}).to_zarr(store, zarr_format=zarr_format, consolidated=False)
    array = store / "posterior" / "u"
    metadata = array / (".zarray" if zarr_format == 2 else "zarr.json")
    entry = json.loads(metadata.read_text())
    pickled: dict[str, Any] = {"compressor": {"id": "pickle", "protocol": 5}}
    if zarr_format == 3:
        pickled = {"codecs": [entry["codecs"][0], {"name": "numcodecs.pickle", "configuration": {}}]}
    metadata.write_text(json.dumps(entry | pickled))
    chunk = array / ("0.0" if zarr_format == 2 else "c/0/0")
    assert chunk.exists()
    chunk.write_bytes(pickle.dumps(Mark(loaded)))
    with pytest.raises(InputError, match="must be a NetCDF file or a Zarr store; got .*pickle"):
        read_file(store)
    assert not loaded.exists()
    pickle.loads(chunk.read_bytes())
    assert loaded.exists()
