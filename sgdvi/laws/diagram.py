"""The phase diagram of depth 1: regimes and spread over the noise in the data and the temperature."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jax.typing import ArrayLike
from numpy.polynomial import chebyshev

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import non_negative, positive, require
from sgdvi.laws.fluctuation import mean_and_variance
from sgdvi.laws.moments import Moments
from sgdvi.laws.phases import PhaseInterval, critical_temperature, phase, phase_intervals

# Nodes of the interpolant behind `smooth_variance`, in log noise and in T/Tc: 512 laws, a second's work without a
# compiler, where the laws of a fine grid are tens of thousands.
_NOISES, _HEATS = 16, 32


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """Regimes of the depth-1 law on a grid of noise (N,) and temperature (M,); made by `phase_diagram`.

    Attributes
    ----------
    moments
        Moments of the data at their own noise, ``noise_sd``.
    noise_sd
        Standard deviation of the residuals in ``moments``, in the units of y.
    noise, temperature
        The grid: standard deviations of the residuals, and temperatures.
    weight_decay
        Decay gamma of the loss.
    """

    moments: Moments
    noise_sd: float
    noise: np.ndarray
    temperature: np.ndarray
    weight_decay: float = 0.0
    _batch: Moments = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_batch", self.at_noise(self.noise[:, None]))

    def at_noise(self, noise: ArrayLike) -> Moments:
        """Moments of the data with residuals of another standard deviation."""
        return self.moments.scale_noise(np.asarray(noise, np.float64) / self.noise_sd)

    @property
    def critical(self) -> np.ndarray:
        """Tc at every noise, shape (N,)."""
        return np.asarray(critical_temperature(self._batch, 1, self.weight_decay))[:, 0]

    @cached_property
    def labels(self) -> np.ndarray:
        """Regimes as `phase` tells them, shape (N, M)."""
        return np.asarray(phase(self._batch, self.temperature, 1, self.weight_decay))

    @cached_property
    def mean(self) -> np.ndarray:
        """E[v], shape (N, M); 0 where SGD has collapsed."""
        return self._mean_and_variance[0]

    @cached_property
    def variance(self) -> np.ndarray:
        """Var[v], shape (N, M); 0 where SGD has collapsed."""
        return self._mean_and_variance[1]

    @cached_property
    def smooth_variance(self) -> np.ndarray:
        """Var[v] on the grid, shape (N, M), to some 1e-3 of itself and without the cost of a law for each point.

        Notes
        -----
        Below Tc the variance is T (1 - T/Tc) times a smooth function of log noise and T/Tc, whose logarithm is
        interpolated between Chebyshev nodes. `variance` itself on a small grid, over more than three decades of noise,
        and where Tc is not finite and above 0.
        """
        critical, (low, high) = self.critical, np.log(self.noise[[0, -1]])
        small, wide = len(self.noise) * len(self.temperature) <= _NOISES * _HEATS, high - low > np.log(1000)
        if small or wide or not np.all(np.isfinite(critical) & (critical > 0)):
            return self.variance
        x, y = chebyshev.chebpts1(_NOISES), chebyshev.chebpts1(_HEATS)
        data = self.at_noise(np.exp(low + (high - low) * (x + 1) / 2)[:, None])
        share = (1 + y) / 2
        heat = share * np.asarray(critical_temperature(data, 1, self.weight_decay))
        variance = mean_and_variance(data, heat, weight_decay=self.weight_decay)[1]
        values = np.log(variance / (heat * (1 - share)))
        by_noise = np.linalg.solve(chebyshev.chebvander(x, _NOISES - 1), values)
        series = np.linalg.solve(chebyshev.chebvander(y, _HEATS - 1), by_noise.T)
        rows = chebyshev.chebvander(2 * (np.log(self.noise) - low) / (high - low) - 1, _NOISES - 1) @ series.T
        part = self.temperature / critical[:, None]
        inside = part < 1
        part = np.where(inside, part, 0.0)
        smooth = chebyshev.chebval(2 * part - 1, rows.T[:, :, None], tensor=False)
        return np.where(inside, self.temperature * (1 - part) * np.exp(smooth), 0.0)

    @cached_property
    def _mean_and_variance(self) -> tuple[np.ndarray, np.ndarray]:
        return mean_and_variance(self._batch, self.temperature, weight_decay=self.weight_decay)

    @property
    def mode_discriminant(self) -> np.ndarray:
        """A(T)/beta1^2 on the grid, as in `phase_intervals`; its zeros are borders where `double_root` is above 0."""
        m, heat = self._batch, self.temperature
        linear = 1 - 10 * self._side * m.alpha2 * heat / m.beta1
        room = self._side * m.beta2 - self.weight_decay - 3 * m.alpha3 * heat
        return np.asarray(linear**2 + 28 * m.alpha1 * heat * room / m.beta1**2)

    def double_root(self, noise: np.ndarray, temperature: np.ndarray) -> np.ndarray:
        """Where the density's stationary points meet at pairs of noise and temperature with A(T) = 0; in v/v*."""
        m = self.at_noise(noise)
        linear = m.beta1 - 10 * self._side * m.alpha2 * temperature
        return np.asarray(-linear / (14 * m.alpha1 * temperature) / abs(float(self.moments.minimizer)))

    @property
    def _side(self) -> float:
        return 1.0 if float(self.moments.beta2) >= 0 else -1.0

    def intervals(self, noise: float) -> tuple[PhaseInterval, ...]:
        """Regimes from cold to hot at one noise, with their borders, as `phase_intervals` gives them."""
        return phase_intervals(self.at_noise(noise), self.weight_decay)


@checked
def phase_diagram(
    moments: Moments,
    noise: ArrayLike,
    temperature: ArrayLike,
    *,
    noise_sd: float = 1.0,
    weight_decay: float = 0.0,
) -> PhaseDiagram:
    """Lay out the phase diagram of depth 1, temperature against noise.

    Parameters
    ----------
    moments
        Moments of the data; concrete scalars. ``Moments.linear(slope, 1.0)`` is the line y = slope x + noise.
    noise
        Standard deviations of the residuals, increasing, shape (N,): the residuals of the data about their
        least-squares line are multiplied by noise/noise_sd, and x stays as it is.
    temperature
        Temperatures, increasing, shape (M,), in units of learning rate / batch size.
    noise_sd
        Standard deviation of the residuals in the data as they are.
    weight_decay
        Decay gamma >= 0 of the loss.

    Returns
    -------
    PhaseDiagram
        Regimes, critical temperatures, mean and variance on the grid; what is costly is computed on first use.

    Raises
    ------
    InputError
        For axes that are not increasing, not positive, or too short, and moments that are no scalars.
    """
    shape = moments.batch_shape
    require(shape == (), "phase_diagram takes scalar moments", f"batch shape {shape}", "Draw one diagram for each.")
    require(float(moments.beta2) != 0, "beta2 must not be 0: such data collapse at every temperature", moments.beta2)
    sd, decay = positive("noise_sd", noise_sd), non_negative("weight_decay", weight_decay)
    return PhaseDiagram(moments, sd, _axis("noise", noise), _axis("temperature", temperature), decay)


def _axis(name: str, values: ArrayLike) -> np.ndarray:
    axis = np.asarray(values, np.float64)
    good = axis.ndim == 1 and axis.size >= 2 and np.all(np.isfinite(axis)) and axis[0] > 0
    require(good, f"{name} must be a vector of at least 2 finite numbers above 0", f"shape {axis.shape}")
    require(np.all(np.diff(axis) > 0), f"{name} must increase", "values that do not", "Sort them.")
    return axis
