"""The stationary law at depth 1 with the drift's correction of second order in the learning rate."""

from typing import Any

import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpyro.distributions import constraints

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.types import Values
from sgdvi.laws._engine import batch, xp
from sgdvi.laws._engine.arrays import give_back, in_float64, is_traced, keep, to_float64
from sgdvi.laws._engine.density import Parameters, corrected_ray
from sgdvi.laws._engine.noise import noise_gap
from sgdvi.laws._law import AbstractLaw, Built
from sgdvi.laws.moments import Moments
from sgdvi.laws.multiples import Temperature


class SecondOrderLaw(AbstractLaw):
    r"""Stationary law at depth 1 with a drift that is right to second order in the learning rate.

    Backward error analysis adds :math:`-(\eta/4)\nabla\|\nabla L\|^2` to the drift, so with
    :math:`B = \beta_2 - \gamma` and :math:`\eta = S T`

    .. math:: \frac{d}{dv}\log p = \frac{d}{dv}\log p_1 - \frac{S\,(\beta_1 v - B)(3\beta_1 v - B)}{2 v\,g(v)},

    where :math:`p_1` is `SGDStationary`. The noise stays at first order: the spread can be worse than that of the
    first-order law. `discrete_law` is exact for a data set.

    Parameters
    ----------
    moments, temperature, weight_decay, sign, validate_args
        As in `SGDStationary`; the noise must not vanish anywhere (Delta > 0).
    batch_size
        Batch size S > 0; broadcasts.

    Raises
    ------
    InputError
        For parameters that have no law on this branch: T must be below B/(alpha3 + S B^2).

    References
    ----------
    Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025), appendix; the factor of the correction is corrected here.
    """

    arg_constraints = {**AbstractLaw.arg_constraints, "batch_size": constraints.positive}
    reparametrized_params = [*AbstractLaw.reparametrized_params, "batch_size"]
    pytree_data_fields = (*AbstractLaw.pytree_data_fields, "batch_size")
    depth = 1
    width = 1

    @checked
    def __init__(
        self,
        moments: Moments,
        temperature: Temperature,
        *,
        batch_size: ArrayLike,
        weight_decay: ArrayLike = 0.0,
        sign: int = 1,
        validate_args: bool | None = None,
    ) -> None:
        self.batch_size = keep(batch_size, moments)
        if not is_traced(self.batch_size):
            size = np.asarray(self.batch_size)
            require(np.all((size > 0) & np.isfinite(size)), "batch_size must be above 0", size)
        super().__init__(moments, temperature, weight_decay=weight_decay, sign=sign, validate_args=validate_args)

    @property
    def critical_temperature(self) -> Values:
        """Temperature B/(alpha3 + S B^2) at and above which this law collapses to zero; 0 where B <= 0."""
        with in_float64():
            result = xp.broadcast_to(self._critical(), self._law_shape)
        return give_back(result, None, self._leaves)

    def _critical(self) -> Any:
        with in_float64():
            drift, noise = self.sign * to_float64(self.moments.beta2), to_float64(self.moments.alpha3)
            room = xp.maximum(drift - to_float64(self.weight_decay), 0.0)
            return room / (noise + to_float64(self.batch_size) * room**2)

    def _check_exists(self) -> None:
        heat, critical = np.asarray(self.temperature), np.asarray(self.critical_temperature)
        with in_float64():
            p = self._parameters(1, 1)
            noisy = np.asarray(noise_gap(p.alpha1, p.alpha2, p.alpha3) > 0)
        require(np.all(noisy), "Delta must be above 0: the noise must not vanish", np.asarray(self.moments.delta))
        if np.all(critical == 0):
            rule = f"beta2 and the weight decay must leave a law on {self._side}; there is none at any temperature"
            raise InputError(message(rule, f"beta2 = {self.moments.beta2}, weight_decay = {self.weight_decay}"))
        if not np.all(heat < critical):
            rule = f"temperature must be below {np.min(critical):.6g} for a second-order law on {self._side}"
            advice = "sgdvi.discrete_threshold tells where SGD itself collapses."
            raise InputError(message(rule, np.max(heat), advice))

    def _prepare(self) -> Built:
        p, size = self._parameters(1, 1), self._sizes()
        room = p.beta2 - p.weight_decay
        exists = (p.temperature > 0) & (p.temperature * (p.alpha3 + size * room**2) < room)
        p = p._replace(temperature=xp.where(exists, p.temperature, np.nan))
        return p, *batch.prepare(corrected_ray, p, size)

    def _tail(self, p: Parameters) -> Any:
        return 3.5 + 1.5 * self._sizes() * p.beta1**2 / p.alpha1

    def _left_order(self, p: Parameters) -> Any:
        room = p.beta2 - p.weight_decay
        return room / (2 * p.temperature * p.alpha3) - 0.5 - self._sizes() * room**2 / (2 * p.alpha3)

    @property
    def _leaves(self) -> tuple[Any, ...]:
        return self.moments, self.temperature, self.weight_decay, self.batch_size

    def _sizes(self) -> Array:
        return xp.broadcast_to(to_float64(self.batch_size), self._law_shape).reshape(-1)
