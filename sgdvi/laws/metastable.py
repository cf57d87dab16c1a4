"""The bulk that stands before the collapse: depth 2 and above with weight decay."""

from typing import Any

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from sgdvi._internal.check import InputError, message, require, whole
from sgdvi._internal.types import Values
from sgdvi.laws._engine import batch, xp
from sgdvi.laws._engine.deep import deep
from sgdvi.laws._engine.density import Parameters
from sgdvi.laws._law import AbstractLaw, Built
from sgdvi.laws.moments import Moments
from sgdvi.laws.multiples import Temperature


class MetastableLaw(AbstractLaw):
    r"""Law of the metastable bulk at depth 2 and above with weight decay, cut off at the barrier to zero.

    With decay :math:`\gamma > 0` zero attracts in the end, but a small one leaves

    .. math:: \frac{d}{dv}\log p = -\frac{3D}{nv} - \frac{g'}{g}
        - \frac{d^{1-2/n}\,(\beta_1 v - \beta_2 + \gamma (d/v)^m)}{n T v^{2D/n} g}, \quad m = \frac{D-1}{D+1},

    with a maximum behind a barrier. Runs that start in the bulk follow this density, restricted to the bulk's side of
    the barrier, for times far below `lifetime`.

    Parameters
    ----------
    moments, temperature, depth, width, sign, validate_args
        As in `SGDStationary`; depth >= 2.
    weight_decay
        Decay gamma > 0; broadcasts.

    Raises
    ------
    InputError
        Where there is no bulk: the decay is too strong, or beta2 is not on this side.

    References
    ----------
    Ziyin, Li and Ueda, Phys. Rev. E 111, 065303 (2025); the lifetime is Kramers' formula by quadrature.
    """

    pytree_aux_fields = ("depth", "width")

    def __init__(
        self,
        moments: Moments,
        temperature: Temperature,
        *,
        depth: int,
        width: int = 1,
        weight_decay: ArrayLike,
        sign: int = 1,
        validate_args: bool | None = None,
    ) -> None:
        self.depth, self.width = whole("depth", depth, least=2), whole("width", width, least=1)
        super().__init__(moments, temperature, weight_decay=weight_decay, sign=sign, validate_args=validate_args)

    @property
    def edge(self) -> Values:
        """Where the barrier is, the minimum of the density of log v; 0 where it is out of sight."""
        return self._on_laws(lambda built: self.sign * _barrier(built)[0])

    @property
    def barrier(self) -> Values:
        """Height of the barrier in nats: log density of log v at its maximum over that at the edge."""
        return self._on_laws(lambda built: _barrier(built)[1])

    @property
    def log_lifetime(self) -> Values:
        """Log of `lifetime`, which may overflow."""
        return self._on_laws(lambda built: _barrier(built)[2])

    @property
    def lifetime(self) -> Values:
        """Mean time to the collapse, in the flow's time (a step is one learning rate); good for high barriers."""
        return self._on_laws(lambda built: xp.exp(_barrier(built)[2]))

    def _check_exists(self) -> None:
        require(np.all(np.asarray(self.weight_decay) > 0), "weight_decay must be above 0", self.weight_decay)
        drift = self.sign * np.asarray(self.moments.beta2)
        require(np.all(drift > 0), f"beta2 must leave a bulk on {self._side}", f"beta2 = {self.moments.beta2}")
        if np.any(np.isnan(np.asarray(self._built()[2].log_norm))):
            rule = "weight_decay must be small enough for a metastable bulk"
            advice = "Here the density falls all the way from zero: SGD collapses at once."
            raise InputError(message(rule, self.weight_decay, advice))

    def _prepare(self) -> Built:
        p = self._parameters(self.depth, self.width)
        exists = (p.temperature > 0) & (p.beta2 > 0) & (p.weight_decay > 0)
        p = p._replace(temperature=xp.where(exists, p.temperature, np.nan))
        return p, *batch.prepare(deep, p)

    def _tail(self, p: Parameters) -> Any:
        return xp.full_like(p.temperature, 5 - 3 / (self.depth + 1))


def _barrier(built: Built) -> tuple[Array, Array, Array]:
    parameters, density, quadrature = built
    return batch.barrier(parameters, density, quadrature.log_norm)
