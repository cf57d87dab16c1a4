"""The stationary law of an infinitely deep network of fixed width over depth."""

from typing import Any

import numpy as np

from sgdvi._internal.check import InputError, message, positive
from sgdvi.laws._engine import batch, xp
from sgdvi.laws._engine.deep import infinitely_deep
from sgdvi.laws._engine.density import Parameters
from sgdvi.laws._law import AbstractLaw, Built
from sgdvi.laws.moments import Moments
from sgdvi.laws.multiples import Temperature


class InfiniteDepthLaw(AbstractLaw):
    r"""Stationary law of v as depth and width go to infinity with width/depth = r fixed, without weight decay.

    .. math:: p(v) \propto v^{-3-k} g^{-1+k/2} \exp\Bigl(-\frac{r}{T}\Bigl(\frac{\beta_2}{\alpha_3 v}
        + \frac{\alpha_2\alpha_3\beta_1 - 2\alpha_2^2\beta_2 + \alpha_1\alpha_3\beta_2}{\alpha_3^2\sqrt\Delta}
        A(v)\Bigr)\Bigr), \quad k = \frac{r(\alpha_3\beta_1 - 2\alpha_2\beta_2)}{T\alpha_3^2},

    with A(v) as in `SGDStationary`. Only r/T matters.

    Parameters
    ----------
    moments, temperature, sign, validate_args
        As in `SGDStationary`.
    ratio
        Width over depth, r > 0, a number. Networks of finite depth D and width r D approach the law like log(D)/D; with
        ratio = width**(1 - 2/n)/n, n = D + 1, like 1/D.

    Raises
    ------
    InputError
        For parameters that have no law on this branch: beta2 must be on its side, and no slope fit exactly.

    References
    ----------
    Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025), section IV E.
    """

    pytree_aux_fields = ("ratio",)
    depth = 2  # what matters of it: the law is on one side of zero, and has the left tail of a deep one
    width = 1

    def __init__(
        self,
        moments: Moments,
        temperature: Temperature,
        *,
        ratio: float,
        sign: int = 1,
        validate_args: bool | None = None,
    ) -> None:
        self.ratio = positive("ratio", ratio)
        super().__init__(moments, temperature, sign=sign, validate_args=validate_args)

    def _check_exists(self) -> None:
        drift = self.sign * np.asarray(self.moments.beta2)
        if not np.all(drift > 0):
            rule = f"beta2 must leave a law on {self._side}; there is none at any temperature"
            advice = "sgdvi.stationary_law gives the point mass at 0 that SGD ends in."
            if np.all(drift < 0):
                advice = f"The law lives on the other side: sign={-self.sign}."
            raise InputError(message(rule, f"beta2 = {self.moments.beta2}", advice))
        if np.any(np.isnan(np.asarray(self._built()[2].log_norm))):
            rule = "SGD needs gradient noise at the least-squares slope: the data are fitted exactly there"
            advice = "There is no density: sgdvi.stationary_law gives the point mass that SGD ends in."
            raise InputError(message(rule, f"Delta = {np.min(np.asarray(self.moments.delta)):.6g}", advice))

    def _prepare(self) -> Built:
        p = self._parameters(2, self.ratio)
        exists = (p.temperature > 0) & (p.beta2 > 0)
        p = p._replace(temperature=xp.where(exists, p.temperature, np.nan))
        return p, *batch.prepare(infinitely_deep, p)

    def _tail(self, p: Parameters) -> Any:
        return xp.full_like(p.temperature, 5.0)

    _left_power = 3.0
