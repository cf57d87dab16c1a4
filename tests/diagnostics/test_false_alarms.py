"""Two runs of one law: how often anything at all is called a failure, or a warning, over a whole comparison."""

import pytest
from one_law import LAWS, alarms
from scipy import stats

from sgdvi.diagnostics import Status

SEEDS = 200


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("law", LAWS)
def test_two_runs_of_one_law_seldom_fail(law: str) -> None:
    each = [{status for _, status in alarms(law, seed)} for seed in range(SEEDS)]
    fails, warns = (sum(status in one for one in each) for status in (Status.FAIL, Status.WARN))
    assert fails <= stats.binom.ppf(0.999, SEEDS, 0.01), f"{fails} of {SEEDS} fail"
    assert warns <= stats.binom.ppf(0.999, SEEDS, 0.05), f"{warns} of {SEEDS} warn"
