"""What a strict type checker sees of the package: read by `mypy --strict`, never run."""

from typing import assert_type

import jax
import matplotlib.axes
import numpy as np

import sgdvi
from sgdvi._internal.types import Values

x = np.linspace(-1, 1, 20)
moments = sgdvi.Moments.from_data(x, [1.0] * 20)
same = sgdvi.Moments(1.0, 0.5, np.float64(1), jax.numpy.ones(3), 1)
assert_type(moments.beta2, Values)
assert_type(moments.delta, Values)
assert_type(moments.minimizer, Values)
assert_type(sgdvi.critical_temperature(moments), Values)

law = sgdvi.SGDStationary(moments, "0.5Tc")
assert_type(law.mean, Values)
assert_type(law.std, Values)
assert_type(law.tail_exponent, Values)
assert_type(law.cdf([0.1, 0.2][0]), Values)
assert_type(law.plot(), matplotlib.axes.Axes)
assert_type(float(law.mean) + 2, float)
assert_type(sgdvi.stationary_law(moments, 0.1).atoms, tuple[Values, Values])
assert_type(sgdvi.discrete_law(x, [0.5] * 20, 0.1).mean, float)
assert_type(sgdvi.bias(law).value, Values)

result = sgdvi.run(sgdvi.linear_problem("mine", x, [0.5] * 20, noise_sd=1.0), key=jax.random.key(0))
assert_type(result.verdict.sentence, str)
assert_type(result.comparison, sgdvi.Comparison)
assert_type(sgdvi.compare({"SGD": "draws.zarr"}, key=jax.random.key(0)).findings, tuple[sgdvi.Finding, ...])
