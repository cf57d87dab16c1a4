"""Every number that a check is held against, in one place, each with its source."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from sgdvi._check import InputError, message, positive


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the checks; ``compare(..., thresholds={"rhat_warn": 1.05})`` changes single ones.

    Where a name ends in ``_warn`` and ``_fail``, a value beyond the first is a warning and beyond the second a
    failure. Distances are failures only if they also exceed their null level.
    """

    # Share of distinct values among the draws of a coordinate. Metropolis chains repeat draws, but rarely more than
    # 20 times each; float32 rounding of a large mean leaves far fewer.
    distinct_fail: float = 0.05
    # Share of chains that overflowed; any at all is a warning.
    overflow_fail: float = 0.05
    # Rank-normalised split R-hat: Vehtari, Gelman, Simpson, Carpenter, Buerkner 2021 (1.01); 1.05 is the older,
    # looser limit of the same authors.
    rhat_warn: float = 1.01
    rhat_fail: float = 1.05
    # Effective draws, the smaller of bulk and tail: 400 in Vehtari et al. 2021; below 100 even the 5 % and 95 %
    # quantiles have standard errors of about 2 % in probability.
    ess_warn: float = 400.0
    ess_fail: float = 100.0
    # Monte Carlo standard error of the mean in standard deviations: 0.1 is 100 effective draws.
    mcse_warn: float = 0.1
    # Energy Bayesian fraction of missing information: Betancourt 2017, section 6.1. Share of divergent draws that is a
    # failure (any at all is a warning), and of draws at the largest tree depth that is a warning.
    bfmi: float = 0.3
    divergent: float = 0.01
    deep: float = 0.01
    # Move of the second half of a run against the first, in standard deviations, where it is more than chance.
    trend_warn: float = 0.1
    trend_fail: float = 0.3
    # Drift of one fresh step in standard errors: beyond chance it is a warning.
    drift_fail: float = 6.0
    # Violation of the bias identity, in standard deviations of v, where it is more than chance.
    bias_warn: float = 0.05
    # Share of the variance that the start explains, where it is more than chance.
    memory_fail: float = 0.05
    # Pareto k of a tail or of importance weights: beyond 0.7 means do not settle, Vehtari et al. 2024.
    tail_khat: float = 0.7
    # Median of |u^2 - w^2| / (u^2 + w^2). Independent Gaussian factors have 0.71.
    balance: float = 0.01
    # The dimension of a run's support over the reference's; the estimate has a relative error of about 1/sqrt(n).
    dimension_ratio: float = 0.75
    # Kullback-Leibler divergence in nats. Between Gaussians, 0.01 is a shift of 0.14 sd or a spread 1.1 times as
    # wide; 0.04 is a shift of 0.28 sd or a spread 1.2 times as wide.
    kl_warn: float = 0.01
    kl_fail: float = 0.04
    # Wasserstein-1 distance in standard deviations of the reference: 0.1 is a shift of 0.1 sd, or a spread 1.12
    # times as wide. A null level above `w1_blind` means that the draws are too few to tell.
    w1_warn: float = 0.05
    w1_fail: float = 0.1
    w1_blind: float = 0.2
    # Kolmogorov distance: between Gaussians, 0.05 is a shift of 0.125 sd or a spread 1.2 times as wide.
    ks_warn: float = 0.03
    ks_fail: float = 0.05
    ks_blind: float = 0.1
    # Wasserstein-2 distance in standard deviations: 0.12 is a shift of 0.12 sd, or a spread 1.12 times as wide.
    w2_warn: float = 0.06
    w2_fail: float = 0.12
    w2_blind: float = 0.25
    # Joint distances. Between Gaussians a shift of 0.3 sd has MMD 0.13, energy 0.15, sliced W1 0.3 and KSD 0.25; a
    # spread 1.25 times as wide has 0.10, 0.076, 0.2 and 0.16. They are roots of quadratic forms: half the shift has
    # half the distance.
    mmd_warn: float = 0.05
    mmd_fail: float = 0.08
    mmd_blind: float = 0.15
    energy_warn: float = 0.04
    energy_fail: float = 0.07
    energy_blind: float = 0.15
    sliced_warn: float = 0.05
    sliced_fail: float = 0.1
    sliced_blind: float = 0.3
    ksd_warn: float = 0.08
    ksd_fail: float = 0.14
    ksd_blind: float = 0.25
    # Accuracy of a classifier that tells two samples apart; 0.5 is guessing.
    c2st_fail: float = 0.6
    c2st_blind: float = 0.58
    # Expected log predictive density over all rows, in nats: Vehtari's rule that differences below 4 are small.
    elpd: float = 4.0
    # Posterior mass on a sign that the run never covers: below the first it is stated, not held against the run.
    missing_mass_warn: float = 1e-3
    missing_mass_fail: float = 1e-2
    # Collapse: fall of log|v| over the run, averaged over chains (3 is a factor of 20), and how many standard
    # errors between chains it must be away from 0.
    collapse_fall: float = 3.0
    collapse_errors: float = 4.0
    # Drift of a charge away from its prediction, in standard errors: by chance once in 2 million normal deviates.
    drift_errors: float = 5.0
    # Difference of the two noise terms over their sum: 0.1 is a ratio of 1.22, and norms 5 % from balanced.
    noise_imbalance: float = 0.1
    # Level of the test that the ranks of simulation-based calibration are uniform.
    uniformity_level: float = 0.01
    # Quantile of the null distribution of a distance that is used as its null level.
    null_quantile: float = 0.99

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

    def to_dict(self) -> dict[str, float]:
        """Return name -> value."""
        return asdict(self)


VEHTARI = "Vehtari, Gelman, Simpson, Carpenter, Buerkner 2021, Bayesian Analysis 16, 667"
ZIYIN = "Ziyin, Li, Ueda 2025, Phys. Rev. E 111, 065303"
