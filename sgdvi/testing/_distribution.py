"""The contract of a NumPyro distribution, checked from its own methods."""

from collections.abc import Callable, Iterable

import jax
from jax import Array
from numpyro.distributions import Distribution

from sgdvi._internal.check import positive, require, whole
from sgdvi.testing import _consistency, _structure
from sgdvi.testing._record import ContractError, Report, names_to_skip, run_checks
from sgdvi.testing._subject import Subject

CHECKS: dict[str, Callable[[Subject], Iterable[str]]] = {
    "pytree": _structure.pytree,
    "shapes": _structure.shapes,
    "dtype": _structure.dtype,
    "support": _structure.support,
    "validation": _structure.validation,
    "normalisation": _consistency.normalisation,
    "cdf": _consistency.cdf,
    "icdf": _consistency.icdf,
    "sampler": _consistency.sampler,
    "moments": _consistency.moments,
    "entropy": _consistency.entropy,
    "gradient": _consistency.gradient,
    "transformations": _structure.transformations,
    "keys": _structure.keys,
}


def check_distribution(
    distribution: Distribution,
    *,
    key: Array | None = None,
    num_draws: int = 100_000,
    level: float = 1e-6,
    skip: Iterable[str] = (),
) -> Report:
    r"""Check that a NumPyro distribution keeps the contract that samplers, priors and guides rely on.

    The density, cdf, quantiles, moments, entropy and sampler are compared with each other, never with a formula of
    this package, so that any one-dimensional continuous distribution can be checked, and a batch of them at once.

    Parameters
    ----------
    distribution
        The distribution, any batch shape. Laws of vectors and discrete laws get the checks that are not about a
        density on the line. A law with point masses states them by a property ``atoms``: places and masses, arrays of
        the batch shape with one more axis; its ``log_prob`` there is the log of the mass.
    key
        Random key of the draws; a fixed one by default, so that a check passes every day or fails every day.
    num_draws
        Number of draws of each law.
    level
        Probability with which a right sampler may fail, for the whole batch: draws follow the cdf when the largest
        gap between their empirical cdf and the cdf is below :math:`\sqrt{\log(2 B/\mathrm{level})/(2 n)}` for n draws
        of B laws (the Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant, valid at every n).
    skip
        Names of checks to leave out, of `sgdvi.testing.CHECKS`.

    Returns
    -------
    Report
        Every check with its outcome; a check that does not apply is skipped with the reason.

    Raises
    ------
    ContractError
        (an AssertionError) If any check fails. The message lists all failures: what must hold, and what was got.
    InputError
        For options out of their range.

    Notes
    -----
    Computed in float64 on a copy of the distribution whose parameters are cast to it; the distribution itself and
    JAX's settings stay as they are. The density is integrated adaptively in a coordinate that turns power-law tails
    into exponentials; mass that double precision cannot represent is taken from the cdf. A moment is compared where
    the tail of the density says that it exists; where it does not, the stated value must be inf or nan. Sample
    moments must lie within 5 standard errors, where these exist.

    Examples
    --------
    >>> import numpyro.distributions as dist
    >>> from sgdvi.testing import check_distribution
    >>> report = check_distribution(dist.HalfCauchy(1.0))
    >>> [check.name for check in report.skipped]
    ['entropy']
    """
    require(
        isinstance(distribution, Distribution),
        "distribution must be a numpyro.distributions.Distribution",
        type(distribution).__name__,
    )
    level = positive("level", level)
    num_draws = whole("num_draws", num_draws, least=1000)
    unwanted = names_to_skip(skip, CHECKS)
    with jax.enable_x64(True):
        subject = Subject(distribution, jax.random.key(0) if key is None else key, num_draws, level)
        checks = run_checks(CHECKS, subject, unwanted)
    report = Report(type(distribution).__name__, tuple(checks))
    if report.failed:
        raise ContractError(report)
    return report
