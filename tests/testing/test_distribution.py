"""check_distribution: right distributions pass, and every kind of mistake is found and named."""

import copy
import doctest
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions.util import validate_sample

from sgdvi import InputError
from sgdvi.testing import CHECKS, ContractError, check_distribution


@jax.jit
def lomax_log_prob(value, shape, scale):
    inside = value > 0
    level = jnp.log(shape / scale) - (shape + 1) * jnp.log1p(jnp.where(inside, value, 1) / scale)
    return jnp.where(inside, level, -jnp.inf)


@jax.jit
def lomax_cdf(value, shape, scale):
    return -jnp.expm1(-shape * jnp.log1p(jnp.maximum(value, 0) / scale))


@jax.jit
def lomax_icdf(q, shape, scale):
    return scale * jnp.expm1(-jnp.log1p(-q) / shape)


# Methods are compiled whole: one by one their operations take three times as long.
class Normal(dist.Normal):
    """NumPyro's, of whose methods each is one program."""

    @validate_sample
    def log_prob(self, value):
        return normal_log_prob(self.loc, self.scale, value)

    def cdf(self, value):
        return normal_cdf(self.loc, self.scale, value)

    def icdf(self, q):
        return normal_icdf(self.loc, self.scale, q)


normal_log_prob, normal_cdf, normal_icdf = (
    jax.jit(lambda loc, scale, value, name=name: getattr(dist.Normal(loc, scale, validate_args=False), name)(value))
    for name in ("log_prob", "cdf", "icdf")
)


class Lomax(dist.Distribution):
    """A user's own law, written from nothing: p(v) = (s/c) (1 + v/c)^-(s+1) on v > 0."""

    arg_constraints = {"shape": dist.constraints.positive, "scale": dist.constraints.positive}
    support = dist.constraints.positive
    pytree_data_fields = ("shape", "scale")

    def __init__(self, shape, scale=1.0, *, validate_args=None):
        self.shape, self.scale = jnp.broadcast_arrays(jnp.asarray(shape, float), jnp.asarray(scale, float))
        super().__init__(batch_shape=jnp.shape(self.shape), validate_args=validate_args)

    @validate_sample
    def log_prob(self, value):
        return lomax_log_prob(value, self.shape, self.scale)

    def cdf(self, value):
        return lomax_cdf(value, self.shape, self.scale)

    def icdf(self, q):
        return lomax_icdf(q, self.shape, self.scale)

    def sample(self, key, sample_shape=()):
        return self.icdf(jax.random.uniform(key, sample_shape + self.batch_shape, minval=1e-12))

    @property
    def mean(self):
        return jnp.where(self.shape > 1, self.scale / (self.shape - 1), jnp.inf)


class Hurdle(Lomax):
    """The same with an atom: v = 0 with a probability."""

    arg_constraints = {**Lomax.arg_constraints, "zero": dist.constraints.unit_interval}
    support = dist.constraints.nonnegative
    pytree_data_fields = ("shape", "scale", "zero")

    def __init__(self, shape, zero, *, validate_args=None):
        self.zero = jnp.broadcast_to(jnp.asarray(zero, float), jnp.shape(shape))
        super().__init__(shape, validate_args=validate_args)

    @property
    def atoms(self):
        return jnp.zeros((1,)), self.zero[..., None]

    @validate_sample
    def log_prob(self, value):
        level = jnp.log1p(-self.zero) + super().log_prob(jnp.where(value > 0, value, 1.0))
        return jnp.where(value > 0, level, jnp.where(value == 0, jnp.log(self.zero), -jnp.inf))

    def cdf(self, value):
        return jnp.where(value < 0, 0.0, self.zero + (1 - self.zero) * super().cdf(value))

    def icdf(self, q):
        rest = jnp.where(self.zero < 1, 1 - self.zero, 1.0)
        return super().icdf(jnp.clip((q - self.zero) / rest, 0.0))

    @property
    def mean(self):
        return (1 - self.zero) * super().mean


