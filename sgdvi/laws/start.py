"""What the start of a run decides for ever: side, point mass at zero, effective width, shares of the subnetworks."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import InputError, message, non_negative, positive, real_array, require, whole
from sgdvi.laws._engine import xp
from sgdvi.laws._engine.arrays import in_float64, is_traced, to_float64
from sgdvi.laws.degenerate import Support, crossing_probability, oriented, support
from sgdvi.laws.moments import Moments
from sgdvi.laws.multiples import resolve
from sgdvi.laws.phases import critical_temperature


@dataclass(frozen=True, eq=False)
class Memory:
    r"""What is left of the start when SGD has become stationary; made by `memory`.

    Attributes
    ----------
    sign
        Side of v = 0 on which the run ends, +1 or -1; 0 where it surely ends at zero, and at depth 0.
    zero_mass
        Probability of ending at v = 0; nan where it is not known.
    width
        Effective width: the number of subnetworks that survive, given that v does not end at zero.
    shares
        Share v_i/v of each subnetwork in the end, shape (width,); 0 for those that vanish, nan where not known.
    balanced
        Whether all factors of a subnetwork started equal in magnitude.
    known
        Whether theory decides ``zero_mass``.
    reason
        All this in a sentence or two.
    """

    sign: int
    zero_mass: float
    width: int
    shares: np.ndarray
    balanced: bool
    known: bool
    reason: str


@dataclass(frozen=True, eq=False)
class Start:
    """Factors at the start, shape (depth + 1, width), and what they decide."""

    factors: np.ndarray

    @classmethod
    def read(cls, initial: Any, depth: int, width: int | None = None) -> Self:
        """Check the shape and the values; the width is that of the values unless it is given."""
        advice = "Memory depends on exact equality of factors; pass NumPy or concrete JAX arrays."
        require(not is_traced(initial), "initial must be concrete", "a traced array", advice)
        try:
            factors = real_array("initial", initial).astype(np.float64)
        except (TypeError, ValueError):
            raise InputError(message("initial must be an array of numbers", repr(initial))) from None
        shape, given = f"({depth + 1}, {'width' if width is None else width})", factors.shape
        if factors.ndim == 1 and width in (None, 1):
            factors = factors[:, None]
        fits = factors.ndim == 2 and len(factors) == depth + 1 and factors.shape[1] == (width or factors.shape[1])
        advice = "One row for each of the depth + 1 factors, one column for each subnetwork."
        require(fits and factors.size, f"initial must have shape {shape}", f"shape {given}", advice)
        require(np.all(np.isfinite(factors)), "initial must be finite", factors[~np.isfinite(factors)])
        return cls(factors)

    @property
    def depth(self) -> int:
        """Depth D."""
        return len(self.factors) - 1

    @property
    def value(self) -> float:
        """V at the start."""
        return float(self.factors.prod(0).sum())

    @property
    def balanced(self) -> bool:
        """Whether all factors of every subnetwork are equal in magnitude, to the last bit."""
        size = np.abs(self.factors)
        return bool(np.all(size == size[0]))

    def survivors(self, side: Any, rounding: float = 0.0) -> np.ndarray:
        """Which subnetworks live on where v ends on ``side``; bool, shape (width,).

        A factor that is alone the smallest may pass through zero, and takes its subnetwork to the side of the law. Two
        equally small ones stay equally small, reach zero only together and never pass it: the sign is locked. Sizes
        that differ by less than ``rounding``, a share, count as equal.
        """
        if self.depth == 0:
            return np.ones(self.factors.shape[1], bool)
        size = np.abs(self.factors)
        free = np.sum(size <= (1 + rounding) * size.min(0), axis=0) == 1
        return free | (np.sign(self.factors).prod(0) == side)

    def squares(self, side: int) -> tuple[np.ndarray, float]:
        """Depth 1: (u_i + side w_i)^2, which share the growth of v, and the sum of (u_i - side w_i)^2, which dies."""
        u, w = self.factors
        return (u + side * w) ** 2, float(np.sum((u - side * w) ** 2))

    def effective_width(self, side: Any) -> int:
        """Number of survivors, at least 1, for a side that may be traced or an array."""
        counts = {sign: max(int(self.survivors(sign).sum()), 1) for sign in (1, -1)}
        if counts[1] == counts[-1]:
            return counts[1]
        if self.depth == 1 and (is_traced(side) or np.ndim(side) > 0):
            return self.factors.shape[1]  # the law at depth 1 is the same at every width
        rule, advice = "initial at depth 2 and above needs one known side", "Give sign, and moments of one side."
        require(not is_traced(side), rule, "a traced beta2", advice)
        sides = np.unique(np.asarray(side))
        require(len(sides) == 1, rule, "beta2 of both signs", advice)
        return counts[int(sides[0])]


@checked
def memory(
    initial: Any, moments: Moments, temperature: float | str, depth: int = 1, weight_decay: float = 0.0
) -> Memory:
    r"""Tell what the start of SGD on a diagonal linear network decides for ever.

    Parameters
    ----------
    initial
        Factors at the start, shape (depth + 1, width), or (depth + 1,) for width 1: the sites of
        `LinearNetwork` in their order. Concrete values; equality counts to the last bit, as it does in SGD.
    moments, temperature, depth, weight_decay
        As in `stationary_law`; scalars.

    Returns
    -------
    Memory
        Side, point mass at zero, effective width and shares.

    Raises
    ------
    InputError
        For a start of the wrong shape or with values that are not finite, and for parameters that cannot be.

    Notes
    -----
    All factors share one noise, :math:`du^{(k)} = -(v/u^{(k)})\,d\xi`, so that differences of squares keep their sign
    and decay. At depth 1 :math:`u + w` and :math:`u - w` keep theirs, :math:`(u_i + w_i)/(u_j + w_j)` is conserved,
    and on v > 0 the shares tend to :math:`(u_i + w_i)^2/\sum_j (u_j + w_j)^2`; at depth 2 and above they tend to
    equality, algebraically slowly for small subnetworks and small temperatures. See "What the start decides" in the
    guide to the laws.

    Examples
    --------
    >>> import sgdvi
    >>> m = sgdvi.Moments.linear(slope=1.0, noise=1.0)
    >>> sgdvi.memory([0.5, -0.5], m, 0.1).zero_mass  # balanced, on the wrong side: locked there
    1.0
    >>> sgdvi.memory([0.5, -0.6], m, 0.1).zero_mass  # v < 0 too, but not balanced
    0.0
    """
    require(isinstance(moments, Moments), "moments must be sgdvi.Moments", type(moments).__name__)
    require(moments.batch_shape == (), "memory takes scalar moments", f"batch shape {moments.batch_shape}")
    decay = non_negative("weight_decay", weight_decay)
    heat = positive("temperature", resolve(temperature, lambda: critical_temperature(moments, depth, decay)))
    start = Start.read(initial, whole("depth", depth))
    with in_float64():
        side = 1 if depth == 0 or float(moments.beta2) >= 0 else -1
        width = start.factors.shape[1] if depth == 0 else max(int(start.survivors(side).sum()), 1)
        ends = support(oriented(moments, side), heat, depth, width, decay)
        mass = float(collapse_mass(start, side, moments, heat, width, decay))
    alive = start.survivors(side) & (mass != 1)
    return Memory(
        sign=0 if depth == 0 or mass == 1 else side,
        zero_mass=mass,
        width=int(alive.sum()),
        shares=_shares(start, side, alive, bool(ends.fixed), decay),
        balanced=start.balanced,
        known=not np.isnan(mass),
        reason=" ".join(_reasons(start, side, alive, ends, mass)),
    )


def collapse_mass(
    start: Start, side: Any, moments: Moments, temperature: ArrayLike, width: int, weight_decay: ArrayLike
) -> Array:
    """Probability of ending at zero, nan where it is not known; ``width`` is the effective one.

    JAX-traceable in all but the start; the caller holds ``jax.enable_x64(True)``.
    """
    side = to_float64(side)
    data = oriented(moments, side)
    ends = support(data, temperature, start.depth, width, weight_decay)

    def either(positive: Any, negative: Any) -> Array:
        return xp.where(side > 0, positive, negative)

    alive = either(start.survivors(1).any(), start.survivors(-1).any())
    split: Any = np.nan
    if start.depth == 1:
        grows, dies = zip(*(start.squares(sign) for sign in (1, -1)), strict=True)
        origin = to_float64(either(grows[0].sum() / 4, grows[1].sum() / 4))
        above = side * start.value >= xp.where(ends.fixed, ends.point, ends.lower)
        crosses = crossing_probability(origin, data, temperature, weight_decay)
        # Off balance the way to k is two-dimensional, and only runs that start beyond k are sure of it.
        split = xp.where(above, 0.0, xp.where(either(dies[0], dies[1]) == 0, 1 - crosses, np.nan))
    mass = xp.where(alive & (ends.proper | ends.fixed), xp.where(ends.collapses, split, 0.0), 1.0)
    return xp.where(to_float64(temperature) > 0, mass, np.nan)


def _shares(start: Start, side: int, alive: np.ndarray, fixed: bool, decay: float) -> np.ndarray:
    """Shares v_i/v in the end."""
    unknown = np.full(len(alive), np.nan)
    if not alive.any():
        return np.zeros(len(alive))
    if len(alive) == 1:
        return np.ones(1)
    if start.depth == 0:
        return np.full(len(alive), 1 / len(alive)) if decay > 0 else unknown
    if start.depth == 1:
        grows, dies = start.squares(side)
        # Where the noise dies at k before balance is reached, what should vanish is still there.
        return unknown if fixed and dies > 0 and decay == 0 else grows / grows.sum()
    return unknown if fixed else alive / alive.sum()


def _reasons(start: Start, side: int, alive: np.ndarray, ends: Support, mass: float) -> list[str]:
    depth, total = start.depth, len(alive)
    where = "v > 0" if side > 0 else "v < 0"
    if depth == 0:
        return ["At depth 0 every start ends in the one law on the line."]
    if not (ends.proper or ends.fixed):
        return [f"Zero attracts every run: no law exists on {where} at this temperature and weight decay."]
    locked = "two factors as small as each other lock the sign of"
    if not start.survivors(side).any():
        return [f"In every subnetwork {locked} v, and none is on {where}, where the law is: the run ends at zero."]
    target = f"the point {side * float(ends.point):.6g}, where there is no noise" if ends.fixed else "the law there"
    if start.survivors(-side).any():
        out = [f"A factor that is alone the smallest may pass through zero: the run ends on {where}, in {target}."]
    else:
        out = [f"Of the start, {locked} what is on {where}: the run ends on that side, in {target}."]
    if np.isnan(mass):
        out = [f"Zero and {target}, attract both: how often which is not known for a start off balance."]
    elif mass > 0:
        out = [f"Zero and {target}, attract both: the run ends at zero with probability {mass:.6g}."]
    if total > 1:
        gone = total - int(alive.sum())
        if ends.fixed and not (depth == 1 and start.squares(side)[1] == 0):
            out.append("The noise dies before balance is reached: the shares of the subnetworks depend on the run.")
            return out
        if gone:
            out.append(f"Of {total} subnetworks {gone} vanish, locked to the other side or to zero.")
        out.append("The survivors keep their shares." if depth == 1 else "The survivors become equal.")
    return out
