"""One scaling symmetry: its charge, the law of balance for it, and the balanced point on its orbits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
from scipy.optimize import brentq

from sgdvi._internal.check import InputError, message, non_negative, positive, require
from sgdvi.laws.momentum import Momentum
from sgdvi.symmetry._loss import Leaves, SampleLoss
from sgdvi.symmetry._slices import Group
from sgdvi.symmetry.equilibrium import Equilibrium, find_minimum, rest
from sgdvi.symmetry.noise import GradientNoise, outer_covariances

_FARTHEST = 200.0
_SIGN_POINTS, _SIGN_ROWS, _SIGN_TOLERANCE = 8, 64, 1e-9


@dataclass(frozen=True, eq=False)
class Symmetry:
    """A scaling symmetry: every sample's loss is the same at lambda^A theta, for all lambda > 0.

    A is diagonal, with one exponent for each group of parameters. Its charge c = theta^T A theta moves without noise,
    dc/dt = T Tr[A C(theta)] - 4 gamma c, where C is the covariance of the per-sample gradient and gamma the weight
    decay (law of balance: Ziyin, Li and Ueda 2025).

    Attributes
    ----------
    groups
        The groups with their exponents, those of the first sign first.
    loss
        The loss that it was found for, with its data.
    weight_decay
        gamma, of the loss and of the optimizer together. Where it is not zero, the charge decays at rate 4 gamma.
    penalty
        The part of gamma that is inside the loss.
    deviation
        Largest relative size of the radial derivative on fresh samples and parameters: rounding, where it is exact.
    """

    groups: tuple[Group, ...]
    loss: SampleLoss = field(repr=False)
    weight_decay: float = 0.0
    penalty: float = 0.0
    deviation: float = 0.0

    @property
    def exponents(self) -> Mapping[str, float]:
        """Exponent of every group, ``{"w1[:, 3]": 1, "w2[3, :]": -1}``."""
        return {str(group): group.exponent for group in self.groups}

    @property
    def kind(self) -> str:
        """``"rescaling"`` (exponents of both signs) or ``"scale invariance"`` (one sign: normalisation layers)."""
        return "rescaling" if len({group.exponent > 0 for group in self.groups}) == 2 else "scale invariance"

    @cached_property
    def signed(self) -> bool:
        """Whether every sample's loss is the same at lambda = -1, too: for products, but not for a ReLU neuron."""
        odd = [group for group in self.groups if group.exponent % 2]
        if any(group.exponent != int(group.exponent) for group in self.groups) or not odd:
            return False
        rng, loss = np.random.default_rng(0), self.loss
        rows = loss.rows(np.arange(min(loss.num_rows, _SIGN_ROWS)))
        for _ in range(_SIGN_POINTS):
            sizes = [0.5 + np.abs(leaf) for leaf in loss.leaves]
            leaves = [
                np.asarray(leaf + size * rng.standard_normal(leaf.shape))
                for leaf, size in zip(loss.leaves, sizes, strict=True)
            ]
            turned = [leaf.copy() for leaf in leaves]
            for group in odd:
                turned[group.leaf][group.where] *= -1
            with jax.enable_x64(True):
                one, other = (np.asarray(loss.values(these, rows)) for these in (leaves, turned))
            scale = np.abs(one) + np.abs(one).mean()
            # nan, beside the range of a loss, is no evidence
            if np.any(np.abs(one - other) > _SIGN_TOLERANCE * scale):
                return False
        return True

    @property
    def sides(self) -> tuple[list[Group], list[Group]]:
        """The groups of u (exponent 1) and of w (exponent -1).

        Raises
        ------
        InputError
            For a symmetry with exponents other than 1 and -1.
        """
        signs = {group.exponent for group in self.groups}
        require(signs == {1, -1}, "C1 and C2 need exponents 1 and -1", sorted(signs))
        return [g for g in self.groups if g.exponent > 0], [g for g in self.groups if g.exponent < 0]

    @property
    def status(self) -> str:
        """``"exact"``, or what breaks the symmetry, with the rate at which the charge decays for it."""
        if not self.weight_decay:
            return "exact"
        return f"broken by weight decay, rate 4 gamma = {4 * self.weight_decay:.4g}"

    def __str__(self) -> str:
        parts = ", ".join(f"{group} ({group.exponent:+g})" for group in self.groups)
        return f"{self.kind}: {parts}; {self.status}"

    def charge(self, params: Any) -> float:
        """Return c = theta^T A theta, for a rescaling ``||u||^2 - ||w||^2``."""
        return self._charge(self.loss.flatten(params))

    def next_charge(
        self,
        params: Any,
        gradient: Any,
        learning_rate: float,
        *,
        velocity: Any = None,
        momentum: float = 0.0,
        nesterov: bool = False,
    ) -> float:
        r"""Return the charge after one step of SGD, by the exact discrete identity.

        c' = (1 - 2 eta gamma)^2 c + eta^2 g^T A g for the gradient g of any minibatch, without the decay term. With
        momentum :math:`c' = c - 2 \eta h + \eta^2 f^T A f` for the step f = r', or g + mu r' (Nesterov), with
        r' = mu r + g, :math:`h = \mu p + 2 \gamma c` (Nesterov: :math:`\mu^2 p + 2 \gamma (1 + \mu) c`) and
        :math:`p = \theta^T A r`, in which g includes the decay.

        Parameters
        ----------
        params, gradient
            Parameters before the step; the gradient there of the mean of the loss over a minibatch.
        learning_rate
            eta, of the step theta' = (1 - 2 eta gamma) theta - eta g.
        velocity
            r before the step, of the structure of the parameters: the trace of ``optax.sgd(eta, momentum=mu)``.
        momentum, nesterov
            mu, and whether it is Nesterov's.
        """
        rate, leaves = positive("learning_rate", learning_rate), self.loss.flatten(params)
        slope = self.loss.flatten(gradient)
        slope = [one - 2 * self.penalty * leaf for one, leaf in zip(slope, leaves, strict=True)]
        if velocity is None:
            require(not momentum, "momentum goes with the velocity", "none", "Give velocity=.")
            return (1 - 2 * rate * self.weight_decay) ** 2 * self._charge(leaves) + rate**2 * self._charge(slope)
        mu, now, charge = Momentum(momentum, nesterov).mu, self.loss.flatten(velocity), self._charge(leaves)
        full = [one + 2 * self.weight_decay * leaf for one, leaf in zip(slope, leaves, strict=True)]
        step = [mu * old + one for old, one in zip(now, full, strict=True)]
        pull, own = self._product(leaves, now), 2 * self.weight_decay * charge
        along = mu * pull + own
        if nesterov:
            step = [one + mu * new for one, new in zip(full, step, strict=True)]
            along = mu**2 * pull + (1 + mu) * own
        return charge - 2 * rate * along + rate**2 * self._charge(step)

    def noise_terms(self, params: Any, *, data: Any = None, noise: GradientNoise | None = None) -> tuple[float, float]:
        """Return the two sides of noise balance: Tr C over positive and over negative exponents, times their size.

        Parameters
        ----------
        params
            Parameters.
        data
            Data to take the noise from; by default those that the symmetry was found with.
        noise
            `GradientNoise` at these parameters, where it is known already.
        """
        noise = noise or self._noise(self.loss.flatten(params), data)
        terms = [group.exponent * noise.trace(group) for group in self.groups]
        return sum(term for term in terms if term > 0), -sum(term for term in terms if term < 0)

    def adam_terms(self, second_moment: Any) -> tuple[float, float]:
        r"""Return what takes the place of `noise_terms` under Adam and RMSprop, approximately.

        The sums of :math:`|c_i| \sqrt{v_i}` over positive and over negative exponents. With the frozen preconditioner
        :math:`1/\sqrt{v}` they are equal at rest, where the variances are not; that v follows the run shifts this by
        some per cent, in badly scaled models by ten, and it takes very long. A diagnostic, and no test. Sign-SGD keeps
        the difference of the sums of absolute values: it has no balance.

        Parameters
        ----------
        second_moment
            v, running means of the squared gradients, a pytree like the parameters: ``nu`` in the state of
            ``optax.adam`` or ``optax.rmsprop``.

        Raises
        ------
        InputError
            For values below 0, and another structure.
        """
        leaves = self.loss.flatten(second_moment)
        least = min(float(leaf.min()) for leaf in leaves)
        require(least >= 0, "second_moment must be at least 0", least, "Give nu of the optimizer's state.")
        terms = [group.exponent * float(np.sqrt(leaves[group.leaf][group.where]).sum()) for group in self.groups]
        return sum(term for term in terms if term > 0), -sum(term for term in terms if term < 0)

    def predicted_drift(
        self, params: Any, temperature: float, *, data: Any = None, noise: GradientNoise | None = None
    ) -> float:
        """Return dc/dt = T Tr[A C] - 4 gamma c, per unit of time (one step lasts eta).

        Parameters
        ----------
        params
            Parameters.
        temperature
            T = learning rate / batch size; times (N - S)/(N - 1) for batches without replacement.
        data, noise
            As in `noise_terms`.
        """
        temperature = non_negative("temperature", temperature)
        gain, loss = self.noise_terms(params, data=data, noise=noise)
        return temperature * (gain - loss) - 4 * self.weight_decay * self.charge(params)

    def decay_rate(
        self, params: Any, temperature: float, *, data: Any = None, noise: GradientNoise | None = None
    ) -> float:
        """Return the rate T Tr[A^2 C]/(theta^T A^2 theta) + 4 gamma at which an imbalance decays along the orbit.

        It is -d(dc/dt)/dc along the orbit through `params` at their balanced point, and T Var[dl/d(uw)] + 4 gamma
        everywhere for one-dimensional u and w.
        """
        temperature = non_negative("temperature", temperature)
        leaves = self.loss.flatten(params)
        noise = noise or self._noise(leaves, data)
        above = sum(group.exponent**2 * noise.trace(group) for group in self.groups)
        below = sum(group.exponent**2 * float((leaves[group.leaf][group.where] ** 2).sum()) for group in self.groups)
        require(below > 0, "the parameters of the symmetry must not all be zero", "zeros")
        return temperature * above / below + 4 * self.weight_decay

    def covariances(self, params: Any, *, data: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Return C1 and C2, with Tr C(w) = u^T C1 u and Tr C(u) = w^T C2 w (u: exponent 1, w: exponent -1).

        C1 = E[A^T A] - E[A]^T E[A] and C2 = E[A A^T] - E[A] E[A]^T with A_ki = dl/d(u_i w_k). The loss of a sample
        does not determine A where u and w meet in several places (convolutions, attention); there A is the matrix of
        rank one with A u = dl/dw and A^T w = dl/du, for which the same laws hold.

        Raises
        ------
        InputError
            For a symmetry with exponents other than 1 and -1.
        """
        leaves, loss = self.loss.flatten(params), self._on(data)
        return outer_covariances(loss, leaves, [self.sides])[0]

    def is_degenerate(self, params: Any, *, data: Any = None) -> bool:
        """Return whether C1 or C2 is singular to rounding: noise balance then does not determine the norm ratio.

        A ReLU neuron that is active in no row is degenerate: its loss does not depend on u and w, and SGD leaves them
        where they are. So is one that is active in fewer rows than it has inputs, and any where the data are fitted
        exactly (Ziyin, Li and Ueda 2025, theorem 3.2).

        Raises
        ------
        InputError
            For a symmetry with exponents other than 1 and -1.
        """
        return not all(extreme_eigenvalues(matrix)[0] > 0 for matrix in self.covariances(params, data=data))

    def norm_ratio(self, params: Any) -> float:
        """Return ||u||^2/||w||^2, positive exponents over negative ones."""
        leaves = self.loss.flatten(params)
        squares = [(group.exponent, float((leaves[group.leaf][group.where] ** 2).sum())) for group in self.groups]
        below = sum(square for exponent, square in squares if exponent < 0)
        require(below > 0, "parameters with negative exponents must exist and not all be zero", below)
        return sum(square for exponent, square in squares if exponent > 0) / below

    def norm_ratio_bounds(self, params: Any, *, data: Any = None) -> tuple[float, float]:
        """Return the bounds on ||u||^2/||w||^2 at noise balance: l2min/l1max and l2max/l1min.

        l1 and l2 are the extreme eigenvalues of C1 and C2. The upper bound is inf where C1 is singular to rounding.
        """
        return ratio_bounds(*self.covariances(params, data=data))

    def transform(self, params: Any, factor: float) -> Any:
        """Return the parameters moved along the orbit: every group times factor^exponent."""
        factor = positive("factor", factor)
        return self.loss.as_given(self._move(self.loss.flatten(params), np.log(factor)))

    def balanced_point(
        self, params: Any, temperature: float | None = None, *, data: Any = None, noise: GradientNoise | None = None
    ) -> Any:
        """Return the balanced point on the orbit of `params`, where dc/dt = 0.

        For exponents 1 and -1 without weight decay it is u = a u*, w = w*/a with
        a^4 = (w*^T C2 w*)/(u*^T C1 u*) = Tr C(u*)/Tr C(w*).

        Parameters
        ----------
        params
            A point of the orbit.
        temperature
            T; needed where there is weight decay, which then takes part.
        data, noise
            As in `noise_terms`.

        Raises
        ------
        InputError
            For a scale invariance, which has no balanced point without weight decay, and without gradient noise.
        """
        leaves = self.loss.flatten(params)
        noise = noise or self._noise(leaves, data)
        gamma = self.weight_decay
        if gamma and temperature is None:
            raise InputError(message("temperature must be given where there is weight decay", None))
        heat = positive("temperature", temperature) if gamma else 1.0
        terms = [
            (float(group.exponent), noise.trace(group), float((leaves[group.leaf][group.where] ** 2).sum()))
            for group in self.groups
        ]

        def drift(step: float) -> float:
            powers = [(c, np.exp(-2 * c * step) * v, np.exp(2 * c * step) * q) for c, v, q in terms]
            return sum(c * (heat * v - 4 * gamma * q) for c, v, q in powers)

        return self.loss.as_given(self._move(leaves, _root(drift, "balanced")))

    def equilibrium(
        self,
        temperature: float,
        weight_decay: float | None = None,
        *,
        params: Any = None,
        learning_rate: float | None = None,
    ) -> Equilibrium:
        r"""Return where SGD comes to rest along this symmetry, from the gradients of the rows at one minimum.

        Nothing is run. For exponents c_a it is the one root s of
        :math:`T \sum_a c_a e^{-2 s c_a} \operatorname{Tr} C_a = 4 \gamma \sum_a c_a e^{2 s c_a} \|\theta_a\|^2`;
        for a scale invariance with decay the charge is :math:`\sqrt{T \kappa / (4 \gamma)}`, kappa =
        :math:`\|\theta\|^2 \operatorname{Tr} C`. Off by O(eta h). Symmetries that share parameters come to rest
        together: `Symmetries.equilibrium`.

        Parameters
        ----------
        temperature
            T, eta/S, or eta/(S (1 - mu)) with momentum.
        weight_decay
            gamma; None takes that of the symmetry.
        params
            The minimum; None descends to one from the parameters that the symmetry was found with.
        learning_rate
            eta, for the relaxation time in steps.

        Raises
        ------
        InputError
            For a scale invariance without weight decay, and a minimum without gradient noise.
        """
        return equilibrium_of([self], [], temperature, weight_decay, params, learning_rate, single=True)

    def canonicalize(self, params: Any) -> Any:
        """Return the point of smallest norm on the orbit of `params`: charge zero, ||u|| = ||w|| for a rescaling.

        For a scale invariance, whose orbit has no such point, it is the point where ||theta|| = 1 on the groups
        (exponents 1). All points of an orbit give the same point, up to rounding.
        """
        leaves = self.loss.flatten(params)
        terms = [(float(g.exponent), float((leaves[g.leaf][g.where] ** 2).sum())) for g in self.groups]
        aim = 0.0 if self.kind == "rescaling" else np.sign(terms[0][0])

        def apart(step: float) -> float:
            return aim - sum(c * np.exp(2 * c * step) * q for c, q in terms)

        return self.loss.as_given(self._move(leaves, _root(apart, "canonical")))

    def _charge(self, leaves: Leaves) -> float:
        return self._product(leaves, leaves)

    def _product(self, one: Leaves, other: Leaves) -> float:
        places = [(group.exponent, group.leaf, group.where) for group in self.groups]
        return float(sum(power * (one[leaf][where] * other[leaf][where]).sum() for power, leaf, where in places))

    def _move(self, leaves: Leaves, step: float) -> Leaves:
        moved = [leaf.copy() for leaf in leaves]
        for group in self.groups:
            moved[group.leaf][group.where] *= np.exp(group.exponent * step)
        return moved

    def _on(self, data: Any) -> SampleLoss:
        return self.loss if data is None else self.loss.with_data(data)

    def _noise(self, leaves: Leaves, data: Any) -> GradientNoise:
        return GradientNoise.at(self._on(data), leaves)


def equilibrium_of(
    symmetries: Sequence[Symmetry],
    families: Sequence[Sequence[Sequence[Group]]],
    temperature: float,
    weight_decay: float | None,
    params: Any,
    learning_rate: float | None,
    *,
    single: bool = False,
) -> Equilibrium:
    """Return where SGD comes to rest along all of these at once: see `Symmetry.equilibrium`."""
    heat, first = positive("temperature", temperature), symmetries[0]
    gamma = first.weight_decay if weight_decay is None else non_negative("weight_decay", weight_decay)
    rate = None if learning_rate is None else positive("learning_rate", learning_rate)
    leaves, loss = first.loss.leaves if params is None else first.loss.flatten(params), first.loss
    if params is None:
        leaves = find_minimum(loss, leaves, max(gamma - first.penalty, 0.0))
    grouped = {id(groups) for family in families for groups in family}
    apart = [each.groups for each in symmetries if id(each.groups) not in grouped]
    leaves = rest(loss, leaves, apart, families, 4 * gamma / heat)
    noise, end = GradientNoise.at(loss, leaves), loss.as_given(leaves)
    charges, ratios, times = [], [], []
    for each in symmetries:
        sizes = [(g.exponent, float((leaves[g.leaf][g.where] ** 2).sum())) for g in each.groups]
        above, below = (sum(q for c, q in sizes if c * sign > 0) for sign in (1, -1))
        charges.append(sum(c * q for c, q in sizes))
        ratios.append(above / below if below > 0 else np.inf)
        rate_of_decay = replace(each, weight_decay=gamma).decay_rate(end, heat, noise=noise)
        times.append(1 / rate_of_decay if rate_of_decay > 0 else np.inf)
    charge, ratio, time = (float(each[0]) if single else np.array(each) for each in (charges, ratios, times))
    return Equilibrium(end, charge, ratio, time, rate)


def ratio_bounds(c1: np.ndarray, c2: np.ndarray) -> tuple[float, float]:
    """Return the bounds l2min/l1max and l2max/l1min on ||u||^2/||w||^2 at noise balance; see `Symmetry`."""
    (least, most), (lowest, highest) = extreme_eigenvalues(c1), extreme_eigenvalues(c2)
    require(most > 0 and highest > 0, "the gradient of the symmetry's parameters must have noise", 0.0)
    return lowest / most, highest / least if least else float("inf")


def extreme_eigenvalues(matrix: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest eigenvalue of a covariance; a smallest one that is rounding is zero."""
    values = np.linalg.eigvalsh(matrix)
    return 0.0 if values[0] <= 1e-12 * values[-1] else float(values[0]), float(values[-1])


def _root(falling: Any, name: str) -> float:
    """Find the zero of a function that falls along the orbit, in the logarithm of the factor."""
    wide = 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        while wide < _FARTHEST and not falling(-wide) > 0 > falling(wide):
            wide *= 2
        rule = f"the orbit of params must have a {name} point"
        advice = "Both sides of the symmetry need parameters, and gradient noise, that are not all zero."
        require(falling(-wide) > 0 > falling(wide), rule, "none", advice)
        return float(brentq(falling, -wide, wide, xtol=1e-15, rtol=1e-14))
