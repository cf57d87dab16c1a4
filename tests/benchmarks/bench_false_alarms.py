"""Share of comparisons of two runs of one law in which anything at all fails, or warns; over whole comparisons.

Run: python tests/benchmarks/bench_false_alarms.py [LAW ...] [--seeds 200] [--first 0]
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

from one_law import LAWS, alarms

from sgdvi.diagnostics import Status

LIMITS = {Status.FAIL: 0.01, Status.WARN: 0.05}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("laws", nargs="*", default=list(LAWS), metavar="LAW")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    for law in options.laws:
        begin, checks = time.process_time(), {status: Counter[str]() for status in LIMITS}
        comparisons = Counter[Status]()
        for seed in range(options.first, options.first + options.seeds):
            found = alarms(law, seed)
            for status in LIMITS:
                checks[status].update(check for check, one in found if one is status)
                comparisons[status] += any(one is status for _, one in found)
        words = [
            f"{comparisons[status]} of {options.seeds} {status} (at most "
            f"{int(stats.binom.ppf(0.999, options.seeds, share))}){dict(checks[status]) or ''}"
            for status, share in LIMITS.items()
        ]
        print(f"{law}: {'; '.join(words)}; {time.process_time() - begin:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