RIGHT = {
    "a user's own": Lomax(jnp.array([0.7, 4.0, 9.0]), jnp.array([1.0, 1e-3, 1e3])),
    "with atoms": Hurdle(jnp.array([4.0, 4.0, 0.7]), jnp.array([0.3, 0.0, 0.999])),
    "nothing but an atom": Hurdle(4.0, 1.0),
    "Normal": dist.Normal(jnp.array([0.0, 1e6]), jnp.array([1.0, 2.0])),
    "StudentT": dist.StudentT(jnp.array([0.8, 1.5, 2.5, 9.0]), 0.3, 2.0),
    "Gamma": dist.Gamma(jnp.array([0.3, 2.0, 50.0]), 3.0),
    "Beta": dist.Beta(jnp.array([0.6, 2.0]), jnp.array([0.7, 5.0])),
    "Uniform": dist.Uniform(-1.0, 3.0),
    "HalfCauchy": dist.HalfCauchy(2.0),
    "LogNormal": dist.LogNormal(0.3, 1.2),
    "left half line": dist.RightTruncatedDistribution(dist.Normal(0.0, 1.0), 0.5),
    "vectors": dist.Dirichlet(jnp.ones(3)),
    "discrete": dist.Poisson(3.0),
}


# their gamma and beta functions take long to compile, for checks that are not about them
SLOW = {"StudentT", "Gamma", "Beta", "Uniform"}


DEFAULT = {"a user's own"}


@pytest.mark.parametrize(
    "name", [name if name in DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in RIGHT]
)
def test_right_distributions_pass(name):
    unwanted = {"shapes", "transformations"} if name in SLOW else set()
    report = check_distribution(RIGHT[name], num_draws=20_000, skip=unwanted)
    assert {check.name for check in report.checks} == set(CHECKS)
    assert not report.failed
    assert all(check.message for check in report.skipped)
    assert len(report.passed) >= (9 if name not in ("vectors", "discrete") else 4)


class WrongNormaliser(Normal):
    def log_prob(self, value):
        return super().log_prob(value) + 0.05


class WrongCdf(Normal):
    def cdf(self, value):
        return super().cdf(value + 0.01 * self.scale)


class ScaledCdf(Normal):
    def cdf(self, value):
        return 0.999 * super().cdf(value)


class WrongIcdf(Normal):
    def icdf(self, q):
        return super().icdf(q) + 1e-4


class FallingIcdf(Normal):
    def icdf(self, q):
        return -super().icdf(q)


class WrongSampler(Normal):
    def sample(self, key, sample_shape=()):
        return self.loc + 1.05 * (super().sample(key, sample_shape) - self.loc)


class WrongSamplerWithoutCdf(WrongSampler):
    def cdf(self, value):
        raise NotImplementedError


class NarrowDensity(Normal):
    def log_prob(self, value):
        return super().log_prob(value).astype(jnp.float32)


class WideDensity(Normal):
    def log_prob(self, value):
        return super().log_prob(value).astype(jnp.float64)


class LostParameter(Normal):
    @classmethod
    def gather_pytree_data_fields(cls):
        return ("loc",)


class StaticParameter(Normal):
    """Keeps what a transformation changes in a place that it does not see."""

    def tree_flatten(self):
        leaves, aux = super().tree_flatten()
        return leaves, (*aux, float(np.max(self.scale)))

    @classmethod
    def tree_unflatten(cls, aux, leaves):
        new = super().tree_unflatten(aux[:-1], leaves)
        new.scale = aux[-1]
        return new


class WrongSupport(Normal):
    support = dist.constraints.positive


class HalfNormalOnTheLine(dist.HalfNormal):
    support = dist.constraints.real


class SilentOutside(dist.Exponential):
    def log_prob(self, value):
        return jnp.log(self.rate) - self.rate * value


class WrongMean(Normal):
    @property
    def mean(self):
        return jnp.broadcast_to(self.loc + 0.01, self.batch_shape)


