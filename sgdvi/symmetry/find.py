"""Find the scaling symmetries of a loss: null space of radial derivatives, integer exponents, fresh verification."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sgdvi._internal.arguments import checked
from sgdvi._internal.card import card
from sgdvi._internal.check import non_negative, positive, require, whole
from sgdvi._internal.tree import require_key
from sgdvi.symmetry._integers import NullSpace, integer_basis, null_space
from sgdvi.symmetry._loss import VALUE_ROWS, Leaves, SampleLoss
from sgdvi.symmetry._points import Radial, Sampler, activity, products, radial_derivatives, unused_entries
from sgdvi.symmetry._slices import Group, Slices
from sgdvi.symmetry.equilibrium import Equilibrium
from sgdvi.symmetry.families import MatrixFamily, find_families
from sgdvi.symmetry.scaling import Symmetry, equilibrium_of

# more points than unknowns, so that a vector in the null space by chance has nowhere to hide
_EXTRA_POINTS = 16
# A symmetry may fail on less than this share of parameter points, and of samples, to count as one: where a ReLU is off
# a loss does not see its parameters, so that one point or one sample says little.
_MOST_EXCEPTIONS = 0.05
_SAMPLE_EXCEPTIONS = 0.5
# Finite moves of exponent 1 are by factors of one half to two: far beyond the first order that derivatives see.
_LONGEST_MOVE = 0.7
_FAMILY_POINTS = 32
_MOVE_TOLERANCE = 1e-8
_DECAY_TOLERANCE = 1e-6
_FLOOR = 1e-300
# Rows of the table that a notebook shows.
_MOST_SHOWN = 12


@dataclass(frozen=True, eq=False)
class Symmetries(Sequence[Symmetry]):
    """The scaling symmetries of a loss, and what the decision rests on. It behaves like a tuple of `Symmetry`.

    Attributes
    ----------
    found
        The symmetries: exact ones, and those that weight decay breaks.
    families
        The GL(k) of matrix products; the symmetries on their diagonals are among `found`.
    broken
        Scalings that only a term of the loss which is the same for all samples, and is no weight decay, breaks.
    ignored
        Leaf -> number of its entries that no sample uses; they belong to no symmetry of their own. A leaf all of whose
        entries are unused is left out, such as the bias of the keys of attention or a layer that is not called; so is
        one that is in the prior alone, such as the mean of a hierarchy.
    unused
        Names of the leaves that are left out.
    tolerance, largest_dropped, smallest_kept
        The rank decision: singular values up to `tolerance` of the largest count as zero, and the nearest ones on
        either side of it.
    confidence, exceptions
        With this confidence a symmetry that was found fails on less than this share of the parameter points.
    """

    found: tuple[Symmetry, ...]
    families: tuple[MatrixFamily, ...]
    broken: tuple[Symmetry, ...]
    ignored: dict[str, int]
    unused: tuple[str, ...]
    tolerance: float
    largest_dropped: float
    smallest_kept: float
    confidence: float
    exceptions: float

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, number: Any) -> Any:
        return self.found[number]

    def __iter__(self) -> Iterator[Symmetry]:
        return iter(self.found)

    def __repr__(self) -> str:
        return f"<Symmetries: {', '.join(f'{size} {name}' for name, size in self._sizes().items())}>"

    def _repr_html_(self) -> str:
        rows = {f"symmetry {k}": str(symmetry) for k, symmetry in enumerate(self.found[:_MOST_SHOWN])}
        return card(f"Symmetries: {len(self.found)}", {**rows, "also": repr(self)})

    def _sizes(self) -> dict[str, int]:
        return {"scalings": len(self.found), "GL(k) families": len(self.families), "broken": len(self.broken)}

    def equilibrium(
        self,
        temperature: float,
        weight_decay: float | None = None,
        *,
        params: Any = None,
        learning_rate: float | None = None,
    ) -> Equilibrium:
        """Return where SGD comes to rest along all symmetries together, those of matrix products included.

        Arguments as in `Symmetry.equilibrium`; charges, norm ratios and relaxation have one entry for each symmetry.

        Raises
        ------
        InputError
            Also where there is no symmetry.
        """
        require(self.found, "the loss must have a scaling symmetry", "none")
        families = [[member.groups for member in family.members] for family in self.families]
        return equilibrium_of(self.found, families, temperature, weight_decay, params, learning_rate)

    def __str__(self) -> str:
        lines = [str(symmetry) for symmetry in self.found] or ["no scaling symmetry"]
        lines += [str(family) for family in self.families]
        lines += [f"broken by a penalty on the parameters: {', '.join(s.exponents)}" for s in self.broken]
        lines += [f"left out, as no single row depends on them: {', '.join(self.unused)}"] * bool(self.unused)
        return "\n".join(lines)


@checked
def find_symmetries(
    loss: Callable[[Any, Any], Any],
    params: Any,
    data: Any,
    *,
    key: jax.Array,
    weight_decay: float = 0.0,
    tolerance: float = 1e-9,
    confidence: float = 0.99,
    max_groups: int = 1024,
) -> Symmetries:
    """Find all scaling symmetries of a per-sample loss, without being told which parameters belong together.

    For groups a of parameters (leaves, their slices along every axis such as the rows and columns of a matrix, and
    single entries where there are few) the radial derivatives r_a = <theta_a, dl/dtheta_a> of many samples at random
    parameters form a matrix; its null space holds all exponents c with l invariant under theta_a -> lambda^{c_a}
    theta_a (theory: Ziyin, Li and Ueda 2025). Integer exponents, one symmetry per neuron where there is one, are
    recovered from it, and each is verified on fresh parameters, by its derivative and by a finite transformation.
    Everything is computed in float64.

    Parameters
    ----------
    loss
        loss(params, batch) -> per-sample losses, shape (B,). It must be deterministic.
    params
        Pytree of floating arrays. Random parameters are drawn of the same size, leaf by leaf. None takes those of a
        `Loss`.
    data
        Pytree of arrays with N rows each; ``batch`` has the same structure with B rows.
    key
        JAX key.
    weight_decay
        gamma of a decay that the optimizer adds, theta' = (1 - 2 eta gamma) theta - eta g. A decay gamma ||theta||^2
        inside the loss is found by itself.
    tolerance
        Singular values up to this share of the largest count as zero.
    confidence
        Confidence with which a symmetry holds on all but a small share of parameters and samples.
    max_groups
        Slices finer than those along one axis are considered as long as all together are at most this many.

    Returns
    -------
    Symmetries
        A sequence of `Symmetry`, in the order of the parameters.

    Raises
    ------
    InputError
        For a loss that is not finite, returns a mean or loses precision; parameters that are integers or none of which
        has an influence; too few samples; and a rank that cannot be decided at this tolerance.

    Examples
    --------
    >>> import jax, numpy as np, sgdvi
    >>> x = np.linspace(-1.0, 2.0, 20)
    >>> loss = lambda p, batch: (p["u"] * p["w"] * batch[0] - batch[1]) ** 2
    >>> symmetries = sgdvi.find_symmetries(loss, {"u": 1.0, "w": 2.0}, (x, 2 * x + 1), key=jax.random.key(0))
    >>> print(symmetries[0], symmetries[0].charge({"u": 1.0, "w": 2.0}))
    rescaling: u (+1), w (-1); exact -3.0
    """
    gamma, tolerance = non_negative("weight_decay", weight_decay), positive("tolerance", tolerance)
    require_key(key)
    require(0 < confidence < 1, "confidence must be between 0 and 1", confidence)
    most = whole("max_groups", max_groups, least=1)
    checked = SampleLoss.of(loss, params, data)
    needed = math.ceil(math.log(1 - confidence) / math.log(_SAMPLE_EXCEPTIONS))
    rule = f"data must have at least {needed} rows to decide with confidence {confidence:g}"
    require(checked.num_rows >= needed, rule, checked.num_rows, "Give more samples or ask for less confidence.")

    with jax.enable_x64(True):
        seed = int(jax.jit(jax.random.bits, static_argnames="dtype")(key, dtype="uint32"))
    sampler = Sampler(checked, seed)
    points, gradients = sampler.draw()
    first = activity(products(points, gradients))
    # the origin of the slices must not be an entry that no sample uses, such as a pixel that is always black
    corners = [tuple(int(i) for i in np.unravel_index(int(leaf.argmax()), leaf.shape)) for leaf in first]
    slices = Slices.choose([leaf.shape for leaf in checked.leaves], corners, most)
    radial = radial_derivatives(sampler, slices, slices.size + _EXTRA_POINTS)
    masks = unused_entries(radial.activity, checked.labels)
    # such a leaf may be scaled at will: no symmetry between parameters, and a null vector of its own
    unused = [number for number, mask in enumerate(masks) if mask.all()]
    slices, kept = slices.without(set(unused))
    radial = radial.only(kept)
    # a penalty is the same for all samples: differences between them do not see it
    flat = (-1, slices.size)
    null = null_space(radial.differences.reshape(flat), radial.spreads.reshape(flat), tolerance)
    vectors = integer_basis(null.basis, slices.overlaps())

    # so many points without an exception exclude a share of _MOST_EXCEPTIONS with this confidence
    checks = max(1, math.ceil(math.log(1 - confidence) / math.log(1 - _MOST_EXCEPTIONS)))
    # at points that the null space has not seen: on its own it would hold by construction
    held_out = radial_derivatives(sampler, slices, checks)
    groups = [slices.groups(vector, checked.labels, masks) for vector in vectors]
    candidates, broken = _verified(vectors, groups, held_out, checked, gamma, tolerance)
    _require_decided(len(vectors) - len(candidates) - len(broken), null, tolerance)
    found = sorted(_hold(candidates, checked, sampler, checks, tolerance), key=_place)
    families = find_families(found, (sampler.draw() for _ in range(0, _FAMILY_POINTS, sampler.block)), tolerance)
    # were the share of exceptions larger, these points would have shown one with this confidence
    exceptions = 1 - (1 - confidence) ** (1 / len(held_out.rows))
    ranks = tolerance, null.largest_dropped, null.smallest_kept
    left_out = tuple(checked.labels[number] for number in unused)
    ignored = {label: int(mask.sum()) for label, mask in zip(checked.labels, masks, strict=True) if mask.any()}
    return Symmetries(tuple(found), families, tuple(broken), ignored, left_out, *ranks, confidence, exceptions)


def _verified(
    vectors: np.ndarray,
    groups: list[tuple[Group, ...]],
    held_out: Radial,
    loss: SampleLoss,
    gamma: float,
    tolerance: float,
) -> tuple[list[Symmetry], list[Symmetry]]:
    """Return the vectors that hold at fresh points as symmetries, and those that a penalty breaks."""
    kept: list[Symmetry] = []
    broken: list[Symmetry] = []
    for vector, scaled in zip(vectors, groups, strict=True):
        deviation, penalty = _penalty(vector, held_out, tolerance)
        if deviation <= tolerance:
            symmetry = Symmetry(scaled, loss, gamma + (penalty or 0.0), penalty or 0.0, deviation)
            (broken if penalty is None else kept).append(symmetry)
    return kept, broken


def _place(symmetry: Symmetry) -> list[tuple[int, list[int]]]:
    return [(group.leaf, [-1 if entry is None else entry for entry in group.index]) for group in symmetry.groups]


def _penalty(vector: np.ndarray, held_out: Radial, tolerance: float) -> tuple[float, float | None]:
    """Return the relative deviation from invariance, up to a term without samples, and that term as weight decay.

    A decay gamma ||theta||^2 makes <dl/dtheta, A theta> = 2 gamma theta^T A theta at every point. None: another term.
    """
    weights = np.abs(vector)
    # differences between samples do not see a penalty; they are measured by what would have to cancel
    scale = np.maximum(held_out.spreads @ weights, _FLOOR)
    deviation = float((np.abs(held_out.differences @ vector) / scale).max())
    radial, size = held_out.rows @ vector, held_out.sizes @ weights
    if np.all(np.abs(radial) <= tolerance * size):
        return deviation, 0.0
    common, charge = radial[:, 0], held_out.squares @ vector
    # least squares over the points
    gamma = float(common @ charge) / float(charge @ charge) / 2
    left = np.abs(common - 2 * gamma * charge)
    fits = left <= _DECAY_TOLERANCE * 2 * gamma * (held_out.squares @ weights) + 1e-12 * size[:, 0]
    return deviation, gamma if gamma > 0 and bool(fits.all()) else None


def _hold(
    symmetries: list[Symmetry], loss: SampleLoss, sampler: Sampler, checks: int, tolerance: float
) -> list[Symmetry]:
    """Keep the symmetries under which finite transformations leave the loss the same, at `checks` fresh points."""
    if not symmetries:
        return []
    rng, size = sampler.rng, min(loss.num_rows, VALUE_ROWS)
    order = np.resize(rng.permutation(loss.num_rows), checks * size).reshape(checks, size)
    penalties = [0.0] * len(loss.leaves)
    for symmetry in symmetries:
        for group in symmetry.groups:
            penalties[group.leaf] = symmetry.penalty
    points: Leaves = []

    def same(these: list[Symmetry], theta: Leaves, rows: Any) -> bool:
        moved = _moved(theta, these, rng.uniform(-_LONGEST_MOVE, _LONGEST_MOVE, len(these)))
        with jax.enable_x64(True):
            before, after = (np.asarray(loss.values(leaves, rows)) for leaves in (theta, moved))
        decay = sum(g * ((two**2).sum() - (one**2).sum()) for g, one, two in zip(penalties, theta, moved, strict=True))
        scale = np.abs(before) + np.abs(before).mean() + abs(decay)
        return bool(np.all(np.abs(after - before - decay) <= max(_MOVE_TOLERANCE, 10 * tolerance) * scale))

    for number, numbers in enumerate(order):
        if number % sampler.block == 0:
            points, _ = sampler.draw()
        theta, rows = [point[number % sampler.block] for point in points], loss.rows(numbers)
        # all at once, as most runs keep all; one by one only where some fails
        if not same(symmetries, theta, rows):
            symmetries = [symmetry for symmetry in symmetries if same([symmetry], theta, rows)]
    return symmetries


def _moved(theta: Leaves, symmetries: list[Symmetry], steps: np.ndarray) -> Leaves:
    logs = [np.zeros(leaf.shape) for leaf in theta]
    for symmetry, step in zip(symmetries, steps, strict=True):
        for group in symmetry.groups:
            logs[group.leaf][group.where] += group.exponent * step
    return [leaf * np.exp(log) for leaf, log in zip(theta, logs, strict=True)]


def _require_decided(rejected: int, null: NullSpace, tolerance: float) -> None:
    rule = "the singular values of the radial derivatives must lie clearly above or below the tolerance"
    got = f"{null.largest_dropped:.2g} and {null.smallest_kept:.2g} beside {tolerance:.2g}"
    advice = "Give another tolerance or key, or params at which all parts of the model are active."
    require(not rejected, rule, got, advice)
