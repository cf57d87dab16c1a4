"""Kullback-Leibler divergences against closed forms, with infinities where they belong."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from check_cases import case_of, facts_of, run_of
from scipy import special, stats

from sgdvi.diagnostics import Finding, Status, divergence
from sgdvi.diagnostics.divergence import Divergences, divergences, kl_divergence, restrict
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


def test_forward_is_over_the_first_law_and_backward_over_the_second() -> None:
    found = divergences(law(stats.norm(0, 1)), law(stats.norm(0, 2)))
    assert found.forward == pytest.approx(math.log(2) + 1 / 8 - 1 / 2, rel=1e-9)
    assert found.backward == pytest.approx(-math.log(2) + 2 - 1 / 2, rel=1e-9)


def test_an_atom_is_infinite() -> None:
    assert kl_divergence(LineLaw(stats.norm.logpdf, stats.norm.ppf, atom=0.1), law(stats.norm())) == math.inf


def test_a_point_away_from_zero_is_infinite_but_no_collapse() -> None:
    nowhere = SimpleNamespace(log_prob=lambda v: np.full_like(v, -np.inf), icdf=np.ones_like)
    point = as_line_law(SimpleNamespace(zero_mass=0.0, point_mass=np.ones(1), **vars(nowhere)))
    assert (point.atom, point.zero) == (1, 0)
    assert not facts_of(stationary=point).collapsed
    assert kl_divergence(point, law(stats.norm())) == kl_divergence(law(stats.norm()), point) == math.inf
    assert facts_of(stationary=as_line_law(SimpleNamespace(zero_mass=1.0, point_mass=0.0, **vars(nowhere)))).collapsed


def on_functional(found: Divergences, monkeypatch: pytest.MonkeyPatch) -> Finding:
    monkeypatch.setattr(divergence, "divergences", lambda *laws: found)
    normal = law(stats.norm())
    facts = facts_of(functional="v", stationary=normal, posterior=normal, posterior_negative=0.03)
    return divergence.on_functional(case_of({"v": np.ones((4, 9))}, facts))


@pytest.mark.parametrize(("value", "status"), [(1e-3, Status.PASS), (0.02, Status.WARN), (0.2, Status.FAIL)])
def test_finding_names_its_direction(value: float, status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    found = on_functional(Divergences(value, math.inf, 0.03, value, 0.1), monkeypatch)
    assert found.status is status
    assert "KL(SGD || posterior)" in found.meaning
    assert "3 %" in found.meaning
    nan = math.nan
    assert on_functional(Divergences(nan, nan, 0.0, nan, nan), monkeypatch).status is Status.UNKNOWN


def test_singular_laws_are_infinite_by_construction() -> None:
    draws = np.random.default_rng(0).normal(size=(2, 4, 500))
    sites = {"u": draws[0], "w": draws[0]}
    found = divergence.in_parameters(case_of(sites, facts_of(singular=True, factors=("u", "w"))))
    assert (found.value, found.status) == (math.inf, Status.FAIL)
    assert "in (u, w) are infinite, by construction: its stationary law lives" in found.meaning
    plane = run_of({"u": draws[0], "w": draws[1]}, name="NUTS")
    found = divergence.in_parameters(case_of(sites, reference=plane))
    assert found.value == math.inf
    assert "infinite, as far as its draws show: they fill" in found.meaning
    assert found.advice == "Compare functionals of the parameters."
    one = divergence.in_parameters(case_of({"u": draws[0]}, facts_of(factors=("u",), functional="v")))
    assert one.status is Status.NOT_APPLICABLE
    assert "The parameters are v itself" in one.meaning
