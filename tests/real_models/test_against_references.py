"""The script that holds reports against reference draws: it must not agree where there is something to see."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from real_models.against_references import claims, disagreements, distance, main, measure, quantity

RNG = np.random.default_rng(3)
SHAPE = 4, 2000
REFERENCE = {"beta": RNG.normal([1.0, -2.0], [3.0, 0.1], (*SHAPE, 2)), "sigma": RNG.gamma(5.0, 1.0, SHAPE)}
NAMES = ["beta1", "beta2", "sigma"]


def run(shift: float = 0.0, factor: float = 1.0, site: str = "sigma") -> dict[str, np.ndarray]:
    """Draws of the reference's law, one site moved and widened about its mean, in sds."""
    draws = {"beta": RNG.normal([1.0, -2.0], [3.0, 0.1], (*SHAPE, 2)), "sigma": RNG.gamma(5.0, 1.0, SHAPE)}
    middle = draws[site].mean((0, 1))
    draws[site] = middle + factor * (draws[site] - middle) + shift * draws[site].std((0, 1))
    return draws


def record(status: str = "pass", judged: str | None = None, passing: str = "") -> dict[str, Any]:
    findings = [{"run": "SGD", "check": check, "status": status} for check in ("distance.w1", "distance.ks")]
    verdict = {"sentence": f"No.{passing}", "status": "fail", "runs": {} if judged is None else {"SGD": judged}}
    return {
        "runs": ["SGD", "NUTS"], "reference": "NUTS", "functionals": NAMES, "findings": findings, "verdict": verdict,
    }  # fmt: skip


def test_distances_are_those_of_closed_forms() -> None:
    normal = RNG.normal(size=100_000)
    near = distance(normal, RNG.normal(size=70_000))
    assert near.w1 < 0.015
    assert near.ratio == pytest.approx(1, abs=0.01)
    moved = distance(normal + 0.5, normal)
    assert moved.w1 == pytest.approx(0.5 / normal.std(), rel=1e-9)  # in sds of the reference
    assert moved.ks == pytest.approx(2 * 0.5987 - 1, abs=0.01)  # 2 Phi(1/4) - 1
    narrow = distance(0.5 * normal, normal)
    assert narrow.w1 == pytest.approx(0.5 * np.sqrt(2 / np.pi), rel=0.01)
    assert narrow.ratio == pytest.approx(0.5)
    assert distance(10 * normal + 10, 10 * normal).w1 == pytest.approx(1, rel=1e-2)


def test_quantities_are_components_of_sites() -> None:
    np.testing.assert_array_equal(quantity(REFERENCE, "beta2"), REFERENCE["beta"][..., 1].ravel())
    np.testing.assert_array_equal(quantity(REFERENCE, "sigma"), REFERENCE["sigma"].ravel())
    assert quantity(REFERENCE, "tau") is None
    assert quantity(REFERENCE, "sigma1") is None
    assert quantity(REFERENCE, "beta0") is None


@pytest.mark.parametrize(
    ("draws", "right"),
    [
        (run(), {"pass", "neither", "fail"}),
        (run(shift=0.2), {"neither", "fail"}),
        (run(shift=0.5), {"fail"}),
        (run(factor=0.8), {"neither", "fail"}),
        (run(factor=1.3), {"neither", "fail"}),
        (run(factor=0.6), {"fail"}),
        (run(factor=1.5), {"fail"}),
        (run(shift=0.5, site="beta"), {"fail"}),
        (run() | {"sigma": np.where(RNG.random(SHAPE) < 0.001, np.nan, 1.0)}, {"fail"}),
    ],
)
def test_what_a_report_may_say_of_a_run(draws: dict[str, np.ndarray], right: set[str]) -> None:
    measured = measure(NAMES, {"SGD": draws}, REFERENCE)
    assert len(measured["SGD"]) == 3
    assert {claim for claim in ("pass", "neither", "fail") if not disagreements({"SGD": claim}, measured)} == right


def test_what_is_said_of_a_run_is_read() -> None:
    assert claims(record("pass")) == {"SGD": "pass"}
    assert claims(record("warn")) == {"SGD": "neither"}
    assert claims(record("fail")) == {"SGD": "fail"}
    assert claims(record("pass", judged="fail")) == {"SGD": "fail"}
    assert claims(record("fail", judged="unknown")) == {"SGD": "fail"}
    assert claims(record("warn", judged="pass")) == {"SGD": "pass"}
    # "SGD" is part of the other name, which is the one that passes
    named = claims(record("fail", passing=" Within every limit on all functionals: completed SGD (W1 = 0.03 sd)."))
    assert named == {"SGD": "fail", "completed SGD": "pass"}
    assert disagreements(named, {"SGD": measure(NAMES, {"SGD": run(3.0)}, REFERENCE)["SGD"]}) == [
        "completed SGD: nothing was measured"
    ]
    assert disagreements({}, {})


def test_a_fit_that_has_not_converged_is_not_judged() -> None:
    def fit(distances: str, convergence: str) -> dict[str, Any]:
        report = record(distances)
        report["findings"].append({"run": "SGD", "check": "fit.convergence", "status": convergence})
        return report

    assert claims(fit("unknown", "unknown")) == {"SGD": "not converged"}
    assert claims(fit("pass", "unknown")) == {"SGD": "pass"}
    assert claims(fit("fail", "unknown")) == {"SGD": "fail"}
    assert claims(fit("unknown", "pass")) == {"SGD": "neither"}
    far = measure(NAMES, {"SGD": run(3.0)}, REFERENCE)
    assert not disagreements({"SGD": "not converged"}, far)


def test_the_script_ends_with_an_error_where_report_and_draws_disagree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def dataset(sites: dict[str, np.ndarray]) -> xr.Dataset:
        axes = ("chain", "draw", "of")
        return xr.Dataset({name: (axes[: values.ndim], values) for name, values in sites.items()})

    reference = tmp_path / "reference.nc"
    xr.DataTree.from_dict({"posterior": dataset(REFERENCE)}).to_netcdf(reference, engine="h5netcdf")
    for name, draws, status in (("right", run(), 0), ("wrong", run(0.5), 1)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "report.json").write_text(json.dumps(record("pass")))
        runs = {"SGD/posterior": dataset(draws), "NUTS/posterior": dataset(run())}
        xr.DataTree.from_dict(runs).to_netcdf(folder / "draws.nc", engine="h5netcdf")
        assert main([str(folder), str(reference)]) == status
    said = capsys.readouterr().out
    assert "SGD is said to pass, but sigma has W1 0.4" in said
    assert "0 disagreements in 1 reports" in said
    assert main([]) == 2
