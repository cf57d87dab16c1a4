"""How many steps SGD on a linear network needs before its iterates have forgotten where they began."""

import math

from sgdvi._internal.check import non_negative, positive, require, whole
from sgdvi.laws.moments import Moments

# Starts of order 1 must come within about 1e-4 of the law (fit). The imbalance must fall below the spacing of the
# draws, or the set they lie on looks thicker than a line: 1e-8.
BALANCE_TIMES = 18.0
FIT_TIMES = 10.0
# At T = Tc the escape from 0 takes for ever; a tenth of the noiseless rate keeps the number finite.
_SLOWEST = 0.1


def balance_rate(moments: Moments, temperature: float, weight_decay: float = 0.0) -> float:
    """Rate 4 (T Delta/alpha1 + gamma), per unit of flow time, at which |u^2 - w^2| decays at least.

    The smallest gradient noise over all v is Delta/alpha1, or alpha3 where alpha1 = 0.
    """
    alpha1, alpha3, delta = float(moments.alpha1), float(moments.alpha3), float(moments.delta)
    return 4 * (temperature * (delta / alpha1 if alpha1 > 0 else alpha3) + weight_decay)


def fit_rate(moments: Moments, temperature: float, depth: int = 1, width: int = 1, weight_decay: float = 0.0) -> float:
    """Rate, per unit of flow time, of the slowest move of v towards its law.

    Depth 0: 2 (d beta1 + gamma). Depth 1: the escape from the saddle at 0, 2 (|beta2| - gamma - T alpha3), which
    starts on the wrong side must pass; beyond the critical temperature it is the rate of the collapse. Depth D >= 2,
    n = D + 1: 2 n d (v*/d)^(2D/n) beta1, the relaxation to the minimizer v*.
    """
    beta1, beta2 = float(moments.beta1), abs(float(moments.beta2))
    if depth == 0:
        return 2 * (width * beta1 + weight_decay)
    if depth == 1:
        return 2 * max(abs(beta2 - weight_decay - temperature * float(moments.alpha3)), _SLOWEST * beta2)
    factors = depth + 1
    return 2 * factors * width * (beta2 / beta1 / width) ** (2 * depth / factors) * beta1


def suggest_warmup(
    moments: Moments,
    *,
    learning_rate: float,
    temperature: float,
    depth: int = 1,
    width: int = 1,
    weight_decay: float = 0.0,
) -> int:
    """Return a number of warmup steps: eighteen balance times and ten fit times, in steps of the learning rate.

    Parameters
    ----------
    moments
        Moments of the data.
    learning_rate
        In flow units, for the loss (v x - y)^2: `LinearNetwork.flow_learning_rate` of the optimizer's.
    temperature
        T of the theory.
    depth, width, weight_decay
        Of the network.

    Returns
    -------
    int
        Steps. What takes for ever (balance without noise and decay, fit without signal) is left out.

    Raises
    ------
    InputError
        For a rate or temperature that is not above 0, or a negative decay.
    """
    rate = positive("learning_rate", learning_rate)
    noise, decay = positive("temperature", temperature), non_negative("weight_decay", weight_decay)
    depth, width = whole("depth", depth), whole("width", width, least=1)
    fit = fit_rate(moments, noise, depth, width, decay)
    balance = balance_rate(moments, noise, decay) if depth else 0.0
    times = [count / pace for count, pace in ((FIT_TIMES, fit), (BALANCE_TIMES, balance)) if pace > 0]
    require(times, "the data must hold a signal or noise for SGD to move", "x y = 0 in all rows")
    return math.ceil(sum(times) / rate)
