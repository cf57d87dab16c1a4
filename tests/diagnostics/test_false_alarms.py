"""Two runs of one law: how often anything at all is called a failure, or a warning, over a whole comparison."""

import pytest
from one_law import LAWS, alarms
from scipy import stats
from sizes import FULL

from sgdvi.diagnostics import Status

# 200 seeds, whose figures are in docs/report.md, take a quarter of an hour.


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("law", LAWS)
def test_two_runs_of_one_law_seldom_fail(law: str) -> None:
    seeds = 200 if FULL else 10 if law == "200 functionals" else 30
    each = [{status for _, status in alarms(law, seed)} for seed in range(seeds)]
    fails, warns = (sum(status in one for one in each) for status in (Status.FAIL, Status.WARN))
    assert fails <= stats.binom.ppf(0.999, seeds, 0.01), f"{fails} of {seeds} fail"
    assert warns <= stats.binom.ppf(0.999, seeds, 0.05), f"{warns} of {seeds} warn"
