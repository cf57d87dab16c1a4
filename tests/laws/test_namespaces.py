"""The formulas of the laws give the same in both namespaces, NumPy and JAX: every reference law, every corner."""

from collections import defaultdict
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from law_cases import CASES, law_of

from sgdvi.laws._engine import batch, xp
from sgdvi.laws._engine.arrays import in_float64

LEVELS = np.array([1e-12, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-9])
POINTS = max(len(case["v"]) for _, case in CASES)
# Of the size of a value, or of one: some dozens of roundings of a log density that falls over hundreds of nats.
BOUND = 1e-12


@cache
def families():
    """Arguments of `batch.prepare` of all reference laws, by their density, values to ask for, and variances."""
    found = defaultdict(list)
    for name, case in CASES:
        law = law_of(case)
        v = law.sign * np.array(case["v"])
        calls = []
        with pytest.MonkeyPatch.context() as patch, in_float64():
            patch.setattr(batch, "prepare", lambda make, *arguments, calls=calls: calls.append((make, arguments)) or ())
            law._prepare()
        make, arguments = calls[0]
        v = np.concatenate([v, np.repeat(v[-1:], POINTS - len(v))])
        found[make.__name__].append((name, make, arguments, v[None], law._built()[0], float(law.variance)))
    return found


def everything(make, arguments, v, parameters, size, more=True):
    density, quadrature = batch.prepare(make, *arguments)
    table = batch.tabulate(density, quadrature)
    q = jnp.broadcast_to(LEVELS, (size, len(LEVELS))) if size > 1 else LEVELS[None]
    z, log_v = batch.quantile(density, table, q, 1 - q)
    below, above = batch.cdf(density, table, v)
    out = {
        "log_prob": batch.log_prob(density, quadrature.log_norm, v),
        "score": batch.score(density, v),
        "cdf": below,
        "survival": above,
        "quantile": z,
        "log_quantile": log_v,
    }
    if more:
        out |= {
            "log_cdf": batch.log_tail(density, quadrature.log_norm, table, v, -1),
            "modes": batch.modes(density)[1],
            "level": batch.level_at(density, v[:, 0]),
            **batch.numbers(parameters, density, quadrature)._asdict(),
        }
    if more and make.__name__ != "line":
        out["root mean"] = batch.log_power_mean(density, quadrature.log_norm, np.full(size, 0.5))
    return {name: np.asarray(value) for name, value in out.items()}


# what else a law is made of is the same code for every density: compiled once by default, for the ray, and of that
# what programs are most often compiled for
@pytest.mark.parametrize(
    ("family", "more"),
    [("ray", False), *(pytest.param(name, True, marks=pytest.mark.slow) for name in sorted(families()))],
    ids=lambda value: value if isinstance(value, str) else "all" if value else "some",
)
def test_numpy_and_jax_agree(family, more):
    cases = families()[family]
    make = cases[0][1]
    with in_float64():
        rows = [(arguments, v, p) for _, _, arguments, v, p, _ in cases]
        ours = [everything(make, *row, 1, more) for row in rows]
        together = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *rows)
        theirs = everything(make, *together, len(rows), more)
    wrong = []
    for i, (name, *_) in enumerate(cases):
        spread = min(np.ptp(cases[i][3]), np.sqrt(cases[i][5]))
        for what, values in theirs.items():
            one, other = ours[i][what][0], values[i]
            scale = np.maximum(np.abs(other), 1 / spread if what == "score" else spread if what == "modes" else 1.0)
            equal = (one == other) | (np.isnan(one) & np.isnan(other))
            gap = np.abs(np.where(equal, 0.0, one) - np.where(equal, 0.0, other)) / np.where(equal, 1.0, scale)
            if not np.all(gap <= BOUND):
                wrong.append((name, what, float(np.max(gap))))
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("family", sorted(set(families()) - {"ray"}))
def test_densities_agree_in_both_namespaces(family):
    with in_float64():
        for name, make, arguments, v, *_ in families()[family][::6]:
            density, quadrature = batch.prepare(make, *arguments)
            values = density, quadrature.log_norm, np.concatenate([v, v[:, ::-1]], axis=1)
            ours, theirs = (batch.log_prob(*jax.tree.map(lib.asarray, values)) for lib in (np, jnp))
            np.testing.assert_allclose(theirs, ours, rtol=BOUND, atol=BOUND, err_msg=name)


def test_small_and_concrete_is_numpy():
    law = law_of(CASES[0][1])
    assert xp.is_small((law._built(), law._table(), law._numbers()))
    assert isinstance(law.mean, np.float64)
