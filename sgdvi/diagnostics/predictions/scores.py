"""Scores of predictive laws against what was observed, and where their uncertainty comes from."""

import numpy as np
from scipy import special

from sgdvi.diagnostics.predictions.apart import blocks

_TINY = np.finfo(np.float64).tiny


def classification(probabilities: np.ndarray, observed: np.ndarray) -> dict[str, np.ndarray]:
    r"""Return the scores of every test point, (point,) each.

    With the predictive probabilities p (point, class) and the class y: ``log_score`` log p_y, ``brier``
    :math:`\sum_c (p_c - 1_{c=y})^2`, and ``error``, whether the most probable class is another (Gneiting and Raftery
    2007, JASA 102, 359).
    """
    rows = np.arange(len(observed))
    hit = probabilities[rows, observed]
    brier = (probabilities**2).sum(axis=1) - 2 * hit + 1
    wrong = (probabilities.argmax(axis=1) != observed).astype(np.float64)
    return {"log_score": np.log(np.maximum(hit, _TINY)), "brier": brier, "error": wrong}


def regression(draws: np.ndarray, observed: np.ndarray, noise_sd: np.ndarray | None) -> dict[str, np.ndarray]:
    r"""Return the scores of every test point, (point,) each.

    ``crps`` is :math:`E|Y - y| - E|Y - Y'|/2`, ``error`` the squared error of the mean, ``probability`` that of the
    predictive law below the observed value; with the sd of the noise, also ``log_score``, the log density of the
    mixture of normal laws (Gneiting and Raftery 2007, JASA 102, 359; Grimit et al. 2006, QJRMS 132, 2925 for its CRPS).

    Parameters
    ----------
    draws
        Of the predictive law, or with `noise_sd` (point,) of its mean, (chain, draw, point).
    observed
        Shape (point,).
    noise_sd
        Standard deviation of the noise, or None.
    """
    flat = draws.reshape(-1, draws.shape[2]).astype(np.float64)
    size = len(flat)
    gap = observed - flat
    scores = {"error": gap.mean(axis=0) ** 2}
    if noise_sd is None:
        ordered = np.sort(flat, axis=0)
        places = (2 * np.arange(size) + 1 - size)[:, None]
        apart = (places * ordered).sum(axis=0) / size**2  # half of E|Y - Y'|
        below = (gap > 0).mean(axis=0) + 0.5 * (gap == 0).mean(axis=0)
        return scores | {"crps": np.abs(gap).mean(axis=0) - apart, "probability": below}
    z = gap / noise_sd
    log_density = special.logsumexp(-(z**2) / 2, axis=0) - np.log(size * noise_sd * np.sqrt(2 * np.pi))
    far = _mean_size(gap, noise_sd).mean(axis=0)
    between = np.mean(
        [_mean_size(flat - np.roll(flat, k, axis=0), noise_sd * 2**0.5).mean(axis=0) for k in _shifts(size)], 0
    )
    below = special.ndtr(z).mean(axis=0)
    return scores | {"crps": far - between / 2, "probability": below, "log_score": log_density}


def uncertainty(draws: np.ndarray, noise_sd: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    r"""Return epistemic and aleatoric uncertainty of every test point, (point,) each; None where they cannot be told.

    Classification, in nats: the entropy of the mean probabilities is the mean of the draws' entropies (aleatoric) and
    the mutual information of class and draw (epistemic; Depeweg et al. 2018, ICML). Regression, as variances: that of
    the noise, and that of the mean over the draws.
    """
    if draws.ndim == 3:
        return None if noise_sd is None else (draws.var(axis=(0, 1), dtype=np.float64), noise_sd**2)
    own = [
        special.entr(np.asarray(draws[:, :, here], np.float64)).sum(axis=3).mean(axis=(0, 1)) for here in blocks(draws)
    ]
    aleatoric = np.concatenate(own)
    total = special.entr(draws.mean(axis=(0, 1), dtype=np.float64)).sum(axis=1)
    return np.maximum(total - aleatoric, 0.0), aleatoric


def _mean_size(gap: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return E|gap + sd Z| for a standard normal Z."""
    z = gap / sd
    return np.asarray(sd * (z * special.erf(z / 2**0.5) + np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2)))


def _shifts(size: int) -> range:
    # pairs of draws at a distance in the chains: all of them would be size^2
    return range(1, size, max(1, size // 20))
