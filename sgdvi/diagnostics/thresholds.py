"""Every number that a check is held against, in one place, each with its source."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sgdvi._internal.check import InputError, message, positive


def _limit(default: float, why: str = "") -> Any:
    return field(default=default, metadata={"why": why})


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the checks; ``compare(..., thresholds={"rhat_warn": 1.05})`` changes single ones.

    Where a name ends in ``_warn`` and ``_fail``, a value beyond the first is a warning and beyond the second a
    failure. Distances are failures only if they also exceed their null level.
    """

    distinct_fail: float = _limit(
        0.05,
        "Share of distinct values among the draws of a coordinate. Metropolis chains repeat draws, but rarely "
        "more than 20 times each; float32 rounding of a large mean leaves far fewer.",
    )
    overflow_fail: float = _limit(0.05, "Share of chains that overflowed; any at all is a warning.")
    rhat_warn: float = _limit(
        1.01,
        "Rank-normalised split R-hat: Vehtari, Gelman, Simpson, Carpenter, Buerkner 2021 (1.01); 1.05 is the "
        "older, looser limit of the same authors.",
    )
    rhat_fail: float = _limit(1.05)
    ess_warn: float = _limit(
        400.0,
        "Effective draws, the smaller of bulk and tail: 400 in Vehtari et al. 2021; below 100 even the 5 % "
        "and 95 % quantiles have standard errors of about 2 % in probability.",
    )
    ess_fail: float = _limit(100.0)
    mcse_warn: float = _limit(
        0.1,
        "Monte Carlo standard error of the mean in standard deviations: 0.1 is 100 effective draws.",
    )
    bfmi: float = _limit(
        0.3,
        "Energy Bayesian fraction of missing information: Betancourt 2017, section 6.1. Share of divergent "
        "draws that is a failure (any at all is a warning), and of draws at the largest tree depth that is a "
        "warning.",
    )
    divergent: float = _limit(0.01)
    deep: float = _limit(0.01)
    trend_warn: float = _limit(
        0.1,
        "Move of the second half of a run against the first, in standard deviations, where it is more than chance.",
    )
    trend_fail: float = _limit(0.3)
    spread_warn: float = _limit(
        1.1,
        "Ratio of the spreads of the two halves of a run, the larger over the smaller, where it is more than chance.",
    )
    spread_fail: float = _limit(1.3)
    arrival_sd: float = _limit(
        5.0,
        "Gap between the range of a chain and that of the reference, in standard deviations: a chain of the same law "
        "has none. Nats that a chain is less probable than the reference and than the best chain, and the same in "
        "standard deviations of the negative log joint under the reference.",
    )
    arrival_nats: float = _limit(10.0)
    drift_fail: float = _limit(6.0, "Drift of one fresh step in standard errors: beyond chance it is a warning.")
    bias_warn: float = _limit(
        0.05,
        "Violation of the bias identity, in standard deviations of v, where it is more than chance.",
    )
    memory_fail: float = _limit(0.05, "Share of the variance that the start explains, where it is more than chance.")
    tail_khat: float = _limit(
        0.7,
        "Pareto k of a tail or of importance weights: beyond 0.7 means do not settle, Vehtari et al. 2024.",
    )
    balance: float = _limit(0.01, "Median of |u^2 - w^2| / (u^2 + w^2). Independent Gaussian factors have 0.71.")
    dimension_ratio: float = _limit(
        0.75,
        "The dimension of a run's support over the reference's; the estimate has a relative error of about 1/sqrt(n).",
    )
    narrow_warn: float = _limit(
        0.02,
        "Width of the narrowest direction of a run over that of the reference: narrower is a warning.",
    )
    kl_warn: float = _limit(
        0.01,
        "Kullback-Leibler divergence in nats. Between Gaussians, 0.01 is a shift of 0.14 sd or a spread 1.1 "
        "times as wide; 0.04 is a shift of 0.28 sd or a spread 1.2 times as wide.",
    )
    kl_fail: float = _limit(0.04)
    w1_warn: float = _limit(
        0.05,
        "Wasserstein-1 distance in standard deviations of the reference: 0.1 is a shift of 0.1 sd, or a "
        "spread 1.12 times as wide. A null level above `w1_blind` means that the draws are too few to tell.",
    )
    w1_fail: float = _limit(0.1)
    w1_blind: float = _limit(0.2)
    ks_warn: float = _limit(
        0.03,
        "Kolmogorov distance: between Gaussians, 0.05 is a shift of 0.125 sd or a spread 1.2 times as wide.",
    )
    ks_fail: float = _limit(0.05)
    ks_blind: float = _limit(0.1)
    tail_warn: float = _limit(
        0.005,
        "Difference of the masses beyond an outer quantile of the run, the 1 % or the 99 % one: 0.01 is twice as much.",
    )
    tail_fail: float = _limit(0.01)
    tail_blind: float = _limit(0.02)
    tv_warn: float = _limit(
        0.05,
        "Total variation between predictive probabilities at one test point: no event is more than this much more "
        "probable under one than under the other. A null level above `tv_blind` means too few draws to tell.",
    )
    tv_fail: float = _limit(0.1)
    tv_blind: float = _limit(0.2)
    points_warn: float = _limit(
        0.01,
        "Share of the test points whose predictions differ by more than `tv_fail`, or `w1_fail` predictive sd, where "
        "it is more than chance.",
    )
    points_fail: float = _limit(0.1)
    w2_warn: float = _limit(
        0.06,
        "Wasserstein-2 distance in standard deviations: 0.12 is a shift of 0.12 sd, or a spread 1.12 times as wide.",
    )
    w2_fail: float = _limit(0.12)
    w2_blind: float = _limit(0.25)
    dependence_warn: float = _limit(
        0.1, "Difference of a rank correlation of two functionals; 0.2 changes the sd of their sum by a tenth."
    )
    dependence_fail: float = _limit(0.2)
    dependence_blind: float = _limit(0.5)
    mmd_warn: float = _limit(
        0.05,
        "Joint distances. Between Gaussians a shift of 0.3 sd has MMD 0.13, energy 0.15, sliced W1 0.3 and "
        "KSD 0.25; a spread 1.25 times as wide has 0.10, 0.076, 0.2 and 0.16. They are roots of quadratic "
        "forms: half the shift has half the distance.",
    )
    mmd_fail: float = _limit(0.08)
    mmd_blind: float = _limit(0.15)
    energy_warn: float = _limit(0.04)
    energy_fail: float = _limit(0.07)
    energy_blind: float = _limit(0.15)
    sliced_warn: float = _limit(0.05)
    sliced_fail: float = _limit(0.1)
    sliced_blind: float = _limit(0.3)
    ksd_warn: float = _limit(0.08)
    ksd_fail: float = _limit(0.14)
    ksd_blind: float = _limit(0.25)
    c2st_fail: float = _limit(0.6, "Accuracy of a classifier that tells two samples apart; 0.5 is guessing.")
    c2st_blind: float = _limit(0.58)
    elpd: float = _limit(
        4.0,
        "Expected log predictive density over all rows, in nats: Vehtari's rule that differences below 4 are small.",
    )
    missing_mass_warn: float = _limit(
        1e-3,
        "Posterior mass on a sign that the run never covers: below the first it is stated, not held against the run.",
    )
    missing_mass_fail: float = _limit(1e-2)
    collapse_fall: float = _limit(
        3.0,
        "Collapse: fall of log|v| over the run, averaged over chains (3 is a factor of 20), and how many "
        "standard errors between chains it must be away from 0.",
    )
    collapse_errors: float = _limit(4.0)
    drift_errors: float = _limit(
        5.0,
        "Drift of a charge away from its prediction, in standard errors: by chance once in 2 million normal deviates.",
    )
    noise_imbalance: float = _limit(
        0.1,
        "Difference of the two noise terms over their sum: 0.1 is a ratio of 1.22, and norms 5 % from balanced.",
    )
    uniformity_level: float = _limit(
        0.01, "Level of the test that the ranks of simulation-based calibration are uniform."
    )
    null_quantile: float = _limit(
        0.99, "Quantile of the null distribution of a distance that is used as its null level."
    )

    @classmethod
    def make(cls, value: "Thresholds | Mapping[str, float] | None") -> "Thresholds":
        """Return thresholds from nothing (the defaults), a mapping of changes, or thresholds.

        Raises
        ------
        InputError
            If a name is unknown or a value is not a finite number above zero.
        """
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise InputError(message("thresholds must be a mapping or Thresholds", type(value).__name__))
        names = {entry.name for entry in fields(cls)}
        for name in value:
            if name not in names:
                raise InputError(message("unknown threshold", repr(name), f"Known: {', '.join(sorted(names))}."))
        return replace(cls(), **{name: positive(name, number) for name, number in value.items()})

    def of(self, name: str) -> tuple[float, float, float]:
        """Return the three limits of a distance: warning, failure, and the null level that is too coarse to tell."""
        warn, fail, blind = (getattr(self, limit) for limit in limits_of(name))
        return warn, fail, blind

    @classmethod
    def sources(cls) -> dict[str, str]:
        """Return name -> why the number is what it is, and where it comes from."""
        origins, why = {}, ""
        for entry in fields(cls):
            why = entry.metadata["why"] or why  # the second of a pair has the reason of the first
            origins[entry.name] = why
        return origins

    def changed(self) -> tuple[str, ...]:
        """Return the names of those that differ from the defaults."""
        return tuple(name for name, value in self.to_dict().items() if value != getattr(Thresholds, name))

    def to_dict(self) -> dict[str, float]:
        """Return name -> value."""
        return asdict(self)


def limits_of(name: str) -> tuple[str, str, str]:
    """Return the names of the three limits of a distance."""
    return f"{name}_warn", f"{name}_fail", f"{name}_blind"


VEHTARI = "Vehtari, Gelman, Simpson, Carpenter, Buerkner 2021, Bayesian Analysis 16, 667"
ZIYIN = "Ziyin, Li, Ueda 2025, Phys. Rev. E 111, 065303"
