"""Ten handwritten digits by a network of 2,410 parameters: predictions are compared where weights cannot be.

1,797 images of 8 x 8 pixels (UCI; CC BY 4.0): the first 1,000 are the data, the other 797 the test set, in the order
of the file, so that most test images are by other writers. One layer of 32 tanh units, ten classes; all parameters
have N(0, 1) priors.

What it teaches. Units can be exchanged and their signs flipped, so there are 32! 2^32 copies of every mode and no
weight can be compared; predictions can. Long HMC on them (docs/make_digits_reference.py made it) is the reference that
SGD, averages, Langevin samplers, ensembles and Laplace's approximation are held against, test image by test image.
NUTS from here takes an hour or more: ``sgdvi compare digits --references Laplace`` leaves it out.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from scipy import special

from sgdvi._internal.check import positive, whole
from sgdvi.models._data import FOLDER, columns
from sgdvi.problem import Problem

CLASSES, PIXELS, NUM_TRAIN = 10, 64, 1000
# Test images: one that is clear, and three that the posterior is not sure of.
SHOWN = (0, 468, 571, 602)
SITES = ("hidden", "hidden_bias", "output", "output_bias")


def problem(width: int = 32, prior_sd: float = 1.0) -> Problem:
    """Make the problem.

    Parameters
    ----------
    width
        Number of hidden units.
    prior_sd
        Standard deviation of the normal prior on every parameter.
    """
    width, prior_sd = whole("width", width, least=1), positive("prior_sd", prior_sd)
    images, labels = _rows()
    test_images, test_labels = test_set()

    def network(images: Any, labels: Any = None) -> None:
        prior = dist.Normal(0.0, prior_sd)
        parameters = {
            "hidden": numpyro.sample("hidden", prior.expand([PIXELS, width]).to_event(2)),
            "hidden_bias": numpyro.sample("hidden_bias", prior.expand([width]).to_event(1)),
            "output": numpyro.sample("output", prior.expand([width, CLASSES]).to_event(2)),
            "output_bias": numpyro.sample("output_bias", prior.expand([CLASSES]).to_event(1)),
        }
        with numpyro.plate("data", len(images)):
            numpyro.sample("labels", dist.Categorical(logits=logits(parameters, images)), obs=labels)

    return Problem(
        name="digits",
        model=network,
        data=(images[:NUM_TRAIN], labels[:NUM_TRAIN]),
        functionals={f"P({test_labels[k]}), test image {k}": _reading(test_images[k], test_labels[k]) for k in SHOWN},
        dims={
            "hidden": ["pixel", "unit"],
            "hidden_bias": ["unit"],
            "output": ["unit", "class"],
            "output_bias": ["class"],
        },
        description="Ten handwritten digits by a tanh network of one layer, 1,000 images.",
        source=(
            "Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, "
            "https://doi.org/10.24432/C50P49; CC BY 4.0."
        ),
        options={"width": width, "prior_sd": prior_sd},
        factory=problem,
    )


def test_set() -> tuple[np.ndarray, np.ndarray]:
    """Return the 797 test images, (797, 64) as the model takes them, and their digits, (797,)."""
    images, labels = _rows()
    return images[NUM_TRAIN:], labels[NUM_TRAIN:]


def reference() -> tuple[np.ndarray, np.ndarray]:
    """Return what long HMC predicts of the test images, made by docs/make_digits_reference.py.

    Returns
    -------
    tuple of numpy.ndarray
        Probabilities of the classes, (4, 75, 797, 10) for (chain, draw, image, class), and R-hat of the predictions of
        the whole run, (797,).
    """
    with np.load(FOLDER / "digits_hmc.npz") as stored:
        roots = stored["roots"].transpose(2, 3, 0, 1).astype(np.float32) / stored["levels"]
        rhat = stored["rhat"]
    squares = roots**2
    return squares / squares.sum(axis=-1, keepdims=True), rhat


def results() -> dict[str, list[dict[str, float | None]]]:
    """Return the numbers of the table on the page on predictions: method -> one dictionary per seed."""
    rows: dict[str, list[dict[str, float | None]]] = json.loads((FOLDER / "digits_table.json").read_text("utf-8"))
    return rows


def logits(parameters: Mapping[str, Any], images: Any) -> Any:
    """Return the logits of the classes, (image, class), for the parameters of one draw, by their sites."""
    hidden = jnp.tanh(images @ parameters["hidden"] + parameters["hidden_bias"])
    return hidden @ parameters["output"] + parameters["output_bias"]


def probabilities(parameters: Mapping[str, Any], images: Any) -> Any:
    """Return the probabilities of the classes, (image, class), for the parameters of one draw, by their sites."""
    return jax.nn.softmax(logits(parameters, images))


def _rows() -> tuple[np.ndarray, np.ndarray]:
    table = columns("digits.csv.gz")
    labels = table.pop("digit").astype(np.int32)
    pixels = np.column_stack(list(table.values())) / 16
    return pixels - pixels[:NUM_TRAIN].mean(), labels


def _reading(image: np.ndarray, label: int) -> Callable[[Any], Any]:
    def probability(draws: Any) -> Any:
        hidden, shift, output, offset = (np.asarray(draws[name], np.float64) for name in SITES)
        units = np.tanh(image @ hidden + shift)
        p = special.softmax((units[..., None, :] @ output)[..., 0, :] + offset, axis=-1)
        return draws["output_bias"].isel({"class": 0}).copy(data=p[..., label])

    return probability
