"""Stochastic gradient Langevin dynamics; the step without a preconditioner is that of blackjax."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.arguments import checked
from sgdvi._internal.batches import Batching
from sgdvi._internal.check import non_negative, real_array, require
from sgdvi._internal.tree import Arguments
from sgdvi.samplers.algorithms._settings import Schedule, as_before, as_schedule, blackjax_module, shown
from sgdvi.samplers.algorithms._steps import StepInfo, Steps, moved
from sgdvi.samplers.diagonal import LocalDiagonal
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.quadratic import LocalQuadratic, Surroundings, draw_of
from sgdvi.samplers.targets.base import Params, Target
from sgdvi.samplers.targets.make import Source


def sgld(learning_rate: float | Schedule, temperature: float) -> Algorithm:
    """Return the algorithm: see `SGLD`."""
    rate, heat = as_schedule("learning_rate", learning_rate), non_negative("temperature", temperature)
    kernel = blackjax_module("sgmcmc.sgld").build_kernel()

    def init(z: Params) -> Steps:
        return Steps(z, (), jnp.int32(0))

    def step(key: jax.Array, state: Steps, batch: Batch) -> tuple[Steps, StepInfo]:
        loss, gradient = batch.value_and_grad(state.z)
        # blackjax follows the log density -N L, so that a step of eta on L is one of eta / N
        size, now = batch.num_data, jnp.asarray(rate(state.step))
        ascent = jax.tree.map(lambda leaf: -size * leaf, gradient)
        z = kernel(key, state.z, lambda *_: ascent, None, now / size, heat)
        return Steps(as_before(z, state.z), (), state.step + 1), StepInfo(loss, now)

    return Algorithm(init, step)


def preconditioned_sgld(learning_rate: float | Schedule, temperature: float, root: np.ndarray) -> Algorithm:
    """Return the algorithm with the preconditioner root root', or root^2 for a vector: see `SGLD`."""
    rate, heat = as_schedule("learning_rate", learning_rate), non_negative("temperature", temperature)

    def init(z: Params) -> Steps:
        return Steps(z, (), jnp.int32(0))

    def step(key: jax.Array, state: Steps, batch: Batch) -> tuple[Steps, StepInfo]:
        loss, gradient = batch.value_and_grad(state.z)
        now = jnp.asarray(rate(state.step), loss.dtype)
        noise_scale = jnp.sqrt(2 * now * heat / batch.num_data)
        normal = jax.random.normal(key, (root.shape[-1],), loss.dtype)
        z = moved(state.z, gradient, root, now, noise_scale * normal)
        return Steps(z, (), state.step + 1), StepInfo(loss, now)

    return Algorithm(init, step)


class SGLD(Sampler):
    r"""Stochastic gradient Langevin dynamics (Welling and Teh 2011), with or without a preconditioner.

    .. math:: z_{t+1} = z_t - \eta G \nabla L_{batch}(z_t) + \sqrt{2 \eta \tau / N}\, G^{1/2} n_t

    with n standard normal and G = 1 unless given. **Converges to** :math:`\exp(-N L / \tau)`, the posterior at
    temperature 1, as the learning rate goes to 0. At a constant rate the noise of the minibatch adds to the variance,
    without G by a share of :math:`\eta N C / (2 \tau S)` for a gradient covariance C. With G the inverse Hessian at the
    mode all directions take the same 1/eta steps; without, the slowest takes as many more as the Hessian's condition
    number says.

    Parameters
    ----------
    model, batch_size, batching
        As in `Sampler`.
    learning_rate
        The rate eta on L (negative log joint / N), or a schedule of it: a function of the number of steps taken.
    temperature
        tau; 0 is plain SGD.
    preconditioner
        G, in the order of the raveled parameters: a symmetric positive definite matrix, (D, D), or its diagonal, (D,).
        Or "curvature": the inverse Hessian at the mode, found when a run begins, whose chains start at draws of the
        Laplace posterior. A rate of 0.2 S / N then widens
        variances by a tenth. Above 300 parameters it is the inverse of the Hessian's diagonal.

    Raises
    ------
    InputError
        For a rate that is not above 0, a negative temperature, a preconditioner that is none, and where blackjax is not
        installed (needed without a preconditioner).
    """

    kind = "sgld"
    packages: tuple[str, ...] = ("blackjax",)

    @checked
    def __init__(
        self,
        model: Source,
        learning_rate: float | Schedule,
        batch_size: int | None = 1,
        *,
        temperature: float = 1.0,
        preconditioner: Any = None,
        batching: str = Batching.REPLACEMENT,
    ) -> None:
        self._asked = learning_rate, temperature
        self._surroundings: Surroundings | None = None
        self._near: LocalQuadratic | LocalDiagonal | None = None
        settings = {"learning_rate": shown(learning_rate), "posterior_temperature": float(temperature)}
        if preconditioner is None:
            algorithm = sgld(learning_rate, temperature)
        else:
            self.packages = ()
            if isinstance(preconditioner, str):
                rule = 'preconditioner must be "curvature", a matrix or a diagonal'
                require(preconditioner == "curvature", rule, repr(preconditioner))
                self._surroundings, root = Surroundings(model), np.ones(0)
                settings["preconditioner"] = "curvature"
            else:
                root = _root(preconditioner)
            algorithm = preconditioned_sgld(learning_rate, temperature, root)
        super().__init__(model, algorithm, batch_size, batching=batching, settings=settings)

    def prepare(self, arguments: Arguments, num_data: int | None = None) -> Target:
        """See `Sampler`; also finds the mode where its curvature is the preconditioner."""
        if self._surroundings is not None:
            near = self._surroundings.find(arguments, num_data)
            if near is not self._near:
                self._near = near
                self._algorithm = preconditioned_sgld(*self._asked, _curvature_root(near))
        return super().prepare(arguments, num_data)

    def start(self, key: jax.Array) -> Params | None:
        """See `Sampler`: with the curvature at hand, a draw of the Laplace posterior."""
        return None if self._near is None else draw_of(self._near, self._near.laplace, key)


def _curvature_root(near: LocalQuadratic | LocalDiagonal) -> np.ndarray:
    """Return a root of the inverse Hessian, or of its inverse diagonal."""
    return 1 / np.sqrt(near.curvature) if isinstance(near, LocalDiagonal) else near.num_data**0.5 * near.near.root


def _root(preconditioner: Any) -> np.ndarray:
    """Return a root of a preconditioner, (D, D), or of a diagonal one, (D,)."""
    matrix = real_array("preconditioner", preconditioner).astype(np.float64)
    rule = "preconditioner must be a symmetric positive definite matrix (D, D), or its diagonal (D,)"
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
    require(matrix.size and (matrix.ndim == 1 or square) and np.isfinite(matrix).all(), rule, f"shape {matrix.shape}")
    if matrix.ndim == 1:
        require((matrix > 0).all(), rule, f"an entry of {matrix.min():.3g}")
        return np.sqrt(matrix)
    values, vectors = np.linalg.eigh(matrix)
    require(np.allclose(matrix, matrix.T) and values[0] > 0, rule, f"an eigenvalue of {values[0]:.3g}")
    return vectors * np.sqrt(values)
