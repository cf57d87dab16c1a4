"""The mode of the depth-1 law at small temperatures."""

import jax
import numpy as np
from jax.typing import ArrayLike

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import real_array, require
from sgdvi._internal.types import Values
from sgdvi.laws.moments import Moments
from sgdvi.laws.multiples import Temperature, resolve
from sgdvi.laws.phases import critical_temperature


@checked
def mode_expansion(moments: Moments, temperature: Temperature, weight_decay: ArrayLike = 0.0) -> Values:
    r"""Mode of the depth-1 law on v > 0 to first order in the temperature.

    .. math:: \frac{B}{\beta_1} + \Bigl(\frac{10\alpha_2 B}{\beta_1^2} - \frac{7\alpha_1 B^2}{\beta_1^3}
        - \frac{3\alpha_3}{\beta_1}\Bigr) T, \qquad B = \beta_2 - \gamma

    Parameters
    ----------
    moments
        Moments of the data, concrete.
    temperature, weight_decay
        Temperature T, also as "0.1Tc", and decay gamma; they broadcast.

    Returns
    -------
    array
        In units of v, those of y per unit of x. The exact mode is `SGDStationary.mode`; for T well below Tc/3 they
        differ by terms in T^2.

    References
    ----------
    Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025), eq. 16.

    Examples
    --------
    >>> import sgdvi
    >>> moments = sgdvi.Moments.linear(slope=1.0, noise=1.0)
    >>> law = sgdvi.SGDStationary(moments, 0.002)
    >>> print(f"{law.mode:.3f} {sgdvi.mode_expansion(moments, 0.002):.3f}")
    0.994 0.994
    """
    decay = real_array("weight_decay", weight_decay)
    temperature = resolve(temperature, lambda: critical_temperature(moments, 1, decay, sign=1))
    heat = real_array("temperature", temperature)
    require(np.all(np.isfinite(heat) & (heat >= 0)), "temperature must be finite and at least 0", heat)
    require(np.all(np.isfinite(decay) & (decay >= 0)), "weight_decay must be finite and at least 0", decay)
    alpha1, alpha2, alpha3, beta1, beta2 = (np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(moments))
    rest = (beta2 - np.asarray(weight_decay)) / beta1
    slope = 10 * alpha2 * rest / beta1 - 7 * alpha1 * rest**2 / beta1 - 3 * alpha3 / beta1
    return (rest + slope * np.asarray(temperature))[()]
