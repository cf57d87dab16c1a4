"""The noise of the gradient: its variance entry by entry, and the covariances C1 and C2 of one rescaling symmetry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._check import require
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


def gradient_noise(loss: Callable[[Any, Any], Any], params: Any, data: Any) -> GradientNoise:
    """Mean and variance of the per-sample gradient of a loss, in blocks, with memory bounded for large models.

    Parameters
    ----------
    loss
        loss(params, batch) -> per-sample losses, shape (B,).
    params
        Pytree of floating arrays.
    data
        Pytree of arrays with N rows each.

    Raises
    ------
    InputError
        For a loss, parameters or data that cannot be used, and for a loss whose rows depend on each other.
    """
    checked = SampleLoss.of(loss, params, data)
    return GradientNoise.at(checked, checked.leaves)


def outer_covariances(
    loss: SampleLoss, leaves: Leaves, u: list[Group], w: list[Group]
) -> tuple[np.ndarray, np.ndarray]:
    """C1 = E[A^T A] - E[A]^T E[A] and C2 = E[A A^T] - E[A] E[A]^T for a loss that depends on u and w through u w^T.

    A solves A u = dl/dw and A^T w = dl/du, sample by sample, and has rank one: A = (dl/dw)(dl/du)^T/s with
    s = <w, dl/dw> = <u, dl/du>. For a neuron of a dense layer, and for one-dimensional u and w, this is
    A_ki = dl/d(u_i w_k). Where s = 0 although a gradient is not, the solution of smallest norm is taken.

    Returns
    -------
    tuple
        C1 (n_u, n_u) and C2 (n_w, n_w).
    """
    _require_single(loss)
    theta = np.concatenate([leaves[group.leaf][group.where].ravel() for group in [*u, *w]])
    size_u = sum(leaves[group.leaf][group.where].size for group in u)
    size_w = len(theta) - size_u

    def sample_loss(entries: jax.Array, row: Any) -> jax.Array:
        changed, start = list(map(jnp.asarray, leaves)), 0
        for group in [*u, *w]:
            shape = leaves[group.leaf][group.where].shape
            count = int(np.prod(shape))
            part = entries[start : start + count].reshape(shape)
            changed[group.leaf] = changed[group.leaf].at[group.where].set(part)
            start += count
        return loss.call(changed, jax.tree.map(lambda leaf: leaf[None], row))[0]

    @jax.jit
    def step(entries: jax.Array, rows: Any) -> tuple[jax.Array, ...]:
        gradients = jax.vmap(jax.grad(sample_loss), (None, 0))(entries, rows)
        of_u, of_w = gradients[:, :size_u], gradients[:, size_u:]
        at_u, at_w = entries[:size_u], entries[size_u:]
        s, uu, ww = of_w @ at_w, at_u @ at_u, at_w @ at_w
        regular = jnp.abs(s) > _SINGULAR * jnp.linalg.norm(of_w, axis=1) * jnp.sqrt(ww)
        inverse = jnp.where(regular, 1 / jnp.where(regular, s, 1.0), 0.0)
        # smallest norm: A = dl/dw u^T/|u|^2 + w dl/du^T/|w|^2, as s = 0 there
        a = inverse[:, None, None] * of_w[:, :, None] * of_u[:, None, :] + (~regular)[:, None, None] * (
            of_w[:, :, None] * at_u / uu + (at_w / ww)[:, None] * of_u[:, None, :]
        )
        return a.sum(0), jnp.einsum("nki,nkj->ij", a, a), jnp.einsum("nki,nli->kl", a, a)

    totals = [np.zeros((size_w, size_u)), np.zeros((size_u, size_u)), np.zeros((size_w, size_w))]
    with jax.enable_x64(True):
        for block in loss.blocks(size_u * size_w + sum(leaf.size for leaf in leaves)):
            for total, part in zip(totals, step(jnp.asarray(theta), loss.rows(block)), strict=True):
                total += np.asarray(part)
    mean, left, right = (total / loss.num_rows for total in totals)
    return left - mean.T @ mean, right - mean @ mean.T


def _require_single(loss: SampleLoss) -> None:
    rule = "the noise of the gradient is defined where the loss of a row does not depend on the other rows"
    advice = "Use batch normalisation with fixed statistics."
    require(not loss.coupled, rule, "a loss that couples the rows of a batch", advice)


def _block_moments(loss: SampleLoss) -> Callable[[list[jax.Array], Any], tuple[list[jax.Array], list[jax.Array]]]:
    if "_block_moments" not in loss.__dict__:

        def at_row(leaves: list[jax.Array], row: Any) -> jax.Array:
            return loss.call(leaves, jax.tree.map(lambda leaf: leaf[None], row))[0]

        def step(leaves: list[jax.Array], rows: Any) -> tuple[list[jax.Array], list[jax.Array]]:
            gradients = jax.vmap(jax.grad(at_row), (None, 0))(leaves, rows)
            means = [gradient.mean(axis=0) for gradient in gradients]
            pairs = zip(gradients, means, strict=True)
            return means, [((gradient - mean) ** 2).sum(axis=0) for gradient, mean in pairs]

        loss.__dict__["_block_moments"] = jax.jit(step)
    step_of_loss: Callable[..., Any] = loss.__dict__["_block_moments"]
    return step_of_loss
