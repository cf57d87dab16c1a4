"""The laws that degenerate data leave, against quadrature of the stationary equation and against the flow."""

import numpy as np
import pytest
from scipy.integrate import cumulative_simpson

from sgdvi import Moments, stationary_law

X = np.array([-1.7, -0.4, 0.3, 0.9, 1.6, 2.2])
K = 1.5


def data(k: float, c: float) -> Moments:
    return Moments.from_data(X, k * X - c / X)


B1 = float(data(K, 0.0).beta1)
CRITICAL = B1 / (float(data(K, 0.0).alpha1) * K)  # Tc of y = K x
CASES = {
    "below k": (K, 0.4, 1, {}),
    "below k, near Tc": (K, 0.97, 1, {}),
    "below k by decay": (K, 0.0, 1, {"weight_decay": 0.5}),
    "barely below k": (K, 1e-6, 1, {}),
    "above k": (K, -0.4, 1, {}),
    "barely above k": (K, -1e-6, 1, {}),
    "k < 0": (-K, -0.4, 1, {"sign": -1}),
    "other side of 0 than k": (-0.1, -2.0, 1, {}),
    "k = 0": (0.0, -1.0, 1, {"weight_decay": 0.1}),
    "depth 2, below k": (K, 0.4, 2, {}),
    "depth 2, above k": (K, -0.4, 2, {"width": 3}),
    "depth 5, other side": (-0.1, -2.0, 5, {"width": 2}),
    "depth 3, k = 0": (0.0, -1.0, 3, {}),
    "line, below k": (K, 0.4, 0, {}),
    "line, above k": (K, -0.4, 0, {"width": 2}),
    "line, decay": (-K, 0.4, 0, {"weight_decay": 0.3}),
}


def by_quadrature(k, c, temperature, depth, width=1, weight_decay=0.0, sign=1):
    """Values v, log density and cdf on a grid, from d log p/dv alone, integrated outward from the bulk."""
    k, c = sign * k, sign * c  # the side v < 0 seen from its mirror image
    a1, n = float(data(K, 0.0).alpha1), depth + 1
    b2, power = k * B1 - c, 2 * depth / n
    pull = c + (weight_decay * k / width if depth == 0 else weight_decay * (width / abs(k or 1)) ** ((depth - 1) / n))
    singular = depth == 0 or (k > 0 and pull < 0) or k == 0  # the density vanishes where v - k = e^z does
    z = np.linspace(-60.0 if singular else -500.0, 60.0, 400_001)
    away, ones = np.exp(z), np.ones_like(z)
    # v, |v - k|, side of k, log |dv/dz| and its slope
    if depth == 0 or (k > 0 and pull < 0):
        side = -np.sign(pull)
        v, gap, log_jacobian, bend = k + side * away, away, z, ones
    elif k <= 0:
        side, v, gap, log_jacobian, bend = 1, away, away - k, z, ones
    else:
        share, side = 1 / (1 + np.exp(-z)), -1
        v, gap, log_jacobian, bend = k * share, k / (1 + away), np.log(k) + 2 * np.log(share) - z, 1 - 2 * share
    drift = (B1 + (weight_decay / width if depth == 0 else 0.0)) * v - b2
    if depth == 0:
        force = drift / (temperature * width)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            scale = width ** (1 - 2 / n) * v**-power
            force = scale * (drift + weight_decay * (width / v) ** ((depth - 1) / n)) / (n * temperature)
    with np.errstate(over="ignore", invalid="ignore"):
        score = -(3 * depth / (n * v) if depth else 0.0) - 2 * side / gap - force / (a1 * gap**2)
        slope = score * np.exp(log_jacobian) * (side if depth == 0 else 1) + bend
    middle = int(np.argmin(np.abs(slope)))
    with np.errstate(invalid="ignore"):  # infinite slopes far out: nothing is there, as the next line says
        right = cumulative_simpson(slope[middle:], x=z[middle:], initial=0.0)
        left = -cumulative_simpson(slope[middle::-1], x=-z[middle::-1], initial=0.0)
    log_weight = np.concatenate([left[:0:-1], right])
    log_weight = np.where(np.isnan(log_weight), -np.inf, log_weight)
    weight = np.exp(log_weight - log_weight.max())
    mass = np.concatenate([[0.0], np.cumsum((weight[1:] + weight[:-1]) / 2 * np.diff(z))])
    log_density = log_weight - log_weight.max() - np.log(mass[-1]) - log_jacobian
    cdf = mass / mass[-1] if v[-1] > v[0] else 1 - mass / mass[-1]
    order = np.argsort(v)
    return v[order], log_density[order], cdf[order]


@pytest.mark.parametrize("name", CASES)
def test_against_quadrature_of_the_score(name):
    k, c, depth, options = CASES[name]
    m, sign = data(k, c), options.get("sign", 1)
    heat = 0.6 * CRITICAL
    law = stationary_law(m, heat, depth, **options)
    assert law.zero_mass == law.point_mass == 0
    v, log_density, cdf = by_quadrature(k, c, heat, depth, **options)
    seen = np.searchsorted(cdf, [1e-6, 0.02, 0.3, 0.7, 0.98, 1 - 1e-6])
    np.testing.assert_allclose(law.log_prob(sign * v[seen]), log_density[seen], rtol=1e-6, atol=1e-6)
    got = np.asarray(law.cdf(sign * v[seen]))
    np.testing.assert_allclose(got if sign > 0 else 1 - got, cdf[seen], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("k", "c", "decay"),
    [
        (K, 0.4, 0.1),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in ((K, -0.4, 0.1), (-0.1, -2.0, 0.1), (0.0, -1.0, 0.1))),
    ],
)
def test_against_the_flow(k, c, decay):
    """Balanced runs at depth 1 with Gaussian noise, in log |v - k| above k and in log v elsewhere."""
    m, chains, step, end = data(k, c), 2000, 5e-4, 2.0
    heat, a1, b1 = 0.6 * CRITICAL, float(m.alpha1), float(m.beta1)
    law = stationary_law(m, heat, weight_decay=decay)
    above, noise = k > 0 and c < 0, np.random.default_rng(3)
    z, clock = np.full(chains, 0.0 if above else np.log(abs(k) / 2 if k > 0 else 0.5)), np.zeros(chains)
    while np.any(clock < end):
        size = np.exp(z)
        v = k + size if above else size
        # the noise grows like v^2: shorter steps out there, to the same time for all
        now = np.minimum(step / (1 + (v / K) ** 2), end - clock)
        drift = v * (-4 * (b1 * (v - k) + c + decay) + 4 * heat * a1 * (v - k) ** 2)
        spread = 4 * v * np.sqrt(heat * a1) * np.abs(v - k) / size
        z += (drift / size - spread**2 / 2) * now + spread * np.sqrt(now) * noise.normal(size=chains)
        clock += now
    v = k + np.exp(z) if above else np.exp(z)
    levels = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
    below = np.mean(v[:, None] <= np.asarray(law.icdf(levels)), 0)
    np.testing.assert_array_less(np.abs(below - levels), 5 * np.sqrt(levels * (1 - levels) / chains))