class WrongVariance(Normal):
    @property
    def variance(self):
        return jnp.broadcast_to(self.scale, self.batch_shape) ** 2 * 1.01


class MeanOfCauchy(dist.Cauchy):
    @property
    def mean(self):
        return jnp.broadcast_to(self.loc, self.batch_shape)


class WrongEntropy(Normal):
    def entropy(self):
        return super().entropy() + 0.01


class WrongShape(Normal):
    def sample(self, key, sample_shape=()):
        return super().sample(key, sample_shape)[..., None]


class WrongGradient(Normal):
    def log_prob(self, value):
        return super().log_prob(jax.lax.stop_gradient(value))


class LostGradient(Normal):
    def log_prob(self, value):
        still = copy.copy(self)
        still.scale = jax.lax.stop_gradient(self.scale)
        return Normal.log_prob(still, value)


class NoConstraint(Normal):
    def validate_args(self, strict=True):
        del strict


class NotAKey(Normal):
    def sample(self, key, sample_shape=()):
        return super().sample(jax.random.key(0), sample_shape)


class Crash(Normal):
    def log_prob(self, value):
        if jnp.ndim(value) > 1:
            raise IndexError("too many dimensions")
        return super().log_prob(value)


class WrongAtom(Hurdle):
    @property
    def atoms(self):
        return jnp.zeros((1,)), 0.9 * self.zero[..., None]


class AtomElsewhere(Hurdle):
    @property
    def atoms(self):
        return jnp.ones((1,)), self.zero[..., None]


class ForgottenAtom(Hurdle):
    atoms = None


class SamplerWithoutAtom(Hurdle):
    def sample(self, key, sample_shape=()):
        draws = super().sample(key, sample_shape)
        return jnp.where(draws == 0, 1.0, draws)


class MeanWithoutAtom(Hurdle):
    @property
    def mean(self):
        return Lomax.mean.fget(self)


class IcdfBesideTheAtom(Hurdle):
    def icdf(self, q):
        return jnp.where(q < self.zero / 2, 0.0, super().icdf(q) + 0.01)


class WrongTail(Lomax):
    def log_prob(self, value):
        return super().log_prob(value) - 0.01 * jnp.log1p(value)


BROKEN = [
    (WrongTail, "normalisation", "must integrate to 1 over the support"),
    (WrongTail, "cdf", "derivative of the cdf must be the density"),
    (WrongAtom, "normalisation", r"got 0\.975, 0\.225 of it in atoms"),
    (WrongAtom, "normalisation", r"log_prob at an atom must be the log of its mass, \S+; got \S+"),
    (AtomElsewhere, "cdf", "the cdf must be the integral of the density"),
    (ForgottenAtom, "normalisation", r"must integrate to 1 over the support; got 0\.75"),
    (SamplerWithoutAtom, "sampler", "draws must follow the cdf"),
    (MeanWithoutAtom, "moments", "the mean must be that of the density"),
    (IcdfBesideTheAtom, "icdf", r"cdf\(icdf\(q\)\) must be q"),
    (WrongNormaliser, "normalisation", r"must integrate to 1 over the support; got 1\.0512"),
    (WrongCdf, "cdf", r"the cdf must be the integral of the density, \S+; got \S+ at"),
    (ScaledCdf, "cdf", "the cdf must be the integral of the density"),
    (ScaledCdf, "cdf", "derivative of the cdf must be the density"),
    (WrongIcdf, "icdf", r"icdf\(cdf\(v\)\) must be v"),
    (FallingIcdf, "icdf", "icdf must increase"),
    (WrongSampler, "sampler", "draws must follow the cdf: the largest gap"),
    (WrongSamplerWithoutCdf, "sampler", "draws must follow the integral of the density"),
    (WrongSampler, "moments", "variance of 100000 draws must lie within 5 standard errors"),
    (NarrowDensity, "dtype", "log_prob of float64 parameters and values must be float64; got float32"),
    (WideDensity, "dtype", "log_prob of float32 parameters and values must be float32; got float64"),
    (LostParameter, "pytree", "scale is not in pytree_data_fields"),
    (StaticParameter, "pytree", "a leaf put into the pytree must come out again"),
    (WrongSupport, "support", "draws must lie in the support"),
    (HalfNormalOnTheLine, "normalisation", r"must integrate to 1 over the support; got 2"),
    (SilentOutside, "support", "outside the support must warn"),
    (SilentOutside, "support", "outside the support must be -inf"),
    (WrongMean, "moments", r"the mean must be that of the density, 1; got 1\.01"),
    (WrongVariance, "moments", "the variance must be that of the density"),
    (MeanOfCauchy, "moments", "a mean that does not exist must be inf or nan; got 1"),
    (WrongEntropy, "entropy", "the entropy must be"),
    (WrongShape, "shapes", r"sample with shape \(\) must have shape \(\); got \(1,\)"),
    (WrongGradient, "gradient", "gradient of log_prob to the value"),
    (LostGradient, "gradient", "gradient of log_prob along scale"),
    (NoConstraint, "validation", "validate_args must refuse nan for scale"),
    (NotAKey, "keys", "another key must give other draws"),
    (Crash, "normalisation", "raised IndexError: too many dimensions"),
]


