"""The stationary law of SGD on its nonzero branch, as a NumPyro distribution."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from sgdvi._internal.check import InputError, message, require, whole
from sgdvi._internal.tree import is_traced
from sgdvi._internal.types import Values
from sgdvi.laws._engine import batch, xp
from sgdvi.laws._engine.arrays import in_float64
from sgdvi.laws._engine.deep import deep
from sgdvi.laws._engine.density import Parameters, line, ray
from sgdvi.laws._law import AbstractLaw, Built
from sgdvi.laws.degenerate import Support, support
from sgdvi.laws.moments import Moments
from sgdvi.laws.multiples import Multiple, Temperature
from sgdvi.laws.phases import critical_temperature


class SGDStationary(AbstractLaw):
    r"""Exact stationary law of v under SGD on a diagonal linear network, on one side of zero.

    With the per-sample loss :math:`(v x - y)^2 + \gamma\|\theta\|^2`, :math:`g(v) = \alpha_1 v^2 - 2\alpha_2 v +
    \alpha_3` and :math:`A(v) = \arctan((\alpha_1 v - \alpha_2)/\sqrt\Delta)`,

    .. math::

        p(v) &\propto g^{-1 - b/(2 T \alpha_1)}
            \exp\Bigl(-\frac{\alpha_2 b - \alpha_1\beta_2}{T\alpha_1\sqrt\Delta} A\Bigr)
            && \text{depth 0, all } v,\; b = \beta_1 + \gamma,

        p(v) &\propto v^{B/(2\alpha_3 T) - 3/2} g^{-1 - B/(4 T \alpha_3)}
            \exp\Bigl(-\frac{\alpha_3\beta_1 - \alpha_2 B}{2 T \alpha_3\sqrt\Delta} A\Bigr)
            && \text{depth 1, } v > 0,\; B = \beta_2 - \gamma,

        \frac{d}{dv}\log p &= -\frac{3D}{n v} - \frac{g'}{g}
            - \frac{d^{1-2/n}(\beta_1 v - \beta_2)}{n T v^{2D/n} g}
            && \text{depth } D \ge 2,\; v > 0,\; n = D + 1,\; \gamma = 0.

    Exact for the stochastic gradient flow, so to first order in the learning rate for SGD itself.

    Parameters
    ----------
    moments
        Moments of the data, scalars or one batch shape.
    temperature
        Temperature T = learning rate / batch size for this loss; T > 0, or a multiple of Tc such as "0.5Tc".
        Broadcasts against the moments. For the loss (v x - y)^2 / 2 half of that, or moments with ``loss="half"``.
    depth
        Depth D >= 0; 0 is linear regression.
    width
        Width d >= 1. Depth 0: the regression at d T and gamma/d. Depth 1: the law does not depend on it.
    weight_decay
        Decay gamma >= 0; broadcasts. At depth 2 and above it must be 0 (any decay makes zero attract in the end, see
        `MetastableLaw`), unless the noise vanishes at a k which SGD crosses upwards only.
    sign
        Branch at depth >= 1: +1 for v > 0, -1 for v < 0.
    validate_args
        As everywhere in NumPyro; values outside the support have log density -inf in any case.

    Raises
    ------
    InputError
        (a ValueError) For parameters that have no law on this branch, at or above the critical temperature among
        them. Traced parameters cannot be checked: there the results are nan, as they are for traced moments that no
        data have.

    Notes
    -----
    Computed in float64 whatever JAX's setting; results have the dtype of the value, or of the parameters where there
    is none (float32 values and parameters: exact but for their own rounding, a relative 6e-8 each). The normaliser,
    ``cdf``, ``icdf``, ``mean`` and ``variance`` come from Gauss-Legendre panels to about 1e-13; ``log_prob`` uses the
    closed form, which depth 2 and above lack: there the exponent is integrated on panels too. Gradients flow to the
    value, temperature, weight decay and moments.

    Data with y = k x - c/x in every row (Delta = 0) have no noise at k: their law lies on one side of k, and the
    formulas are taken to that limit; ``support`` says where. For c = 0 there is no density but the point mass at k.
    Constant x^2 (alpha1 = 0) is a limit, too: a normal law at depth 0, a gamma law at depth 1.

    References
    ----------
    Ziyin, Li and Ueda, "Noise balance and stationary distribution of stochastic gradient descent", Phys. Rev. E 111,
    065303 (2025), section IV.

    Examples
    --------
    >>> import sgdvi
    >>> law = sgdvi.SGDStationary(sgdvi.Moments.linear(slope=1.0, noise=1.0), temperature=0.1)
    >>> round(float(law.mean), 4), float(law.tail_exponent)
    (0.8449, 3.5)
    """

    pytree_aux_fields = ("depth", "width")

    def __init__(
        self,
        moments: Moments,
        temperature: Temperature,
        *,
        depth: int = 1,
        width: int = 1,
        weight_decay: ArrayLike = 0.0,
        sign: int = 1,
        validate_args: bool | None = None,
    ) -> None:
        self.depth, self.width = whole("depth", depth), whole("width", width, least=1)
        super().__init__(moments, temperature, weight_decay=weight_decay, sign=sign, validate_args=validate_args)

    @property
    def factor_mean(self) -> Values:
        """Mean of one balanced factor u = (abs(v)/d)^(1/n), n = depth + 1; of v/d at depth 0."""
        return self._on_laws(lambda _: (self.sign if self.depth == 0 else 1) * self._numbers().factor_mean)

    @property
    def factor_variance(self) -> Values:
        """Variance of one factor, to the digits of a narrow law, too."""
        return self._on_laws(lambda _: self._numbers().factor_variance)

    def _rest(self, given: Multiple) -> float:
        if self.depth != 1 or is_traced(self._leaves):
            return 0.0
        drift = np.asarray(self.sign * self.moments.beta2, np.float64) - np.asarray(self.weight_decay, np.float64)
        return given.lost(self.temperature, drift, np.asarray(self.moments.alpha3, np.float64))

    def _check_exists(self) -> None:
        with np.errstate(over="ignore"):
            size = np.abs(np.asarray(self.moments.beta2, np.float64)) / np.asarray(self.moments.beta1, np.float64)
        rule = "the minimum beta2/beta1 must be 0, or at least 1e-150 and at most 1e150 in size"
        require(np.all((size == 0) | ((size > 1e-150) & (size < 1e150))), rule, _short(size), "Rescale y.")
        with in_float64():
            bounds = jax.tree.map(np.asarray, _support(self._parameters(self.depth, self.width), self.depth))
        self._bounds = float(bounds.lower.min()), float(bounds.upper.max())
        if bounds.proper.all():
            return
        heat, decay, beta2 = (np.asarray(leaf) for leaf in (self.temperature, self.weight_decay, self.moments.beta2))
        if bounds.fixed.any():
            point = self.sign * bounds.point[bounds.fixed][0]
            rule = f"SGD needs gradient noise at v = {point:.6g}: the data are fitted exactly there"
            advice = "There is no density: sgdvi.stationary_law gives the point mass that SGD ends in."
            raise InputError(message(rule, f"Delta = {_short(np.asarray(self.moments.delta))}", advice))
        advice = "sgdvi.stationary_law gives the point mass at 0 that SGD ends in."
        critical = np.asarray(critical_temperature(self.moments, self.depth, self.weight_decay, sign=self.sign))
        if self.depth > 1 and np.any(decay > 0):
            rule = "weight_decay must be 0 at depth 2 and above, or SGD ends at 0 at any temperature"
            raise InputError(message(rule, decay, f"{advice} sgdvi.MetastableLaw is the bulk that stands before."))
        if np.all(critical == 0):
            rule = f"beta2 and the weight decay must leave a law on {self._side}; there is none at any temperature"
            if np.all(self.sign * beta2 < -decay):
                advice = f"The law lives on the other side: sign={-self.sign}."
            raise InputError(message(rule, f"beta2 = {beta2}, weight_decay = {decay}", advice))
        rule = f"temperature must be below the critical temperature {_short(critical)} for a law on {self._side}"
        raise InputError(message(rule, _short(heat), advice))

    @property
    def _ends(self) -> tuple[float, float]:
        # Traced parameters have the ends that noisy data have.
        return self.__dict__.get("_bounds", super()._ends)

    def _prepare(self) -> Built:
        p = _masked(self._parameters(self.depth, self.width), self.depth)
        return p, *batch.prepare((line, ray, deep)[min(self.depth, 2)], p)

    def _tail(self, p: Parameters) -> Any:
        if self.depth == 0:
            decay = p.beta1 + p.weight_decay / p.width
            return 2 + decay / (p.temperature * p.width * xp.where(p.alpha1 > 0, p.alpha1, 1.0))
        bounded = xp.isfinite(_support(p, self.depth).upper)
        return xp.where(bounded, np.inf, 5 - 3 / (self.depth + 1))

    def _left_order(self, p: Parameters) -> Any:
        if self.depth != 1:
            return super()._left_order(p)
        noise_at_zero = 2 * p.temperature * p.alpha3
        above = _support(p, self.depth).lower > 0
        return xp.where(above | (noise_at_zero == 0), np.inf, (p.beta2 - p.weight_decay) / noise_at_zero - 0.5)


@partial(xp.compiled, static=("depth",))
def _support(p: Parameters, depth: int) -> Support:
    data = Moments.tree_unflatten(None, tuple(p[:5]))
    return support(data, p.temperature, depth, p.width, p.weight_decay)


@partial(xp.compiled, static=("depth",))
def _masked(p: Parameters, depth: int) -> Parameters:
    """Temperature nan where there is no law."""
    return p._replace(temperature=xp.where(_support(p, depth).proper, p.temperature, np.nan))


def _short(values: np.ndarray) -> str:
    """A number, or the range of many."""
    low, high = np.min(values), np.max(values)
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
