"""GL(k) symmetries of matrix products: families of scalings whose charges are a symmetric k x k matrix."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgdvi._internal.check import positive
from sgdvi.symmetry._loss import Leaves
from sgdvi.symmetry.equilibrium import Equilibrium
from sgdvi.symmetry.scaling import Symmetry, equilibrium_of

# part of one member: leaf, its fixed axes, sign of the exponent
_Place = tuple[int, tuple[int, ...], float]


@dataclass(frozen=True, eq=False)
class MatrixFamily:
    """U -> U M, W -> M^-1 W leaves every sample's loss the same, for every invertible k x k matrix M.

    Its charges are the matrix Q = U^T U - W W^T, whose diagonal holds those of the k scalings
    (a hidden bias is a column appended to W). Under SGD every entry obeys
    Q' = (1 - 2 eta gamma)^2 Q + eta^2 (G_U^T G_U - G_W G_W^T) to rounding.

    Attributes
    ----------
    members
        The k scalings, in the order of the rows of Q.
    """

    members: tuple[Symmetry, ...] = field(repr=False)

    @property
    def size(self) -> int:
        """k."""
        return len(self.members)

    @property
    def weight_decay(self) -> float:
        """Gamma, as for the members."""
        return self.members[0].weight_decay

    def __str__(self) -> str:
        return f"GL({self.size}): {self.members[0]}, and {self.size - 1} more"

    def equilibrium(
        self,
        temperature: float,
        weight_decay: float | None = None,
        *,
        params: Any = None,
        learning_rate: float | None = None,
    ) -> Equilibrium:
        r"""Return where SGD comes to rest along the whole family: U -> U M, W -> M^-1 W with P = M M' and P Q P = R.

        :math:`P = Q^{-1/2} (Q^{1/2} R Q^{1/2})^{1/2} Q^{-1/2}` with R = W (K1 + x) W', Q = U' (K2 + x) U, x = 4 gamma/T
        and the noise K1, K2 of dl/d(UW) on either side. Arguments as in `Symmetry.equilibrium`; charges and norm ratios
        are those of the k scalings.
        """
        groups = [member.groups for member in self.members]
        return equilibrium_of(self.members, [groups], temperature, weight_decay, params, learning_rate)

    def charge(self, params: Any) -> np.ndarray:
        """Return Q, shape (k, k)."""
        return self._charge(self.members[0].loss.flatten(params))

    def next_charge(self, params: Any, gradient: Any, learning_rate: float) -> np.ndarray:
        """Return Q after one step of SGD by the exact discrete identity; arguments as in `Symmetry.next_charge`."""
        rate, first = positive("learning_rate", learning_rate), self.members[0]
        leaves, slope = first.loss.flatten(params), first.loss.flatten(gradient)
        slope = [one - 2 * first.penalty * leaf for one, leaf in zip(slope, leaves, strict=True)]
        return (1 - 2 * rate * self.weight_decay) ** 2 * self._charge(leaves) + rate**2 * self._charge(slope)

    def _charge(self, leaves: Leaves) -> np.ndarray:
        total = np.zeros((self.size, self.size))
        for sign, part in parts(leaves, self.members):
            total += sign * part @ part.T
        return total


def parts(leaves: Sequence[np.ndarray], members: Sequence[Symmetry]) -> list[tuple[float, np.ndarray]]:
    """Return the groups of all members, stacked: (exponent, array of shape (k, entries)) for each place."""
    stacked = []
    for number, group in enumerate(members[0].groups):
        others = [member.groups[number] for member in members]
        stacked.append((group.exponent, np.stack([leaves[other.leaf][other.where].ravel() for other in others])))
    return stacked


def find_families(
    symmetries: Sequence[Symmetry], draws: Iterable[tuple[Leaves, list[np.ndarray]]], tolerance: float
) -> tuple[MatrixFamily, ...]:
    """Find the GL(k) among scalings that have the same form: the generators E_ab, tested one by one.

    Parameters
    ----------
    symmetries
        The scalings.
    draws
        Blocks of parameters (n, ...) and their per-sample gradients (n, b, ...).
    tolerance
        Size of <dl/dtheta, E_ab theta>, relative to that of its terms, that counts as zero.
    """
    kinds: dict[tuple[_Place, ...], list[Symmetry]] = {}
    for symmetry in symmetries:
        if {group.exponent for group in symmetry.groups} == {1, -1}:
            form = tuple((group.leaf, _fixed(group.index), group.exponent) for group in symmetry.groups)
            kinds.setdefault(form, []).append(symmetry)
    tests = {form: _Generators(members, tolerance) for form, members in kinds.items() if len(members) > 1}
    for points, gradients in draws if tests else ():
        for test in tests.values():
            test.add(points, gradients)
    return tuple(MatrixFamily(block) for test in tests.values() for block in test.blocks())


def _fixed(index: tuple[int | None, ...]) -> tuple[int, ...]:
    return tuple(axis for axis, entry in enumerate(index) if entry is not None)


class _Generators:
    """Tests whether theta[b] += epsilon theta[a] on u, and its inverse transpose on w, leaves the loss the same."""

    def __init__(self, members: list[Symmetry], tolerance: float) -> None:
        self.members, self.tolerance = members, tolerance
        self.valid = np.ones((len(members),) * 2, bool)
        self.seen = np.zeros((len(members),) * 2, bool)

    def add(self, points: Leaves, gradients: list[np.ndarray]) -> None:
        penalty = 2 * self.members[0].penalty
        off = ~np.eye(len(self.members), dtype=bool)
        for point, number in ((p, n) for p in range(len(points[0])) for n in range(gradients[0].shape[1])):
            if not (self.valid & off).any():
                return  # scalings of single units alone, as in a ReLU layer: decided at the first point
            theta = [leaf[point] for leaf in points]
            slope = [g[point, number] - penalty * leaf for g, leaf in zip(gradients, theta, strict=True)]
            total, size = np.zeros_like(self.valid, float), np.zeros_like(self.valid, float)
            for (sign, at), (_, along) in zip(parts(theta, self.members), parts(slope, self.members), strict=True):
                one, two = (at, along) if sign > 0 else (along, at)
                total += sign * one @ two.T
                size += np.abs(one) @ np.abs(two).T
            self.valid &= np.abs(total) <= self.tolerance * size.max()
            self.seen |= size > self.tolerance * size.max()

    def blocks(self) -> Iterator[tuple[Symmetry, ...]]:
        mixed, left = self.valid & self.seen, list(range(len(self.members)))
        while left:
            block = [left[0], *(other for other in left[1:] if mixed[left[0], other] and mixed[other, left[0]])]
            left = [number for number in left if number not in block]
            if len(block) > 1:
                yield tuple(self.members[number] for number in block)
