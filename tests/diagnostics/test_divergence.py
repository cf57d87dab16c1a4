"""Kullback-Leibler divergences against closed forms, with infinities where they belong."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from check_cases import facts_of
from scipy import special, stats

from sgdvi.diagnostics import Status, Thresholds, divergence
from sgdvi.diagnostics.divergence import Divergences, kl_divergence, restrict
from sgdvi.laws.line import LineLaw, as_line_law


def law(frozen: object) -> LineLaw:
    return LineLaw(frozen.logpdf, frozen.ppf)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("p", "q"),
    [((0, 1), (0, 1)), ((0, 1), (5, 1)), ((0.5, 1e-3), (0.501, 2e-3)), ((1e3, 1), (1e3, 1.25)), ((-2, 1), (1, 3))],
)
def test_gaussians(p: tuple[float, float], q: tuple[float, float]) -> None:
    exact = math.log(q[1] / p[1]) + (p[1] ** 2 + (p[0] - q[0]) ** 2) / (2 * q[1] ** 2) - 0.5
    assert kl_divergence(law(stats.norm(*p)), law(stats.norm(*q))) == pytest.approx(exact, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("nu", [3.0, 2.2])
def test_power_law_against_gaussian(nu: float) -> None:
    exact = -stats.t(nu).entropy() + 0.5 * math.log(2 * math.pi) + 0.5 * nu / (nu - 2)
    assert kl_divergence(law(stats.t(nu)), law(stats.norm())) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("nu", [2.0, 1.0])
def test_no_second_moment_is_infinite(nu: float) -> None:
    assert kl_divergence(law(stats.t(nu)), law(stats.norm())) == math.inf


def test_density_that_diverges_at_zero() -> None:
    exact = special.gammaln(0.05) - special.psi(1.0) * (0.05 - 1)
    assert kl_divergence(law(stats.gamma(1.0)), law(stats.gamma(0.05))) == pytest.approx(exact, rel=1e-9)


def test_missing_sign_is_infinite_one_way() -> None:
    positive, line = law(stats.gamma(1.0)), law(stats.norm())
    assert kl_divergence(line, positive) == math.inf
    assert kl_divergence(positive, line) == pytest.approx(0.5 * math.log(2 * math.pi), rel=1e-9)
    half = restrict(line, 1, 0.5)
    assert kl_divergence(positive, half) == pytest.approx(0.5 * math.log(2 * math.pi) - math.log(2), rel=1e-9)
    assert math.isfinite(kl_divergence(half, positive))


def test_an_atom_is_infinite() -> None:
    assert kl_divergence(LineLaw(stats.norm.logpdf, stats.norm.ppf, atom=0.1), law(stats.norm())) == math.inf


def test_a_point_away_from_zero_is_infinite_but_no_collapse() -> None:
    nowhere = SimpleNamespace(log_prob=lambda v: np.full_like(v, -np.inf), icdf=np.ones_like)
    point = as_line_law(SimpleNamespace(zero_mass=0.0, point_mass=np.ones(1), **vars(nowhere)))
    assert (point.atom, point.zero) == (1, 0)
    assert not facts_of(stationary=point).collapsed
    assert kl_divergence(point, law(stats.norm())) == kl_divergence(law(stats.norm()), point) == math.inf
    assert facts_of(stationary=as_line_law(SimpleNamespace(zero_mass=1.0, point_mass=0.0, **vars(nowhere)))).collapsed


@pytest.mark.parametrize(("value", "status"), [(1e-3, Status.PASS), (0.02, Status.WARN), (0.2, Status.FAIL)])
def test_finding_names_its_direction(value: float, status: Status) -> None:
    found = divergence.on_functional("SGD", "v", Divergences(value, math.inf, 0.03, value, 0.1), Thresholds())
    assert found.status is status
    assert "KL(SGD || posterior)" in found.meaning
    assert "3 %" in found.meaning
    nan = math.nan
    unknown = divergence.on_functional("SGD", "v", Divergences(nan, nan, 0.0, nan, nan), Thresholds())
    assert unknown.status is Status.UNKNOWN


def test_singular_laws_are_infinite_by_construction() -> None:
    found = divergence.in_parameters("SGD", "(u, w)", True, "a line against a plane")
    assert (found.value, found.status) == (math.inf, Status.FAIL)
    assert "infinite, by construction: a line" in found.meaning
    found = divergence.in_parameters("SGD", "(u, w)", True, "they lie on a line", observed=True)
    assert found.value == math.inf
    assert "infinite, as far as its draws show: they lie" in found.meaning
    assert found.advice == "Compare functionals of the parameters."
    assert divergence.in_parameters("SGD", "(u)", False, "", same_as="v").status is Status.NOT_APPLICABLE
    assert np.isinf(found.value or 0.0)
