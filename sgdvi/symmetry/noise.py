"""The noise of the gradient: its variance entry by entry, and the covariances C1 and C2 of one rescaling symmetry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.arguments import checked
from sgdvi._internal.check import require
from sgdvi.symmetry._loss import Leaves, SampleLoss
from sgdvi.symmetry._slices import Group

# Blocks that stay in the cache of a processor are faster than larger ones.
_BLOCK_ROWS = 64
_SINGULAR = 1e-12


@dataclass(frozen=True, eq=False)
class GradientNoise:
    """Mean and variance (divisor N) of the per-sample gradient, entry by entry.

    Attributes
    ----------
    mean, variance
        Lists of arrays in the order of the leaves of the parameters, float64.
    num_rows
        Number of samples N.
    """

    mean: Leaves
    variance: Leaves
    num_rows: int

    @classmethod
    def at(cls, loss: SampleLoss, leaves: Leaves) -> "GradientNoise":
        """Go through all rows once, in blocks whose gradients take a bounded memory."""
        _require_single(loss)
        step, count = _block_moments(loss), 0
        mean, scatter = ([np.zeros(leaf.shape) for leaf in leaves] for _ in range(2))
        with jax.enable_x64(True):
            placed = [jnp.asarray(leaf) for leaf in leaves]
            for block in loss.blocks(sum(leaf.size for leaf in leaves), _BLOCK_ROWS):
                means, scatters = step(placed, loss.rows(block))
                size, total = len(block), count + len(block)
                for one, two, new_mean, new_scatter in zip(mean, scatter, means, scatters, strict=True):
                    # Chan's update: no cancellation between large sums of squares
                    apart = np.asarray(new_mean) - one
                    two += np.asarray(new_scatter) + apart**2 * (count * size / total)
                    one += apart * (size / total)
                count = total
        loss.check_finite(scatter, "the per-sample gradient")
        return cls(mean, [two / count for two in scatter], count)

    def trace(self, group: Group) -> float:
        """Return the trace of the covariance on one group of parameters."""
        return float(self.variance[group.leaf][group.where].sum())


@checked
def gradient_noise(loss: Callable[[Any, Any], Any], params: Any, data: Any) -> GradientNoise:
    """Mean and variance of the per-sample gradient of a loss, in blocks, with memory bounded for large models.

    Parameters
    ----------
    loss
        loss(params, batch) -> per-sample losses, shape (B,).
    params
        Pytree of floating arrays; None takes those of a `Loss`.
    data
        Pytree of arrays with N rows each.

    Raises
    ------
    InputError
        For a loss, parameters or data that cannot be used, and for a loss whose rows depend on each other.
    """
    checked = SampleLoss.of(loss, params, data)
    return GradientNoise.at(checked, checked.leaves)


def gradients_of_rows(loss: SampleLoss, leaves: Leaves, most: int) -> Leaves:
    """Return the gradients of the rows' losses, arrays (K, ...) like the leaves: of all rows, or of `most` of them.

    Raises
    ------
    InputError
        For a loss whose rows depend on each other, and gradients that are not finite.
    """
    _require_single(loss)
    chosen = np.unique(np.linspace(0, loss.num_rows - 1, min(most, loss.num_rows)).astype(int))
    step, parts = _block_gradients(loss), []
    with jax.enable_x64(True):
        placed = [jnp.asarray(leaf) for leaf in leaves]
        for start in range(0, len(chosen), _BLOCK_ROWS):
            block = chosen[start : start + _BLOCK_ROWS]
            parts.append([np.asarray(each) for each in step(placed, loss.rows(block))])
    gradients = [np.concatenate(each) for each in zip(*parts, strict=True)]
    loss.check_finite(gradients, "the per-sample gradient")
    return gradients


Sides = tuple[Sequence[Group], Sequence[Group]]


def outer_covariances(loss: SampleLoss, leaves: Leaves, pairs: Sequence[Sides]) -> list[tuple[np.ndarray, np.ndarray]]:
    """C1 = E[A^T A] - E[A]^T E[A] and C2 = E[A A^T] - E[A] E[A]^T for losses that depend on u and w through u w^T.

    A solves A u = dl/dw and A^T w = dl/du, sample by sample, and has rank one: A = (dl/dw)(dl/du)^T/s with
    s = <w, dl/dw> = <u, dl/du>. For a neuron of a dense layer, and for one-dimensional u and w, this is
    A_ki = dl/d(u_i w_k). Where s = 0 although a gradient is not, the solution of smallest norm is taken.

    Parameters
    ----------
    loss, leaves
        Loss and parameters.
    pairs
        Groups of u and groups of w, one pair for each symmetry; all share one pass over the samples.

    Returns
    -------
    list
        C1 (n_u, n_u) and C2 (n_w, n_w) of each pair.
    """
    _require_single(loss)
    places = [(_entries(leaves, u), _entries(leaves, w)) for u, w in pairs]
    theta = np.concatenate([leaf.ravel() for leaf in leaves])
    totals = [[np.zeros((len(w), len(u))), np.zeros((len(u),) * 2), np.zeros((len(w),) * 2)] for u, w in places]
    largest = max((len(u) * len(w) for u, w in places), default=0)
    step = _block_gradients(loss)
    with jax.enable_x64(True):
        placed = [jnp.asarray(leaf) for leaf in leaves]
        for block in loss.blocks(max(largest, len(theta)), _BLOCK_ROWS):
            gradients = np.concatenate(
                [np.asarray(g).reshape(len(block), -1) for g in step(placed, loss.rows(block))], 1
            )
            for total, (u, w) in zip(totals, places, strict=True):
                parts = _outer(gradients[:, u], gradients[:, w], theta[u], theta[w])
                for whole, part in zip(total, parts, strict=True):
                    whole += part
    result = []
    for total in totals:
        mean, left, right = (part / loss.num_rows for part in total)
        result.append((left - mean.T @ mean, right - mean @ mean.T))
    return result


def _entries(leaves: Leaves, groups: Sequence[Group]) -> np.ndarray:
    """Numbers of the entries of these groups in all leaves, flattened one after the other."""
    starts = np.cumsum([0, *(leaf.size for leaf in leaves)])
    numbered = [np.arange(leaf.size).reshape(leaf.shape) + start for leaf, start in zip(leaves, starts, strict=False)]
    return np.concatenate([numbered[group.leaf][group.where].ravel() for group in groups])


def _outer(of_u: np.ndarray, of_w: np.ndarray, at_u: np.ndarray, at_w: np.ndarray) -> list[np.ndarray]:
    """Sums of A, A^T A and A A^T over the samples: (n_w, n_u), (n_u, n_u) and (n_w, n_w)."""
    s, uu, ww = of_w @ at_w, at_u @ at_u, at_w @ at_w
    regular = np.abs(s) > _SINGULAR * np.linalg.norm(of_w, axis=1) * np.sqrt(ww)
    # A = left right^T, a matrix of rank one, is never formed
    left, right = of_w * np.divide(1.0, s, out=np.zeros(len(s)), where=regular)[:, None], of_u
    sizes = [(side**2).sum(1)[:, None] for side in (left, right)]
    sums = [left.T @ right, (sizes[0] * right).T @ right, (sizes[1] * left).T @ left]
    odd = ~regular & (of_u.any(1) | of_w.any(1))
    if odd.any() and uu > 0 and ww > 0:
        # smallest norm: A = dl/dw u^T/|u|^2 + w dl/du^T/|w|^2, as s = 0 there
        a = of_w[odd, :, None] * at_u / uu + (at_w / ww)[:, None] * of_u[odd, None, :]
        sums[0] += a.sum(0)
        sums[1] += np.einsum("nki,nkj->ij", a, a, optimize=True)
        sums[2] += np.einsum("nki,nli->kl", a, a, optimize=True)
    return sums


def _require_single(loss: SampleLoss) -> None:
    rule = "the noise of the gradient is defined where the loss of a row does not depend on the other rows"
    advice = "Use batch normalisation with fixed statistics."
    require(not loss.coupled, rule, "a loss that couples the rows of a batch", advice)


def _block_gradients(loss: SampleLoss) -> Callable[[list[jax.Array], Any], list[jax.Array]]:
    if "_block_gradients" not in loss.__dict__:

        def at_row(leaves: list[jax.Array], row: Any) -> jax.Array:
            return loss.call(leaves, jax.tree.map(lambda leaf: leaf[None], row))[0]

        loss.__dict__["_block_gradients"] = jax.jit(jax.vmap(jax.grad(at_row), (None, 0)))
    gradients: Callable[..., Any] = loss.__dict__["_block_gradients"]
    return gradients


def _block_moments(loss: SampleLoss) -> Callable[[list[jax.Array], Any], tuple[list[jax.Array], list[jax.Array]]]:
    if "_block_moments" not in loss.__dict__:
        of_rows = _block_gradients(loss)

        def step(leaves: list[jax.Array], rows: Any) -> tuple[list[jax.Array], list[jax.Array]]:
            gradients = of_rows(leaves, rows)
            means = [gradient.mean(axis=0) for gradient in gradients]
            pairs = zip(gradients, means, strict=True)
            return means, [((gradient - mean) ** 2).sum(axis=0) for gradient, mean in pairs]

        loss.__dict__["_block_moments"] = jax.jit(step)
    step_of_loss: Callable[..., Any] = loss.__dict__["_block_moments"]
    return step_of_loss
