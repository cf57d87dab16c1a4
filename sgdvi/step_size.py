"""Step sizes at which constant SGD samples a Gaussian posterior, each with what it assumes."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.optimize

from sgdvi._internal.batches import noise_share
from sgdvi._internal.check import InputError, message, positive, require, whole
from sgdvi.laws.momentum import PLAIN, Momentum
from sgdvi.laws.near_minimum import NearMinimum

Kind = Literal["scalar", "diagonal", "full"]
_QUADRATIC = "the mean loss is quadratic with this Hessian, and its minimum is the posterior mean"
_CONSTANT = "the covariance of the per-sample gradients does not change over the posterior"
_LINEAR = "the per-sample gradients are linear in the parameters, with these Hessians"
_DIAGONAL = "hessian and noise are diagonal; elsewhere the rates of the parameters are near the best ones"
_SMALL = "the step is small against 1/curvature, as it is for batches small against the data"


@dataclass(frozen=True, eq=False)
class StepSize:
    """A step size and what is expected of it.

    Attributes
    ----------
    value
        Learning rate (float), or the matrix, (D, D), by which the minibatch gradient is multiplied.
    temperature
        ``value`` times the variance of a minibatch mean relative to one row: eta / S with replacement.
    covariance
        Stationary covariance of the iterates by the rule's own theory, shape (D, D).
    kl
        KL divergence of N(0, covariance) from the Gaussian posterior, in nats.
    assumptions
        What must hold for the rule to be exact.
    """

    value: float | np.ndarray
    temperature: float | np.ndarray
    covariance: np.ndarray
    kl: float
    assumptions: tuple[str, ...]


def continuous_time(
    hessian: npt.ArrayLike,
    noise: npt.ArrayLike,
    *,
    num_data: int,
    batch_size: int,
    replace: bool = True,
    kind: Kind = "scalar",
) -> StepSize:
    r"""Return the optimal constant step of Mandt, Hoffman and Blei (2017), or their optimal preconditioner.

    With A the Hessian, C the noise and c = 1/S, times (N-S)/(N-1) without replacement, SGD is the Ornstein-Uhlenbeck
    process with :math:`A \Sigma + \Sigma A = \eta c C`. KL to the posterior :math:`N(0, (N A)^{-1})` is least at
    :math:`\eta = 2 D / (N c \operatorname{Tr} C)`; the matrix :math:`2 (N c C)^{-1}` makes it zero. Of the diagonal
    matrices, :math:`H_{kk} = 2 / (N c C_{kk})`.

    Parameters
    ----------
    hessian
        Hessian of the mean loss (negative log joint / N) at its minimum, (D, D), positive definite.
    noise
        Covariance of the per-sample gradients there, (D, D), positive definite.
    num_data, batch_size, replace
        N, S, and whether a batch is drawn with replacement.
    kind
        "scalar" for a learning rate, "diagonal" for one per parameter (a diagonal matrix), "full" for a matrix.

    Raises
    ------
    InputError
        For matrices or sizes that cannot be used, and for a batch without noise.
    """
    a, c, share = _checked(hessian, noise, num_data, batch_size, replace, kind)
    if kind == "full":
        value: Any = 2 * np.linalg.inv(num_data * share * c)
        covariance = np.linalg.inv(num_data * a)
    elif kind == "diagonal":
        value = np.diag(_diagonal_rates(c, num_data, share))
        covariance = scipy.linalg.solve_continuous_lyapunov(value @ a, share * value @ c @ value)
        return _result(value, share, covariance, a, num_data, (_QUADRATIC, _CONSTANT, _SMALL, _DIAGONAL))
    else:
        value = _continuous_rate(c, num_data, share)
        covariance = scipy.linalg.solve_continuous_lyapunov(a, value * share * c)
    return _result(value, share, covariance, a, num_data, (_QUADRATIC, _CONSTANT, _SMALL))


def discrete_time(
    hessian: npt.ArrayLike,
    noise: npt.ArrayLike,
    *,
    num_data: int,
    batch_size: int,
    replace: bool = True,
    kind: Kind = "scalar",
    sample_hessians: npt.ArrayLike | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> StepSize:
    r"""Return the step with the least KL to the posterior when the size of the step counts.

    The iterates have the covariance of `discrete_covariance`. The learning rate, or those of a diagonal matrix, are
    found numerically; the matrix :math:`2 (N c C(\Sigma) + A)^{-1}` at :math:`\Sigma = (N A)^{-1}` solves the Stein
    equation with KL zero.

    Parameters
    ----------
    hessian, noise, num_data, batch_size, replace, kind
        As in `continuous_time`.
    sample_hessians
        Hessians of the rows' losses, (N, D, D), whose mean is ``hessian``: the noise then grows with the distance from
        the minimum. Without them it is constant.
    learning_rate
        A rate to say the covariance of, in place of the best one.
    momentum, nesterov
        mu of ``optax.sgd(rate, momentum=mu)``, and whether it is Nesterov's; the temperature is that of the rate
        over 1 - mu. Exact at any rate: see `sgdvi.laws.momentum`.

    Raises
    ------
    InputError
        As in `continuous_time`; also for a rate at which the iterates have no finite covariance.
    """
    a, c, share = _checked(hessian, noise, num_data, batch_size, replace, kind)
    memory = Momentum(momentum, nesterov)
    near = NearMinimum(a, c, num_data, _rows(sample_hessians, a))
    assumptions = (_QUADRATIC, _CONSTANT if sample_hessians is None else _LINEAR)
    rule = 'learning_rate and momentum go with kind="scalar"'
    require(kind == "scalar" or (learning_rate is None and not momentum), rule, f"kind={kind!r}")
    if kind == "full":
        covariance = near.laplace
        grown = near.noise_at_posterior * num_data * share + np.eye(len(a)) / num_data
        return _result(2 * near.root @ np.linalg.inv(grown) @ near.root.T, share, covariance, a, num_data, assumptions)
    if kind == "diagonal":
        best = _best_diagonal(a, c, share, near)
        return _result(best, share, _covariance(near, best, share, best), a, num_data, assumptions)
    unit = np.eye(len(a))
    if learning_rate is None:
        rate = _best_rate(near, share, memory, _continuous_rate(c, num_data, share) / memory.gain)
    else:
        rate = positive("learning_rate", learning_rate)
    covariance = _covariance(near, rate * unit, share, rate, memory)
    return _result(rate, share * memory.gain, covariance, a, num_data, assumptions)


def discrete_covariance(
    hessian: npt.ArrayLike,
    noise: npt.ArrayLike,
    step: npt.ArrayLike,
    *,
    num_data: int,
    batch_size: int,
    replace: bool = True,
    sample_hessians: npt.ArrayLike | None = None,
) -> np.ndarray:
    r"""Return the stationary covariance of SGD near a minimum at any step size, shape (D, D).

    Solves :math:`\Sigma = (I - H A) \Sigma (I - H A)^T + c H C(\Sigma) H^T` for the step H, a learning rate or a
    symmetric matrix, with :math:`C(\Sigma) = C + E_i[H_i \Sigma H_i] - A \Sigma A` when ``sample_hessians`` are given
    and C otherwise (Liu, Ziyin and Ueda 2021); above 24 parameters the middle term is taken over the posterior and
    scaled. Other arguments as in `discrete_time`.

    Raises
    ------
    InputError
        Also for a step at which the iterates have no finite covariance.
    """
    a, c, share = _checked(hessian, noise, num_data, batch_size, replace, "full")
    step = np.asarray(step, dtype=np.float64)
    require(step.shape in ((), a.shape), "step must be a number or a matrix like hessian", f"shape {step.shape}")
    matrix = step * np.eye(len(a)) if step.ndim == 0 else step
    require(np.allclose(matrix, matrix.T), "step must be symmetric", "another matrix")
    return _covariance(NearMinimum(a, c, num_data, _rows(sample_hessians, a)), matrix, share, step)


def _covariance(near: NearMinimum, step: np.ndarray, share: float, shown: Any, memory: Momentum = PLAIN) -> np.ndarray:
    covariance = near.covariance(step, share, memory=memory)
    if covariance is None:
        advice = f"Take a smaller step: less than {near.limit(step, share, memory):.3g} times this one."
        raise InputError(message("the variance must shrink from step to step", shown, advice))
    return covariance


def _best_rate(near: NearMinimum, share: float, memory: Momentum, first: float) -> float:
    def value(log_rate: float) -> float:
        covariance = near.covariance(np.exp(log_rate) * np.eye(near.size), share, memory=memory)
        return np.inf if covariance is None else near.divergence(covariance)

    # discreteness adds variance, and Nesterov's takes less than its rate says: the best lies about the first
    limit = near.limit(np.eye(near.size), share, memory)
    most = 30 if memory.nesterov else 10
    bounds = (np.log(1e-3 * min(first, limit)), np.log(min(most * first, (1 - 1e-9) * limit)))
    best = scipy.optimize.minimize_scalar(value, bounds=bounds, method="bounded", options={"xatol": 1e-8})
    return float(np.exp(best.x))


def _best_diagonal(a: np.ndarray, c: np.ndarray, share: float, near: NearMinimum) -> np.ndarray:
    def value(log_rates: np.ndarray) -> float:
        covariance = near.covariance(np.diag(np.exp(log_rates)), share)
        return np.inf if covariance is None else near.divergence(covariance)

    # discreteness only adds variance: below the continuous-time rates, and at a stable point to begin with
    first = np.log(np.minimum(_diagonal_rates(c, near.num_data, share), 0.5 / np.linalg.eigvalsh(a)[-1]))
    while not np.isfinite(value(first)):
        first = first - np.log(2)
    options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000 * len(a), "maxfev": 4000 * len(a), "adaptive": True}
    return np.diag(np.exp(scipy.optimize.minimize(value, first, method="Nelder-Mead", options=options).x))


def _rows(sample_hessians: Any, a: np.ndarray) -> np.ndarray | None:
    if sample_hessians is None:
        return None
    rows = np.asarray(sample_hessians, dtype=np.float64)
    require(rows.ndim == 3 and rows.shape[1:] == a.shape, "sample_hessians must be (N, D, D)", f"shape {rows.shape}")
    require(np.allclose(rows.mean(0), a), "the mean of sample_hessians must be hessian", "another matrix")
    return rows


def _checked(
    hessian: npt.ArrayLike, noise: npt.ArrayLike, num_data: int, batch_size: int, replace: bool, kind: str
) -> tuple[np.ndarray, np.ndarray, float]:
    a, c = _positive_definite("hessian", hessian), _positive_definite("noise", noise)
    require(a.shape == c.shape, "hessian and noise must have one shape", f"{a.shape} and {c.shape}")
    kinds = ("scalar", "diagonal", "full")
    require(kind in kinds, 'kind must be "scalar", "diagonal" or "full"', repr(kind))
    share = noise_share(whole("num_data", num_data, least=2), batch_size, replace)
    rule = f"batch_size must be below num_data = {num_data} without replacement"
    require(share > 0, rule, batch_size, "Draw with replacement or take a smaller batch.")
    return a, c, share


def _continuous_rate(c: np.ndarray, num_data: int, share: float) -> float:
    return float(2 * len(c) / (num_data * share * np.trace(c)))


def _diagonal_rates(c: np.ndarray, num_data: int, share: float) -> np.ndarray:
    return 2 / (num_data * share * np.diag(c))


def _positive_definite(name: str, value: Any) -> np.ndarray:
    matrix = np.asarray(value, dtype=np.float64)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and matrix.size > 0
    require(square, f"{name} must be a square matrix", f"shape {matrix.shape}")
    usable = np.all(np.isfinite(matrix)) and np.allclose(matrix, matrix.T)
    require(usable, f"{name} must be finite and symmetric", f"{matrix.tolist()}")
    least = np.linalg.eigvalsh(matrix)[0]
    if least <= 0:
        advice = "Leave out directions that the loss does not see."
        raise InputError(message(f"{name} must be positive definite", f"an eigenvalue of {least:.3g}", advice))
    return matrix


def _kl(covariance: np.ndarray, a: np.ndarray, num_data: int) -> float:
    ratio = num_data * a @ covariance
    # at its zero rounding could make it negative
    return max(0.0, float(0.5 * (np.trace(ratio) - len(a) - np.linalg.slogdet(ratio)[1])))


def _result(
    value: Any, share: float, covariance: np.ndarray, a: np.ndarray, num_data: int, assumptions: tuple[str, ...]
) -> StepSize:
    return StepSize(value, value * share, covariance, _kl(covariance, a, num_data), assumptions)
