"""Laws, findings of fixed draws, and types of draws, as JSON: what no setting of the process may change.

Run as a script with settings of JAX, as JSON, that a user has made before.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax

for name, value in json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}").items():
    jax.config.update(name, value)

import numpy as np  # noqa: E402
from hostile.counts import X, Y, sample, v  # noqa: E402

import sgdvi  # noqa: E402


def laws() -> dict[str, Any]:
    """Return numbers of every family of laws."""
    moments = sgdvi.Moments.from_data(X, Y)
    at = np.linspace(0.05, 1.5, 7)
    found: dict[str, Any] = {"Tc": sgdvi.critical_temperature(moments), "phase": str(sgdvi.phase(moments, 0.1))}
    for depth in (0, 1, 2):
        law = sgdvi.SGDStationary(moments, 0.05, depth=depth)
        found[f"depth {depth}"] = [law.log_prob(at), law.cdf(at), law.icdf(np.array([0.1, 0.9])), law.mean]
    found["weight decay"] = sgdvi.stationary_law(moments, 0.05, weight_decay=0.1, zero_mass=0.2).cdf(at)
    found["second order"] = sgdvi.SecondOrderLaw(moments, 0.05, batch_size=2).log_prob(at)
    found["infinite depth"] = sgdvi.InfiniteDepthLaw(moments, 0.05, ratio=0.1).log_prob(at)
    found["discrete"] = sgdvi.discrete_law(X, Y, learning_rate=0.01, batch_size=1).cdf(at)
    spread = sgdvi.fluctuations(moments, np.array([0.01, 0.1]))
    found["fluctuations"] = [spread.mean, spread.variance, spread.factor_mean, spread.factor_variance]
    return found


def findings() -> list[Any]:
    """Return all findings of two runs that are always the same."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(2, 4, 500, 2))
    runs = {
        name: {"u": 0.6 + scale * draws[..., 0], "w": 0.7 + 0.1 * draws[..., 1]}
        for name, draws, scale in zip(("SGD", "NUTS"), base, (0.1, 0.15), strict=True)
    }
    key = jax.random.key(0, impl="threefry2x32")
    done = sgdvi.compare(runs, reference="NUTS", functionals={"v": v}, key=key)
    return [[one.check, one.run, one.status.value, one.value, one.threshold] for one in done.findings]


def draws() -> dict[str, Any]:
    """Return draws, in memory and from a store, with their type."""
    with tempfile.TemporaryDirectory() as folder:
        memory = sample(200)["posterior"]["u"]
        disk = sample(200, store=Path(folder) / "a.zarr")["posterior"]["u"]
        assert np.array_equal(memory, disk)
        return {"type": str(memory.dtype), "u": np.asarray(memory[:, ::50])}


def numbers(value: Any) -> Any:
    """Return nested lists of Python's numbers."""
    if isinstance(value, dict):
        return {name: numbers(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [numbers(one) for one in value]
    return value if value is None or isinstance(value, str) else np.asarray(value).tolist()


if __name__ == "__main__":
    before = dict(jax.config.values)
    result = {"laws": laws(), "findings": findings(), "draws": draws()}
    changed = [name for name, value in jax.config.values.items() if value != before[name]]
    print(json.dumps(numbers(result | {"settings that were changed": changed})))