def only(*names):
    return set(CHECKS) - set(names)


@pytest.mark.parametrize(("law", "check", "words"), BROKEN, ids=lambda case: getattr(case, "__name__", None))
def test_mistakes_are_found(law, check, words):
    arguments = (2.0,) if issubclass(law, dist.HalfNormal | dist.Exponential) else (1.0, 2.0)
    if issubclass(law, Lomax):
        arguments = (4.0, 0.25)
    if law is Crash:
        arguments = (jnp.ones(2), 2.0)
    with pytest.raises(ContractError, match=words) as caught:
        check_distribution(law(*arguments), skip=only(check))
    assert {found.name for found in caught.value.report.failed} == {check}
    assert str(caught.value).startswith(f"{law.__name__} breaks the contract")


def test_all_failures_come_in_one_message_and_name_the_law_of_the_batch():
    class Broken(WrongEntropy):
        @property
        def mean(self):
            return jnp.broadcast_to(self.loc + jnp.array([0.0, 0.01]), self.batch_shape)

    with pytest.raises(ContractError) as caught:
        check_distribution(Broken(jnp.zeros(2), 1.0), skip=only("entropy", "moments", "icdf"))
    message = str(caught.value)
    assert "in 2 checks" in message
    assert "in law (0,)" in message
    assert "in law (1,)" in message
    assert "icdf: passed" in str(caught.value.report)


class WithoutIcdf(Normal):
    def icdf(self, q):
        raise NotImplementedError


def test_a_law_without_icdf_says_what_was_skipped():
    report = check_distribution(WithoutIcdf(0.0, 2.0), skip=only("cdf", "icdf"), num_draws=1000)
    assert "as asked" in str(report)
    reasons = {check.name: check.message for check in report.skipped}
    assert reasons["icdf"] == "the distribution has no icdf"


def test_settings_stay_as_they_are():
    law = dist.Normal(0.0, 1.0, validate_args=True)
    check_distribution(law, skip=only("support", "dtype", "keys"), num_draws=1000)
    assert law._validate_args
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"distribution": 3.0}, "must be a numpyro.distributions.Distribution; got float"),
        ({"level": 0.0}, "level must be a finite number above 0"),
        ({"num_draws": 10}, "num_draws must be a whole number of at least 1000"),
        ({"skip": ["everything"]}, "skip must name checks of pytree, .*; got .'everything'."),
    ],
)
def test_bad_options(changes, words):
    with pytest.raises(InputError, match=words):
        check_distribution(**{"distribution": dist.Normal(0.0, 1.0), **changes})


@pytest.mark.slow  # a whole check of one more law
def test_the_example_in_the_docstring():
    result = doctest.testmod(sys.modules[check_distribution.__module__])
    assert result.attempted
    assert not result.failed
