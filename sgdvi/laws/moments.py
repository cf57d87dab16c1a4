"""Moments of the data: all that the exact stationary laws of linear networks know of a data set."""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import jax
import numpy as np
import numpy.typing as npt
from jax.typing import ArrayLike

from sgdvi._internal.card import card
from sgdvi._internal.check import finite, finite_vector, non_negative, real_array, require
from sgdvi._internal.types import Values

# Rounding of alpha1 * alpha3 - alpha2^2 when the alphas themselves carry a few units of rounding.
_DELTA_ROUNDING = 1e-12
LossName = Literal["squared", "half"]


def loss_factor(loss: str) -> float:
    """Return what multiplies (v x - y)^2 in a loss of this name.

    Raises
    ------
    InputError
        For another name.
    """
    factors = {"squared": 1.0, "half": 0.5}
    advice = '"squared" is (v x - y)^2, "half" is (v x - y)^2 / 2.'
    require(loss in factors, "loss must be 'squared' or 'half'", repr(loss), advice)
    return factors[loss]


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Moments:
    r"""Noise and landscape moments of a regression data set.

    For the per-sample loss :math:`(v x - y)^2` (not half of it: see ``loss`` of `from_data`) the gradient noise is
    :math:`g(v) = \mathrm{Var}[v x^2 - x y] = \alpha_1 v^2 - 2 \alpha_2 v + \alpha_3` and the landscape is
    :math:`\beta_1 v^2 - 2 \beta_2 v` (Ziyin, Li and Ueda, Phys. Rev. E 111, 065303, section IV).

    Parameters
    ----------
    alpha1, alpha2, alpha3
        Var[x^2], Cov[x^2, x y] and Var[x y]; scalars or arrays of one batch shape.
    beta1, beta2
        E[x^2] and E[x y]; of the same shape.

    Raises
    ------
    InputError
        If no data can have these moments: alpha1 < 0, alpha3 < 0, beta1 <= 0, or Delta < 0 beyond rounding. Traced
        ones raise nothing; every law of them is nan.

    Notes
    -----
    A pytree, so ``jit``, ``vmap`` and ``grad`` go through it. Python numbers become float64. The units are those
    of the data: alpha1 [x]^4, alpha2 [x]^3 [y], alpha3 [x]^2 [y]^2, beta1 [x]^2, beta2 [x][y].
    """

    alpha1: Values
    alpha2: Values
    alpha3: Values
    beta1: Values
    beta2: Values

    if TYPE_CHECKING:  # the constructor takes more than the fields hold

        def __init__(
            self, alpha1: ArrayLike, alpha2: ArrayLike, alpha3: ArrayLike, beta1: ArrayLike, beta2: ArrayLike
        ) -> None: ...

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, jax.Array):
                array = real_array(field.name, value)
                array = array if array.dtype == np.float32 else array.astype(np.float64)
                object.__setattr__(self, field.name, array[()])
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(self)):
            self._check()

    def _check(self) -> None:
        for field in fields(self):
            value = np.asarray(getattr(self, field.name))
            require(np.all(np.isfinite(value)), f"{field.name} must be finite", value)
        for name in ("alpha1", "alpha3"):
            value = np.asarray(getattr(self, name))
            require(np.all(value >= 0), f"{name} is a variance and must be at least 0", value)
        require(np.all(np.asarray(self.beta1) > 0), "beta1 = E[x^2] must be above 0", self.beta1)
        bound = np.asarray(self.alpha1) * np.asarray(self.alpha3)
        require(
            np.all(np.asarray(self.delta) >= -self._slack * bound),
            "alpha2^2 must be at most alpha1 alpha3 (a covariance cannot exceed its variances)",
            f"alpha1 alpha3 = {bound}, alpha2^2 = {np.asarray(self.alpha2) ** 2}",
            "Check the order of the arguments: alpha1 = Var[x^2], alpha2 = Cov[x^2, xy], alpha3 = Var[xy].",
        )

    def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
        """Leaves in the order of the constructor."""
        return (self.alpha1, self.alpha2, self.alpha3, self.beta1, self.beta2), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: tuple[Any, ...]) -> Self:
        """Rebuild without checks: transformations put tracers and placeholders into the leaves."""
        del aux
        new = object.__new__(cls)
        for field, child in zip(fields(cls), children, strict=True):
            object.__setattr__(new, field.name, child)
        return new

    @classmethod
    def from_data(
        cls, x: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None = None, *, loss: LossName = "squared"
    ) -> Self:
        """Moments of a data set, in float64 and with 1/N.

        Parameters
        ----------
        x, y
            Inputs and responses, shape (N,), N >= 3.
        weights
            Non-negative weights of the rows, shape (N,); any scale.
        loss
            "squared" for the per-sample loss (v x - y)^2, "half" for half of it: with the half, SGD at twice the
            learning rate is SGD with the squared loss, so take care which one your program has. A weight decay is
            the factor of theta^2 in either loss.

        Raises
        ------
        InputError
            For fewer than three rows, unequal lengths, values that are not finite, or a constant x.

        Notes
        -----
        Products are centred through the deviations from the means, so a mean that is large beside the standard
        deviation costs no digits: x^2 - E[x^2] = 2 m dx + dx^2 - E[dx^2].
        """
        factor, x, y = loss_factor(loss), finite_vector("x", x), finite_vector("y", y)
        require(len(x) == len(y), "x and y must have the same length", f"{len(x)} and {len(y)}")
        require(len(x) >= 3, "there must be at least 3 rows", len(x))
        share = _shares(weights, len(x))
        used = x[share > 0]
        require(np.ptp(used) > 0, "x must vary", f"{used[0]} in every row", "A constant x has no slope to learn.")

        def deviations(values: np.ndarray) -> tuple[float, np.ndarray]:
            centre = np.sum(share * values)
            values = values - centre
            # The second pass removes what rounding of the first mean has left.
            rest = np.sum(share * values)
            return centre + rest, values - rest

        mean_x, dx = deviations(x)
        mean_y, dy = deviations(y)
        _, square = deviations(2 * mean_x * dx + dx * dx)
        _, product = deviations(mean_x * dy + mean_y * dx + dx * dy)
        moments = cls(
            alpha1=np.sum(share * square * square),
            alpha2=np.sum(share * square * product),
            alpha3=np.sum(share * product * product),
            beta1=mean_x**2 + np.sum(share * dx * dx),
            beta2=mean_x * mean_y + np.sum(share * dx * dy),
        )
        return moments._times(factor)

    @classmethod
    def linear(cls, slope: float, noise: float, *, loss: LossName = "squared") -> Self:
        """Moments of the population x ~ N(0, 1), y = slope x + N(0, noise^2).

        Parameters
        ----------
        slope
            Slope k.
        noise
            Standard deviation s >= 0 of the noise in y.
        loss
            As in `from_data`: "squared" for (v x - y)^2, "half" for half of it.

        Notes
        -----
        alpha = (2, 2 k, 2 k^2 + s^2), beta = (1, k), Delta = 2 s^2 for the squared loss.
        """
        slope, factor = np.float64(finite("slope", slope)), loss_factor(loss)
        with np.errstate(over="ignore"):  # what is too large is refused as a moment
            variance = np.float64(non_negative("noise", noise)) ** 2
            square = 2.0 * slope**2 + variance
        return cls(2.0, 2.0 * slope, square, 1.0, 1.0 * slope)._times(factor)

    def _times(self, factor: float) -> Self:
        """Moments of the loss times a factor: gradients scale with it, their variances with its square."""
        if factor == 1:
            return self
        alphas = {name: getattr(self, name) * factor**2 for name in ("alpha1", "alpha2", "alpha3")}
        return replace(self, **alphas, beta1=self.beta1 * factor, beta2=self.beta2 * factor)

    def __repr__(self) -> str:
        return f"Moments({', '.join(f'{name}={text}' for name, text in self._texts().items())})"

    def _repr_html_(self) -> str:
        rows = {**self._texts(), "least-squares slope": _text(self.minimizer), "Delta": _text(self.delta)}
        return card("Moments", rows)

    def _texts(self) -> dict[str, str]:
        return {field.name: _text(getattr(self, field.name)) for field in fields(self)}

    @property
    def delta(self) -> Values:
        """Delta = alpha1 alpha3 - alpha2^2, rounded once; zero where the noise vanishes at some v."""
        return difference_of_products(self.alpha1, self.alpha3, self.alpha2, self.alpha2)

    @property
    def minimizer(self) -> Values:
        """Least-squares slope v* = beta2 / beta1."""
        return self.beta2 / self.beta1

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Common shape of the five moments."""
        return np.broadcast_shapes(*(np.shape(leaf) for leaf in jax.tree.leaves(self)))

    def noise(self, v: ArrayLike) -> Values:
        """g(v) = Var[v x^2 - x y], the variance of the gradient noise at v (without the factor 4)."""
        return self.alpha1 * v * v - 2 * self.alpha2 * v + self.alpha3

    def scale_noise(self, factor: ArrayLike) -> Self:
        """Moments of the same x with the residuals about the least-squares line multiplied by ``factor``.

        Parameters
        ----------
        factor
            Number or array of at least 0 that broadcasts; at 0 the data are y = v* x.

        Notes
        -----
        With r = y - v* x, alpha2 = v* alpha1 + Cov[x^2, x r] and alpha3 = v*^2 alpha1 + 2 v* Cov[x^2, x r] + Var[x r];
        the landscape does not change, as E[x r] = 0. ``Moments.linear(k, 1.0).scale_noise(s)`` is
        ``Moments.linear(k, s)``.
        """
        slope, one = self.minimizer, 0 * factor + 1
        across = factor * (self.alpha2 - slope * self.alpha1)
        return replace(
            self,
            alpha1=self.alpha1 * one,
            alpha2=slope * self.alpha1 + across,
            alpha3=slope * (slope * self.alpha1 + 2 * across) + factor * factor * self.noise(slope),
            beta1=self.beta1 * one,
            beta2=self.beta2 * one,
        )

    @property
    def possible(self) -> Values:
        """Whether data can have these moments, element by element: traced ones cannot raise an error."""
        room = self.delta >= -self._slack * self.alpha1 * self.alpha3
        return (self.alpha1 >= 0) & (self.alpha3 >= 0) & (self.beta1 > 0) & room

    @property
    def _slack(self) -> float:
        """Rounding of Delta, relative to alpha1 alpha3."""
        dtypes = {getattr(alpha, "dtype", np.float64) for alpha in (self.alpha1, self.alpha2, self.alpha3)}
        return _DELTA_ROUNDING if dtypes == {np.dtype(np.float64)} else 1e-5

    def mirror(self) -> Self:
        """Moments of the data with y -> -y: the law on v < 0 is the law of |v| under these."""
        return replace(self, alpha2=-self.alpha2, beta2=-self.beta2)


def _text(value: Any) -> str:
    """Six digits of a number; of an array its shape, of anything else its type."""
    if isinstance(value, jax.core.Tracer) or not isinstance(value, int | float | np.ndarray | np.generic | jax.Array):
        return type(value).__name__
    return f"{float(value):.6g}" if np.ndim(value) == 0 else f"<array of shape {np.shape(value)}>"


def _shares(weights: Any, count: int) -> np.ndarray:
    if weights is None:
        return np.full(count, 1.0 / count)
    weights = finite_vector("weights", weights)
    require(len(weights) == count, "weights must have one entry per row", f"{len(weights)} for {count} rows")
    require(np.all(weights >= 0), "weights must not be negative", weights.min())
    require(np.sum(weights > 0) >= 3, "at least 3 rows must have a positive weight", int(np.sum(weights > 0)))
    return weights / weights.sum()


def difference_of_products(a: Any, b: Any, c: Any, d: Any) -> Any:
    """a b - c d, rounded once: equal leading digits of the two products cost nothing."""
    first, first_error = _product(a, b)
    second, second_error = _product(c, d)
    return (first - second) + (first_error - second_error)


def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """a b and its rounding error (Dekker 1971): the cancellation in Delta then loses nothing."""
    dtypes = [getattr(value, "dtype", np.float64) for value in (a, b)]
    factor = 134217729.0 if np.result_type(*dtypes) == np.float64 else 4097.0
    a_high = factor * a - (factor * a - a)
    b_high = factor * b - (factor * b - b)
    a_low, b_low = a - a_high, b - b_high
    rounded = a * b
    return rounded, ((a_high * b_high - rounded) + a_high * b_low + a_low * b_high) + a_low * b_low
