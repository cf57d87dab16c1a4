"""Files and arrays of other tools: read, or refused in one line that names the cause; each beside its right twin."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sgdvi import InputError, compare
from sgdvi.diagnostics import Status
from sgdvi.draws import make_tree
from sgdvi.inputs import as_run, read_file

SHAPE = (4, 500)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def padded(rng: np.random.Generator, lengths: tuple[int, ...], size: int = 2) -> dict[str, np.ndarray]:
    draws = {"mu": rng.normal(size=SHAPE), "b": rng.normal(size=(*SHAPE, size))}
    for chain, length in enumerate(lengths):
        for values in draws.values():
            values[chain, length:] = np.nan
    return draws


def dataset(rng: np.random.Generator, **sizes: int) -> xr.Dataset:
    return xr.Dataset({"mu": (tuple(sizes), rng.normal(size=tuple(sizes.values())))})


# --- ragged and padded chains -----------------------------------------------------------------------------------


def test_ragged_chains_are_refused_by_their_lengths(rng: np.random.Generator) -> None:
    ragged = {"mu": [rng.normal(size=length) for length in (500, 480, 500, 500)]}
    with pytest.raises(InputError, match=r"chains of 480 and 500 draws. Cut all chains to 480 draws") as caught:
        as_run("Stan", ragged, None)
    assert "\n" not in str(caught.value)
    assert as_run("Stan", {"mu": [chain[:480] for chain in ragged["mu"]]}, None)["posterior"].sizes["draw"] == 480


@pytest.mark.parametrize("size", [1, 20, pytest.param(200, marks=pytest.mark.slow)])
def test_chains_padded_with_nan_are_cut_and_pass(rng: np.random.Generator, size: int) -> None:
    nuts, stan = padded(rng, (500,) * 4, size), padded(rng, (500, 480, 500, 470), size)
    with pytest.warns(UserWarning, match=r"chains of 470 to 500 draws, padded with nan: all are cut to 470"):
        result = compare({"Stan": stan, "NUTS": nuts}, functionals={"mu": lambda draws: draws.mu})
    assert result.verdict.status in (Status.PASS, Status.WARN), result.verdict.sentence
    assert result.runs["Stan"]["posterior"].sizes["draw"] == 470
    assert not [finding for finding in result.findings if finding.status is Status.FAIL]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare({"Stan": padded(rng, (500,) * 4, size), "NUTS": nuts}, functionals={"mu": lambda draws: draws.mu})


def test_chains_that_are_mostly_padding_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=r"chains of 50 to 500 draws, padded with nan. Leave out the short chains"):
        as_run("Stan", padded(rng, (500, 50, 500, 500)), None)


def test_nan_that_is_no_padding_stays(rng: np.random.Generator) -> None:
    diverged = padded(rng, (500, 480, 500, 500))
    assert as_run("SGD", diverged, None)["posterior"].sizes["draw"] == 500  # of SGD, nan is divergence
    some = {"mu": rng.normal(size=SHAPE), "b": padded(rng, (500, 480, 500, 500))["b"]}  # of one site alone
    inside = {"mu": rng.normal(size=SHAPE)}
    inside["mu"][1, 100] = np.nan
    for draws in (some, inside):
        tree = as_run("Stan", draws, None)
        assert tree["posterior"].sizes["draw"] == 500
        finite = {f.run: f for f in compare({"Stan": tree, "NUTS": tree}).findings if f.check == "draws.finite"}
        assert finite["Stan"].status is Status.FAIL


# --- places in files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["scipy", "h5netcdf"])
def test_draws_in_the_root_are_read_from_either_netcdf(rng: np.random.Generator, tmp_path: Path, engine: str) -> None:
    data = dataset(rng, chain=4, draw=500)
    data.to_netcdf(tmp_path / "root.nc", engine=engine)
    read = read_file(tmp_path / "root.nc")
    np.testing.assert_array_equal(read["posterior"]["mu"].values, data["mu"].values)
    result = compare({"R": tmp_path / "root.nc", "NUTS": {"mu": rng.normal(size=SHAPE)}})
    assert result.verdict.status in (Status.PASS, Status.WARN), result.verdict.sentence


@pytest.mark.parametrize("engine", ["scipy", "h5netcdf"])
def test_one_chain_without_a_dimension_is_one_chain(rng: np.random.Generator, tmp_path: Path, engine: str) -> None:
    data = dataset(rng, draw=500).assign(x=("row", np.arange(3.0)))
    data.to_netcdf(tmp_path / "one.nc", engine=engine)
    tree = as_run("R", tmp_path / "one.nc", None)
    assert tree["posterior"]["mu"].dims == ("chain", "draw")
    assert tree["posterior"]["x"].dims == ("row",)
    rhat = next(
        f
        for f in compare({"R": tree, "NUTS": {"mu": rng.normal(size=SHAPE)}}).findings
        if (f.run, f.check) == ("R", "mixing.rhat")
    )
    assert rhat.status is Status.UNKNOWN
    assert "One chain only" in rhat.meaning


def test_a_root_without_draws_and_a_cut_classic_file_are_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    dataset(rng, row=500).to_netcdf(tmp_path / "rows.nc", engine="scipy")
    with pytest.raises(InputError, match="must have a group 'posterior'"):
        read_file(tmp_path / "rows.nc")
    whole = tmp_path / "whole.nc"
    dataset(rng, chain=4, draw=500).to_netcdf(whole, engine="scipy")
    (tmp_path / "cut.nc").write_bytes(whole.read_bytes()[:1000])
    with pytest.raises(InputError, match="must be a NetCDF file or a Zarr store") as caught:
        read_file(tmp_path / "cut.nc")
    assert "\n" not in str(caught.value)


# --- shapes that differ -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mine", "other"), [((3,), (4,)), ((4,), (3,)), ((2, 3), (3, 2)), ((3,), (3, 1))])
def test_shapes_that_differ_between_runs_are_refused(
    rng: np.random.Generator, mine: tuple[int, ...], other: tuple[int, ...]
) -> None:
    runs = {"SGD": {"b": rng.normal(size=(*SHAPE, *mine))}, "NUTS": {"b": rng.normal(size=(*SHAPE, *other))}}
    with pytest.raises(InputError, match=r"'b' must have the same shape in all runs") as caught:
        compare(runs)
    assert str(mine) in str(caught.value)
    assert str(other) in str(caught.value)
    asked = compare(runs, functionals={"first": lambda draws: draws.b.stack(z=draws.b.dims[2:]).isel(z=0)})
    assert asked.verdict.status in (Status.PASS, Status.WARN), asked.verdict.sentence


def test_dimensions_of_other_names_are_the_same_by_their_place(rng: np.random.Generator) -> None:
    trees = {
        name: make_tree({"b": rng.normal(size=(*SHAPE, 3))}, kind=name.lower(), dims={"b": [dim]})
        for name, dim in (("SGD", "feature"), ("NUTS", "b_dim_0"))
    }
    result = compare(trees)
    assert list(result.functionals) == ["b[0]", "b[1]", "b[2]"]
    assert result.verdict.status in (Status.PASS, Status.WARN), result.verdict.sentence


# --- advice -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trap", ["nan", "all nan", "point"])
def test_learning_rates_are_no_advice_for_files_of_other_tools(rng: np.random.Generator, trap: str) -> None:
    def advice(name: str) -> str:
        draws = rng.normal(size=SHAPE)
        draws[{"nan": (1, 7), "all nan": (slice(None), 7), "point": ()}[trap]] = np.nan if "nan" in trap else 0.3
        result = compare({name: {"mu": draws}, "NUTS": {"mu": rng.normal(size=SHAPE)}})
        texts = [finding.advice for finding in result.findings if finding.run == name]
        return " ".join([*texts, *result.verdict.changes, result.verdict.sentence])

    assert "learning rate" in advice("SGD")
    assert "learning rate" not in advice("Stan")
