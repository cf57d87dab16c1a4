"""The model of ten digits: its data, its readings, and the reference predictions that ship with it."""

import numpy as np
import xarray as xr
from numpyro import handlers

from sgdvi import compare_predictions, zoo
from sgdvi.models import digits


def test_the_data_are_the_published_test_set():
    table = zoo.table("digits")
    assert len(table) == 65
    # as UCI states them
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.array_equal(np.bincount(table["digit"].astype(int)), counts)
    small = zoo.table("digits_3_8")
    chosen = np.isin(table["digit"], (3, 8))
    assert np.array_equal(np.column_stack(list(table.values()))[chosen], np.column_stack(list(small.values())))
    images, labels = zoo.load("digits").data
    test_images, test_labels = digits.test_set()
    assert (len(labels), len(test_labels)) == (1000, 797)
    assert abs(images.mean()) < 1e-12


def test_readings_are_probabilities_of_the_network():
    problem = zoo.load("digits", width=3)
    sites = handlers.trace(handlers.seed(problem.model, 0)).get_trace(*problem.data)
    draw = {name: sites[name]["value"] for name in digits.SITES}
    images, labels = digits.test_set()
    expected = np.asarray(digits.probabilities(draw, images))
    assert np.allclose(expected.sum(1), 1, atol=1e-5)
    dims = {name: ("chain", "draw", *axes) for name, axes in problem.dims.items()}
    arrays = {name: (dims[name], np.broadcast_to(value, (2, 5, *value.shape))) for name, value in draw.items()}
    draws = xr.Dataset(arrays)
    for k, reading in zip(digits.SHOWN, problem.functionals.values(), strict=True):
        assert reading(draws).dims == ("chain", "draw")
        assert np.allclose(reading(draws), expected[k, labels[k]], atol=1e-5)
    sizes = {"hidden": 64 * 3, "hidden_bias": 3, "output": 3 * 10, "output_bias": 10}
    assert {name: np.size(value) for name, value in draw.items()} == sizes


def test_the_reference_has_mixed_and_its_halves_agree():
    probabilities, rhat = digits.reference()
    assert probabilities.shape == (4, 75, 797, 10)
    assert rhat.max() < 1.01
    assert np.allclose(probabilities.sum(-1), 1, atol=1e-5)
    some = np.arange(0, 797, 4)
    halves = {"a": probabilities[:2, :, some], "b": probabilities[2:, :, some]}
    run = compare_predictions(halves, "b", digits.test_set()[1][some]).runs["a"]
    assert run.numbers["distance"] < run.numbers["distance_null"]
    assert run.counts["not"] <= 2
    assert run.numbers["error"] < 0.08


def test_the_table_is_that_of_the_page():
    rows = digits.results()
    assert {"SGD", "SWAG", "SGLD", "SGHMC", "cyclical SGLD", "deep ensemble", "Laplace, last layer"} <= set(rows)
    assert all(len(seeds) == 3 for name, seeds in rows.items() if name != "HMC")
    mean = {name: np.mean([seed["distance"] for seed in seeds]) for name, seeds in rows.items() if name != "HMC"}
    assert mean["SGLD"] < mean["SGD"]
