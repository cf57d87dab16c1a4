"""The subnetworks of a trained diagonal network: which survive, effective width, shares now and in the end."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdvi._internal.check import InputError, message, positive, require
from sgdvi.laws.moments import Moments
from sgdvi.laws.start import Start

_WIDTH = 80
# A difference of factors has digits where it is this many times as large as their rounding
_RESOLVED = 1e3


@dataclass(frozen=True, eq=False)
class Subnetworks:
    r"""The subnetworks v_i of diagonal linear networks v = sum_i v_i; made by `subnetworks`.

    Arrays have the leading axes of the parameters (chains, draws), and the width last.

    Attributes
    ----------
    factors
        Factors, shape (depth + 1, ..., width).
    values
        v_i, the product of the factors of a subnetwork, shape (..., width).
    sign
        Side of zero on which the network ends, shape (...).
    surviving
        Which subnetworks survive in the end, by the signs that their factors lock; bool, shape (..., width).
    visible
        Which subnetworks hold more than ``tolerance`` of sum_i abs(v_i) now; bool, shape (..., width).
    final_shares
        v_i/v in the end: (u_i + s w_i)^2 over its sum at depth 1, equal at depth 2 and above, nan at depth 0.
    tolerance
        Share below which a subnetwork counts as vanished.
    rounding
        Relative rounding of the factors as they were given: 1.2e-7 for float32.
    """

    factors: np.ndarray
    values: np.ndarray
    sign: np.ndarray
    surviving: np.ndarray
    visible: np.ndarray
    final_shares: np.ndarray
    tolerance: float
    rounding: float = float(np.finfo(np.float64).eps)

    @property
    def depth(self) -> int:
        """Depth D: one less than the number of factors."""
        return len(self.factors) - 1

    @property
    def width(self) -> int:
        """Width d of the network as it was made."""
        return self.values.shape[-1]

    @property
    def shares(self) -> np.ndarray:
        """v_i/v now, shape (..., width); negative on the other side of zero, nan where v = 0."""
        total = self.values.sum(-1, keepdims=True)
        return np.divide(self.values, total, out=np.full(self.values.shape, np.nan), where=total != 0)

    @property
    def imbalance(self) -> np.ndarray:
        """Largest less smallest square of the factors of a subnetwork, over the sum of both; 0 is balanced."""
        squares = self.factors**2
        high, low = squares.max(0), squares.min(0)
        return np.divide(high - low, high + low, out=np.zeros(high.shape), where=high > 0)

    @property
    def effective_width(self) -> np.ndarray:
        """Number of subnetworks that survive in the end, shape (...)."""
        return self.surviving.sum(-1)

    @property
    def visible_width(self) -> np.ndarray:
        """Number of subnetworks that have not vanished yet, shape (...)."""
        return self.visible.sum(-1)

    @property
    def settled(self) -> np.ndarray:
        """Whether exactly the survivors are visible; False while a run is between two effective widths."""
        return (self.surviving == self.visible).all(-1)

    @property
    def inequality(self) -> np.ndarray:
        """Largest over smallest abs(v_i) among the survivors, shape (...): 1 where they are equal."""
        size = np.abs(self.values)
        high = np.where(self.surviving, size, -np.inf).max(-1)
        low = np.where(self.surviving, size, np.inf).min(-1)
        return np.divide(high, low, out=np.full(high.shape, np.nan), where=self.surviving.any(-1) & (low > 0))

    def equalisation_rate(self, moments: Moments, temperature: float) -> np.ndarray:
        r"""Return the rate at which survivors become equal, slowest pair, per unit of time; shape (...).

        Between balanced subnetworks of one side
        :math:`|v_i|^{-m} - |v_j|^{-m}` decays at rate :math:`2 D (D-1) T g(v) |v_i v_j|^m`, m = (D-1)/(D+1): 0 at
        depth 1, where ratios are conserved, and nan where fewer than two survive. It falls as subnetworks shrink, so
        that a long run can still be between two effective widths.

        Parameters
        ----------
        moments, temperature
            As in `stationary_law`.
        """
        heat, depth = positive("temperature", temperature), self.depth
        require(isinstance(moments, Moments), "moments must be sgdvi.Moments", type(moments).__name__)
        size = np.sort(np.where(self.surviving, np.abs(self.values), np.inf), axis=-1)
        pair = size[..., 0] * size[..., 1] if self.width > 1 else np.full(size.shape[:-1], np.inf)
        power = (depth - 1) / (depth + 1)
        noise = np.asarray(moments.noise(self.values.sum(-1)), np.float64)
        alone = ~np.isfinite(pair)
        rate = 2 * depth * (depth - 1) * heat * noise * np.where(alone, 1.0, pair) ** power
        return np.where(alone, np.nan, rate)

    def drift_of_ratios(self, initial: Any) -> np.ndarray:
        """Return how far the conserved ratios have moved since the start, shape (...): rounding under SGD at depth 1.

        They are the shares of u_i + w_i and of u_i - w_i, each of which a step of SGD multiplies by one number for
        all subnetworks, with weight decay and at any step size. One of the two dies out; from where it is less than
        1000 roundings of the factors on, which float32 reaches soon, only the other one counts.

        Parameters
        ----------
        initial
            Factors at the start, in the form of ``params`` of `subnetworks`.

        Raises
        ------
        InputError
            At another depth than 1, where ratios are not conserved.
        """
        rule, advice = "ratios are conserved at depth 1", "At depth 2 and above survivors become equal: inequality."
        require(self.depth == 1, rule, f"depth {self.depth}", advice)
        before, _ = _stack(initial)
        fits = before.shape == (2, self.width) or before.shape == self.factors.shape
        rule = f"initial must have 2 factors of shape ({self.width},) or of that of params"
        require(fits, rule, f"{len(before)} of shape {before.shape[1:]}")
        least = _RESOLVED * self.rounding * np.abs(self.factors).max((0, -1))
        apart = [
            np.where(np.abs(now).max(-1) > least, _apart(now, np.broadcast_to(then, now.shape)), 0.0)
            for now, then in zip(_sum_and_difference(self.factors), _sum_and_difference(before), strict=True)
        ]
        return np.maximum(*apart)

    def __str__(self) -> str:
        if self.values.ndim > 1:
            widths, counts = np.unique(self.effective_width, return_counts=True)
            parts = ", ".join(f"{width} in {count}" for width, count in zip(widths, counts, strict=True))
            text = f"{self.effective_width.size} networks of depth {self.depth} and width {self.width}: effective "
            text += f"width {parts}; {int(self.settled.sum())} of them are settled"
            return textwrap.fill(text, _WIDTH)
        head = f"depth {self.depth}, width {self.width}: effective width {int(self.effective_width)}"
        lines = [head + ("" if self.settled else f", not settled: {int(self.visible_width)} visible now")]
        lines.append(f"{'i':>3}  {'v_i':>11}  {'share':>8}  {'in the end':>10}  {'imbalance':>9}")
        for i, row in enumerate(zip(self.values, self.shares, self.final_shares, self.imbalance, strict=True)):
            value, *shares, apart = row
            now, final = (round(share, 4) + 0.0 for share in shares)  # + 0.0 makes of -0 a 0
            lines.append(f"{i:>3}  {value:>11.4g}  {now:>8.4f}  {final:>10.4f}  {apart:>9.2g}")
        return "\n".join(lines)


def subnetworks(params: Any, *, sign: int | None = None, tolerance: float = 1e-3) -> Subnetworks:
    r"""Tell the subnetworks of trained diagonal linear networks apart: which survive, and with what shares.

    Parameters
    ----------
    params
        Factors of the network, a sequence or mapping of depth + 1 arrays of one shape (..., width): the sites of
        `LinearNetwork` in their order, such as ``{"u": u, "w": w}``. Leading axes are chains and draws. A tree of
        `sgdvi.sample` stands for its draws, which must be those of the factors alone.
    sign
        Side of zero on which the network ends, that of beta2; by default the sign of v now, network by network.
    tolerance
        Share of sum_i abs(v_i) below which a subnetwork counts as vanished.

    Returns
    -------
    Subnetworks
        Values, survivors, effective width, shares now and in the end.

    Raises
    ------
    InputError
        For factors of different shapes, without a width axis or with values that are not finite.

    Notes
    -----
    All subnetworks share one noise. At depth 1 u_i + s w_i (s the side) are multiplied by one number at every step and
    u_i - s w_i die out, so the shares end at :math:`(u_i + s w_i)^2/\sum_j (u_j + s w_j)^2`: memory of the start.
    At depth 2 and above the survivors become equal. A subnetwork on the other side vanishes if its two smallest
    factors are equal in size, which locks its sign; else it crosses zero and survives (Ziyin, Li and Ueda 2025,
    Theorem 4.1, without its assumption of balance). Equal is, at depth 2 and above, what differs by less than 1000
    roundings of the precision of ``params``: trained factors are balanced to rounding only. Weight decay at depth 2
    and above, which makes zero attract in the very long run, is left out.

    Examples
    --------
    >>> import numpy as np, sgdvi
    >>> subnetworks = sgdvi.subnetworks([[0.8, 0.5, -0.3], [0.8, 0.5, 0.3]])
    >>> int(subnetworks.effective_width), subnetworks.final_shares.round(3).tolist()
    (2, [0.719, 0.281, 0.0])
    """
    factors, rounding = _stack(params)
    share = positive("tolerance", tolerance)
    require(share < 1, "tolerance must be below 1", tolerance)
    require(sign is None or (np.ndim(sign) == 0 and sign in (1, -1)), "sign must be 1, -1 or None", sign)
    values = factors.prod(0)
    side = np.where(values.sum(-1) < 0, -1, 1) if sign is None else np.full(values.shape[:-1], sign)
    # at depth 1 a difference of rounding grows exponentially until it counts; at depth 2 and above it does not grow
    equal = _RESOLVED * rounding if len(factors) > 2 else 0.0
    surviving = np.broadcast_to(Start(factors).survivors(side[..., None], equal), values.shape)
    size = np.abs(values)
    visible = size > share * size.sum(-1, keepdims=True)
    return Subnetworks(factors, values, side, surviving, visible, _final(factors, side, surviving), share, rounding)


def _stack(params: Any) -> tuple[np.ndarray, float]:
    """Return the factors, shape (depth + 1, ..., width), and the relative rounding that they came with."""
    if "posterior" in getattr(params, "children", {}):  # a DataTree
        params = params["posterior"]
    parts = list(params.values()) if isinstance(params, Mapping) else params
    try:
        given = [np.asarray(part) for part in parts]
        arrays = [array.astype(np.float64) for array in given]
    except (TypeError, ValueError):
        rule = "params must be arrays of numbers, one for each factor"
        raise InputError(message(rule, textwrap.shorten(repr(params), _WIDTH))) from None
    require(arrays, "params must have at least one factor", "none")
    shapes = sorted({array.shape for array in arrays})
    require(len(shapes) == 1, "the factors must have one shape, (..., width)", shapes)
    advice = "A network of width 1 has factors of shape (..., 1)."
    require(arrays[0].ndim and arrays[0].size, "the factors must have shape (..., width)", shapes[0], advice)
    factors = np.stack(arrays)
    bad = int((~np.isfinite(factors)).sum())
    require(not bad, "params must be finite", f"{bad} of {factors.size} that are not", "Leave overflowed chains out.")
    return factors, max(float(np.finfo(array.dtype if array.dtype.kind == "f" else float).eps) for array in given)


def _final(factors: np.ndarray, side: np.ndarray, surviving: np.ndarray) -> np.ndarray:
    if len(factors) == 1:
        # Depth 0: the noise moves all v_i alike, and only a weight decay would make them forget their differences.
        return np.full(surviving.shape, np.nan)
    if len(factors) == 2:
        weights = (factors[0] + side[..., None] * factors[1]) ** 2
    else:
        weights = surviving.astype(float)
    total = weights.sum(-1, keepdims=True)
    return np.divide(weights, total, out=np.zeros(weights.shape), where=total > 0)


def _sum_and_difference(factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return factors[0] + factors[1], factors[0] - factors[1]


def _apart(now: np.ndarray, then: np.ndarray) -> np.ndarray:
    """Largest difference of two vectors, each divided by its entry where the second is largest; zeros stay zeros."""
    place = np.abs(then).argmax(-1)[..., None]
    scaled = []
    for vectors in (now, then):
        unit = np.take_along_axis(vectors, place, -1)
        scaled.append(np.divide(vectors, unit, out=np.zeros(vectors.shape), where=unit != 0))
    return np.abs(scaled[0] - scaled[1]).max(-1)
