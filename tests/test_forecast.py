"""The forecast: against closed forms and against SGD itself; scaling advice; doubts; what it prints."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from click.testing import CliRunner
from raw_regression import N, X, Y, problem, regression

import sgdvi
from sgdvi.cli import cli

RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def raw() -> sgdvi.Forecast:
    return sgdvi.forecast(problem())


def test_a_regression_in_raw_units(raw: sgdvi.Forecast) -> None:
    assert raw.reliable
    assert raw.condition > 1e5
    assert raw.slowest[0] == "beta[0]"
    assert not raw["plain"].runs
    names, condition = raw.scaling
    assert names == ("x", "y")
    assert condition < 3
    assert raw["plain"].largest_w1 > 0.5
    assert raw["plain"].usable == ()
    for name in ("mandt", "completed"):
        assert raw[name].largest_w1 < 0.03
        assert raw[name].usable == ("slope", "sigma")
        assert raw[name].steps < 20_000
    with pytest.raises(sgdvi.InputError, match="must have this flavour: plain"):
        raw["adam"]


def test_a_calendar_year_is_told_to_be_centred_and_an_index_is_none() -> None:
    year, group = RNG.integers(1960, 2021, N), RNG.integers(0, 5, N) + 4
    y = 14.0 + 0.02 * (year - 1990) + 0.3 * RNG.normal(size=N)

    def trend(year: Any, group: Any, y: Any = None) -> None:
        a, b = numpyro.sample("a", dist.Normal(0, 100)), numpyro.sample("b", dist.Normal(0, 1))
        s = numpyro.sample("s", dist.HalfNormal(5))
        with numpyro.plate("data", len(year)):
            numpyro.sample("y", dist.Normal(a + jnp.zeros(9)[group] + b * year, s), obs=y)

    foreseen = sgdvi.forecast(sgdvi.Problem("trend", trend, (year, group, y), {"b": lambda ds: ds.b}))
    assert foreseen.scaling[0][0] == "year"
    assert "group" not in foreseen.scaling[0]
    assert foreseen.condition > 1e9
    assert foreseen.scaling[1] < 1e6
    assert "centre and standardise year" in str(foreseen)


def test_the_posterior_of_the_slope_is_that_of_regression(raw: sgdvi.Forecast) -> None:
    slope, intercept = np.polyfit(X, Y, 1)
    residual = Y - intercept - slope * X
    sd = np.sqrt(residual @ residual / N / ((X - X.mean()) ** 2).sum())
    assert raw.posterior["slope"]["mean"] == pytest.approx(slope, abs=0.02 * sd)
    assert raw.posterior["slope"]["sd"] == pytest.approx(sd, rel=0.02)
    # the mean of sigma lies above its mode, by 3/(4 N) of it and more: the shift has its sign
    assert raw.posterior["sigma"]["mean"] > residual.std()


@pytest.mark.slow
def test_what_is_foreseen_of_plain_sgd_is_what_it_does() -> None:
    x, y = (X - X.mean()) / X.std(), (Y - Y.mean()) / Y.std()
    standard = problem(x, y)
    foreseen = sgdvi.forecast(standard)
    plain = foreseen["plain"]
    assert plain.runs
    assert foreseen.scaling[0] == ()
    tree = sgdvi.sample(
        sgdvi.SGD(regression, learning_rate=plain.learning_rate, batch_size=plain.batch_size), (x, y),
        key=jax.random.key(0), num_steps=60_000, num_chains=8, thinning=20, num_warmup=2_000, progress=False,
    )  # fmt: skip
    for name, fn in standard.functionals.items():
        sd = float(fn(tree["posterior"].to_dataset()).std())
        assert sd / foreseen.posterior[name]["sd"] == pytest.approx(plain.sd_ratio[name], rel=0.05)


def test_a_hierarchy_whose_mode_is_not_where_the_mass_is() -> None:
    effects, errors = jnp.array([28.0, 8, -3, 7, -1, 1, 18, 12]), jnp.array([15.0, 10, 16, 11, 9, 11, 10, 18])

    def schools(school: Any, y: Any) -> None:
        mu, tau = numpyro.sample("mu", dist.Normal(0, 5)), numpyro.sample("tau", dist.HalfCauchy(5))
        raw = numpyro.sample("raw", dist.Normal(0, 1).expand([8]).to_event(1))
        with numpyro.plate("data", len(school)):
            numpyro.sample("y", dist.Normal(mu + tau * raw[school], errors[school]), obs=y)

    foreseen = sgdvi.forecast(problem(np.arange(8), effects, schools, tau=lambda ds: ds.tau))
    assert foreseen.mode.exists
    assert not foreseen.reliable
    assert any("not where the mass is: tau" in doubt for doubt in foreseen.doubts)
    assert any("10 parameters on 8 rows" in doubt for doubt in foreseen.doubts)


@pytest.mark.slow
def test_no_mode_is_said_and_nothing_else() -> None:
    def centred(group: Any, y: Any) -> None:
        tau = numpyro.sample("tau", dist.HalfCauchy(5))
        theta = numpyro.sample("theta", dist.Normal(0, tau).expand([4]).to_event(1))
        with numpyro.plate("data", len(y)):
            numpyro.sample("y", dist.Normal(theta[group], 10.0), obs=y)

    foreseen = sgdvi.forecast(problem(np.arange(20) % 4, RNG.normal(size=20), centred, tau=lambda ds: ds.tau))
    assert not foreseen.reliable
    assert foreseen.flavours == ()
    assert "no joint mode" in str(foreseen)
    assert foreseen.to_dict()["mode"]["exists"] is False
    with pytest.raises(sgdvi.InputError, match="must have a mode to be drawn"):
        foreseen.plot()


def test_text_json_and_figure(raw: sgdvi.Forecast, tmp_path: Path) -> None:
    lines = str(raw).splitlines()
    assert len(lines) <= 30
    assert "centre and standardise x and y" in str(raw)
    assert "plain SGD needs" in str(raw)
    record = json.loads(raw.to_json(tmp_path / "forecast.json").read_text())
    assert record["reliable"] is True
    assert record["flavours"][4]["usable"] == ["slope", "sigma"]
    axes = raw.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["slope", "sigma"]
    assert len(axes.get_legend().get_texts()) == 6


def test_a_second_call_compiles_nothing(raw: sgdvi.Forecast) -> None:
    shifted = sgdvi.forecast(problem(X, Y + 10.0))
    assert shifted.posterior["slope"]["mean"] == pytest.approx(raw.posterior["slope"]["mean"], rel=1e-6)
    assert shifted["completed"].largest_w1 == pytest.approx(raw["completed"].largest_w1, abs=0.01)


def test_an_orbit_of_a_symmetry_is_no_gaussian() -> None:
    foreseen = sgdvi.forecast(sgdvi.zoo.load("diabetes", depth=1))
    assert any("no Gaussian" in doubt for doubt in foreseen.doubts)
    assert all(np.isfinite(each.largest_w1) for each in foreseen.flavours)


def test_losses_have_no_forecast() -> None:
    loss = sgdvi.Loss(lambda params, y: (y - params["m"]) ** 2, {"m": 0.0})
    with pytest.raises(sgdvi.InputError, match="must have a posterior"):
        sgdvi.forecast(sgdvi.Problem(name="loss", model=loss, data=Y, functionals={"m": lambda ds: ds.m}))


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["forecast", "diabetes", "--json", "--out", str(tmp_path / "laws.png")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "laws.png").exists()
    assert '"flavours"' in result.output
