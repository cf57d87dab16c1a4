"""Grids of temperatures that show all of a law."""

import math

import numpy as np

from sgdvi.laws.moments import Moments
from sgdvi.laws.phases import critical_temperature


def temperature_grid(
    moments: Moments, count: int, depth: int = 1, width: int = 1, weight_decay: float = 0.0
) -> np.ndarray:
    """Temperatures that show all of the law: up to Tc at depth 1, else over decades about the natural scale."""
    critical = float(critical_temperature(moments, depth, weight_decay))
    alpha1, alpha3, beta1 = (float(np.asarray(leaf)) for leaf in (moments.alpha1, moments.alpha3, moments.beta1))
    # Two scales: of the noise at v = 0, where Tc comes from, and of its growth with v.
    if depth == 0 and alpha1 > 0:
        return np.linspace(1e-4, 0.95, count) * infinite_from(moments, width, weight_decay)
    if not np.isfinite(critical):
        slope, n = abs(float(moments.minimizer)), depth + 1
        unit = width ** (1 - 2 / n) * beta1 * slope ** (2 / n) / max(float(moments.noise(slope)), alpha3)
        return np.geomspace(1e-4 * unit, 1e4 * unit, count)
    cold = min(critical, beta1 / alpha1) if alpha1 > 0 else critical
    half = count // 2
    decades = np.geomspace(1e-3 * cold, 0.1 * critical, half + 1)[:-1]
    return np.concatenate([decades, np.linspace(0.1, 1 - 1e-4, count - half) * critical])


def infinite_from(moments: Moments, width: int = 1, weight_decay: float = 0.0) -> float:
    """Temperature at and above which the variance of the depth-0 law is infinite, (beta1 + gamma/d)/(d alpha1)."""
    alpha1, beta1 = float(np.asarray(moments.alpha1)), float(np.asarray(moments.beta1))
    return (beta1 + weight_decay / width) / (alpha1 * width) if alpha1 > 0 else math.inf
