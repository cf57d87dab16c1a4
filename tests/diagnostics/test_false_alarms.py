"""Two runs of one law: how often anything at all is called a failure, or a warning, over a whole comparison."""

import os

import pytest
from one_law import LAWS, alarms
from scipy import stats

from sgdvi.diagnostics import Status

# 200 seeds, whose figures are in docs/report.md, take a quarter of an hour.
SEEDS = os.environ.get("SGDVI_ALARM_SEEDS")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("law", LAWS)
def test_two_runs_of_one_law_seldom_fail(law: str) -> None:
    seeds = int(SEEDS) if SEEDS else 10 if law == "200 functionals" else 30
    each = [{status for _, status in alarms(law, seed)} for seed in range(seeds)]
    fails, warns = (sum(status in one for one in each) for status in (Status.FAIL, Status.WARN))
    assert fails <= stats.binom.ppf(0.999, seeds, 0.01), f"{fails} of {seeds} fail"
    assert warns <= stats.binom.ppf(0.999, seeds, 0.05), f"{warns} of {seeds} warn"
