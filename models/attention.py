"""One attention head that tells 3 from 8 in real images: the GL(2) of query and key.

357 handwritten digits, 3 or 8, of 8 x 8 pixels (UCI; CC BY 4.0). Each image is a sequence of its eight rows; a head
with queries and keys of dimension 2 mixes the rows, a value vector reads the mixture, and the mean over the rows is the
log-odds of an 8. All 41 parameters have N(0, 1) priors.

What it teaches. The scores depend on query and key through their product alone, so Q M and K M^-T give the same images
the same odds for every invertible 2 x 2 matrix M: three charges that the noise of SGD does not act on.
``sgdvi balance attention`` finds them in the softmax of a real model, and measures how SGD balances the noise of query
and key.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from sgdvi._internal.check import positive, whole
from sgdvi.models._data import columns
from sgdvi.problem import Problem

SIDE = 8


def problem(keys: int = 2, prior_sd: float = 1.0) -> Problem:
    """Make the problem.

    Parameters
    ----------
    keys
        Dimension of queries and keys.
    prior_sd
        Standard deviation of the normal prior on every parameter.
    """
    keys, prior_sd = whole("keys", keys, least=1), positive("prior_sd", prior_sd)
    data = columns("digits_3_8.csv")
    digit = data.pop("digit")
    pixels = np.column_stack(list(data.values())) / 16
    images = (pixels - pixels.mean()).reshape(-1, SIDE, SIDE)

    def attention_head(images: Any, is_eight: Any = None) -> None:
        prior = dist.Normal(0.0, prior_sd)
        query = numpyro.sample("query", prior.expand([SIDE, keys]).to_event(2))
        key = numpyro.sample("key", prior.expand([SIDE, keys]).to_event(2))
        value = numpyro.sample("value", prior.expand([SIDE]).to_event(1))
        bias = numpyro.sample("bias", prior)
        with numpyro.plate("data", len(images)):
            logits = _log_odds(images, query, key, value, bias)
            numpyro.sample("is_eight", dist.Bernoulli(logits=logits), obs=is_eight)

    return Problem(
        name="attention",
        model=attention_head,
        data=(images, (digit == 8).astype(np.int32)),
        functionals={
            "log-odds of the first 3": _reading(images[digit == 3][0]),
            "log-odds of the first 8": _reading(images[digit == 8][0]),
        },
        dims={"query": ["column", "dimension"], "key": ["column", "dimension"], "value": ["column"]},
        description="Handwritten 3 or 8 by one attention head over the rows of the image, 357 images.",
        source=(
            "Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, "
            "https://doi.org/10.24432/C50P49; CC BY 4.0."
        ),
        options={"keys": keys, "prior_sd": prior_sd},
        factory=problem,
    )


def _log_odds(images: Any, query: Any, key: Any, value: Any, bias: Any) -> Any:
    """Log-odds of an 8, for JAX and NumPy arrays; parameters may have leading axes (chain, draw) for one image."""
    scores = (images @ query) @ (images @ key).swapaxes(-1, -2)
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    mixed = (weights / weights.sum(-1, keepdims=True)) @ images
    return (mixed @ value[..., None])[..., 0].mean(-1) + bias


def _reading(image: np.ndarray) -> Callable[[Any], Any]:
    def log_odds(draws: Any) -> Any:
        query, key, value, bias = (np.asarray(draws[name]) for name in ("query", "key", "value", "bias"))
        return draws["bias"].copy(data=np.asarray(_log_odds(image, query, key, value, bias)))

    return log_odds
