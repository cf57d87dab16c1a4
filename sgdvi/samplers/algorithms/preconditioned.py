r"""SGD with a matrix in place of a rate, with or without noise of its own: flavours that come near the posterior.

Every one moves by :math:`z \leftarrow z - P \nabla L_{batch}(z) + N(0, Q)`; P and Q come from the curvature and the
gradient noise at the mode, found from the data when a run begins.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi._internal.batches import Batching
from sgdvi._internal.check import InputError, message, positive, require, whole
from sgdvi._internal.tree import Arguments
from sgdvi.samplers.algorithms._steps import StepInfo, Steps, moved
from sgdvi.samplers.diagonal import LocalDiagonal
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm, Batch
from sgdvi.samplers.quadratic import LocalQuadratic, Surroundings, draw_of
from sgdvi.samplers.recipes import GaussianLaw, Recipe
from sgdvi.samplers.targets.base import Params, Target
from sgdvi.samplers.targets.make import Source


def preconditioned(root: np.ndarray, noise_root: np.ndarray | None, learning_rate: float) -> Algorithm:
    """Return the algorithm whose step is P = root root' times the gradient, with noise of covariance Q = its root's.

    Roots are (D, D), or (D,) for diagonal ones.
    """

    def init(z: Params) -> Steps:
        return Steps(z, (), jnp.int32(0))

    def step(key: jax.Array, state: Steps, batch: Batch) -> tuple[Steps, StepInfo]:
        loss, gradient = batch.value_and_grad(state.z)
        normal = None if noise_root is None else jax.random.normal(key, (len(noise_root),), loss.dtype)
        z = moved(state.z, gradient, root, 1.0, normal, noise_root)
        return Steps(z, (), state.step + 1), StepInfo(loss, jnp.asarray(learning_rate, loss.dtype))

    return Algorithm(init, step)


def _unprepared(*_: Any) -> Any:
    rule = "a sampler that is tuned to the data must see them before it steps"
    raise InputError(message(rule, "no data yet", "Give it to sgdvi.sample or numpyro.infer.MCMC."))


class TunedSGD(Sampler):
    """SGD whose matrix is found from the data at the beginning of a run.

    Above 300 parameters, to 20,000, the matrix is diagonal: variances are then the posterior's as far as parameters
    are uncorrelated. That of `CompletedSGD` is a diagonal plus the 64 steepest directions, and its noise likewise, at a
    rate at which variances are within about a tenth of the posterior's in every direction where the loss is quadratic.

    Parameters
    ----------
    model
        NumPyro model, or `Loss`.
    batch_size
        Rows of a minibatch, S; None takes what the flavour needs: see each.
    learning_rate
        Factor of the matrix; None takes the flavour's rule.
    batching
        "replacement" or "without-replacement".
    near
        `local_quadratic` of the model on the data, where it is known; None finds it when the data come.

    Raises
    ------
    InputError
        For settings out of range; when a run begins, for data without a joint mode (the message says along which sites
        the density rises), and a learning rate at which there is no law.
    """

    flavour: ClassVar[str]

    def __init__(
        self,
        model: Source,
        batch_size: int | None = None,
        *,
        learning_rate: float | None = None,
        batching: str = Batching.REPLACEMENT,
        near: LocalQuadratic | None = None,
    ) -> None:
        size = 1 if batch_size is None else whole("batch_size", batch_size, least=1)
        super().__init__(model, Algorithm(_unprepared, _unprepared), size, batching=batching)
        rate = None if learning_rate is None else positive("learning_rate", learning_rate)
        independent = self.batching in (Batching.REPLACEMENT, Batching.WITHOUT_REPLACEMENT)
        advice = "Epochs and full batches have no noise that a rate could be matched to."
        kinds = 'batching must be "replacement" or "without-replacement"'
        require(independent, kinds, repr(self.batching.value), advice)
        self._asked: dict[str, Any] = {"batch_size": batch_size, "learning_rate": rate, "batching": self.batching.value}
        self._surroundings = Surroundings(model, near)
        self._tuned: tuple[LocalQuadratic | LocalDiagonal, Recipe, GaussianLaw] | None = None

    @property
    def near(self) -> LocalQuadratic | LocalDiagonal:
        """Mode, curvature and gradient noise that the matrix comes from; an error before the sampler has seen data."""
        return self._surroundings.known

    @property
    def recipe(self) -> Recipe:
        """Rate, matrix and noise; an error before the sampler has seen data."""
        return self._tuned[1] if self._tuned else _unprepared()

    @property
    def law(self) -> GaussianLaw:
        """The law that the sampler has near the mode; an error before the sampler has seen data."""
        return self._tuned[2] if self._tuned else _unprepared()

    def prepare(self, arguments: Arguments, num_data: int | None = None) -> Target:
        """See `Sampler`; also finds the mode, and what follows from it, unless the data are those of last time."""
        near = self._surroundings.find(arguments, num_data)
        if self._tuned is None or self._tuned[0] is not near:
            recipe = near.recipe(self.flavour, **self._asked)
            law, noise = near.law(recipe), recipe.injected
            self._tuned = near, recipe, law
            if recipe.low_rank is not None:
                self._algorithm = recipe.low_rank.algorithm()
            else:
                noise_root = None if noise is None else near.factor(noise)
                self._algorithm = preconditioned(near.factor(recipe.step), noise_root, recipe.learning_rate)
            self.batch_size = recipe.batch_size
            self._settings = {
                "flavour": self.flavour, "learning_rate": recipe.learning_rate, "relaxation": law.relaxation,
            }  # fmt: skip
        return super().prepare(arguments, num_data)

    def start(self, key: jax.Array) -> Params:
        """Where a chain starts unless the caller says otherwise: at a draw of the law that it will have."""
        return draw_of(self.near, self.law, key)


class ScaledSGD(TunedSGD):
    r"""SGD with one learning rate per parameter, the inverse of its gradient noise.

    .. math:: z_i \leftarrow z_i - \eta\, g_i / C_{ii}, \qquad \eta = 2 S / N

    is the best diagonal matrix of Mandt, Hoffman and Blei (2017), or half the stability limit where that is less. It
    gives no posterior where parameters are correlated: there only a matrix helps. Batches are of min(16, N) rows.

    Parameters and errors are those of `sgdvi.samplers.TunedSGD`.
    """

    kind = "scaled-sgd"
    flavour = "scaled"


class WhitenedSGD(TunedSGD):
    r"""SGD in coordinates in which the Laplace posterior is round: the gradient times the inverse Hessian at the mode.

    .. math:: z \leftarrow z - \eta H^{-1} g, \qquad \text{with the } \eta \text{ of least KL}

    All directions relax in 1/eta steps, whatever the condition number; the variances are right on average, and wrong by
    the eigenvalues of :math:`H^{-1/2} C H^{-1/2}` (1 in a well-specified model). Batches are of N/50 rows, a power of
    2 up to 64.

    Parameters and errors are those of `sgdvi.samplers.TunedSGD`.
    """

    kind = "whitened-sgd"
    flavour = "whitened"


class MandtSGD(TunedSGD):
    r"""SGD with the full preconditioner of Mandt, Hoffman and Blei (2017), in discrete time.

    .. math:: z \leftarrow z - 2 \eta\, (N C / S + H)^{-1} g

    with C the covariance of the rows' gradients over the posterior, and eta = 1: then the noise of the minibatches
    alone gives the posterior's covariance. Directions without noise, such as the scale of a hierarchy, which no row's
    gradient touches, are beyond it: see `CompletedSGD`. Batches as for `WhitenedSGD`.

    Parameters and errors are those of `sgdvi.samplers.TunedSGD`.
    """

    kind = "mandt-sgd"
    flavour = "mandt"


class CompletedSGD(TunedSGD):
    r"""SGD with the noise that it lacks: a law whose covariance is the posterior's, at any learning rate.

    .. math:: z \leftarrow z - \eta H^{-1} g + N(0, Q), \qquad
        Q = \big[1 - (1 - \eta)^2\big] \frac{H^{-1}}{N} -
        \frac{\eta^2}{S} H^{-1} \Big(C + \frac{E_i[B_i H^{-1} B_i] - H}{N}\Big) H^{-1}

    with the Hessian H, the covariance C of the rows' gradients and the rows' Hessians B_i at the mode. It is stochastic
    gradient Fisher scoring (Ahn, Korattikara and Welling 2012) with the discrete-time noise, exact where the loss is
    quadratic. The learning rate is the largest at which Q is a covariance, up to 0.1, and a quarter of it for more
    than one parameter to 20 rows. Batches as for `WhitenedSGD`; one relaxation takes 25 to 150 steps.

    Parameters and errors are those of `sgdvi.samplers.TunedSGD`.

    References
    ----------
    Ahn, Korattikara and Welling (2012), Bayesian posterior sampling via stochastic gradient Fisher scoring.
    """

    kind = "completed-sgd"
    flavour = "completed"
