"""The models that ship: their data, and what each is there to show."""

import jax
import numpy as np
import pytest
from numpyro import handlers

from sgdvi import LinearNetwork, Problem, discrete_threshold, phase, zoo
from sgdvi.models import diabetes, small_n
from sgdvi.models._data import columns
from sgdvi.samplers.references import line_posterior


def network(name: str, **options: float) -> LinearNetwork:
    exact = zoo.load(name, **options).exact
    assert exact is not None
    return exact


@pytest.mark.parametrize("name", sorted(zoo.list()))
def test_every_model_runs_and_says_where_its_data_come_from(name: str) -> None:
    problem = zoo.load(name)
    sizes: list[int] = []

    def run() -> None:
        trace = handlers.trace(handlers.seed(problem.model, 0)).get_trace(*problem.data)
        sizes.extend(site["args"][0] for site in trace.values() if site["type"] == "plate")

    jax.eval_shape(run)  # nothing is computed, nothing compiled
    assert len(problem.data[0]) in sizes
    assert problem.description
    assert problem.source
    assert problem.functionals


def test_diabetes_is_the_published_table() -> None:
    table = columns("diabetes.csv")
    assert len(table) == 11
    assert all(values.shape == (442,) for values in table.values())
    # first row, sum of the response and correlation with the body mass index as published
    assert (table["age"][0], table["bmi"][0], table["progression"][0]) == (59.0, 32.1, 151.0)
    assert table["progression"].sum() == 67243.0
    assert network("diabetes").moments.minimizer == pytest.approx(0.58645, abs=1e-5)


@pytest.mark.parametrize("name", ["diabetes", "small-n"])
def test_features_are_standardised_and_the_noise_is_that_of_the_residuals(name: str) -> None:
    line = network(name)
    for values in (line.x, line.y):
        assert values.mean() == pytest.approx(0.0, abs=1e-12)
        assert values.std() == pytest.approx(1.0, abs=1e-12)
    residuals = line.y - line.moments.minimizer * line.x
    assert line.noise_sd == pytest.approx(residuals.std(), abs=0.005)


def test_small_n_is_the_first_dozen_of_diabetes() -> None:
    small, full = small_n.problem().data[0], diabetes.problem().data[0][:12]
    assert len(small) == 12
    assert np.corrcoef(small, full)[0, 1] == pytest.approx(1.0)


@pytest.mark.parametrize("depth", [0, 1])
def test_small_n_leaves_the_sign_open(depth: int) -> None:
    assert network("small-n").moments.beta2 > 0
    assert 0.05 < line_posterior(network("small-n", depth=depth)).negative_mass < 0.5
    assert line_posterior(network("diabetes", depth=depth)).negative_mass < 1e-30


def test_weak_signal_is_what_its_code_makes() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(2000)
    y = 0.1 * x + rng.standard_normal(2000)
    data = zoo.load("weak-signal").data
    np.testing.assert_allclose(data[0], x, atol=5.1e-7)
    np.testing.assert_allclose(data[1], y, atol=5.1e-7)


def test_weak_signal_goes_through_the_phases_within_reach_of_discrete_sgd() -> None:
    line = network("weak-signal")
    critical = line.critical_temperature
    labels = [str(phase(line.moments, f * critical, 1, line.weight_decay)) for f in (0.2, 0.5, 0.9, 1.2)]
    assert [label.rstrip("ab") for label in labels] == ["III", "II", "II", "I"]
    threshold = discrete_threshold(line.x, line.y, 1, line.weight_decay)
    # at batch size 1 the temperature is the learning rate of the flow
    assert not threshold.attracts(0.9 * critical)
    assert threshold.attracts(1.2 * critical)


def test_logistic_has_ten_parameters_and_no_exact_law() -> None:
    problem: Problem = zoo.load("logistic")
    features, malignant = problem.data
    assert features.shape == (569, 9)
    assert malignant.sum() == 212
    np.testing.assert_allclose(features.std(axis=0), 1.0, rtol=1e-12)
    assert problem.exact is None
    trace = handlers.trace(handlers.seed(problem.model, 0)).get_trace(*problem.data)
    latent = [s["value"] for s in trace.values() if s["type"] == "sample" and not s["is_observed"]]
    assert sum(np.size(value) for value in latent) == 10
    assert set(problem.functionals) == {"average patient", "radius", "texture", "concave_points"}
