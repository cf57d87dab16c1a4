"""Classifier two-sample test: can a classifier tell draws of a run from draws of the reference?"""

import math
from importlib.util import find_spec

import numpy as np
from scipy import stats

from sgdvi._internal.text import number
from sgdvi.diagnostics.findings import Finding, Status
from sgdvi.diagnostics.thresholds import Thresholds

_FOLDS = 5
_TITLE = "Classifier two-sample test (C2ST)"
_SOURCE = "Lopez-Paz, Oquab 2017, ICLR; gradient-boosted trees, 5 folds of consecutive draws"


def available() -> bool:
    """Whether scikit-learn is installed (the extra ``sgdvi[c2st]``)."""
    return find_spec("sklearn") is not None


def accuracy(run: np.ndarray, reference: np.ndarray) -> tuple[float, int]:
    """Return the accuracy on held-out draws, 0.5 where the laws agree, and the number of draws it comes from.

    Both are (n, d), thinned to their effective number; the larger one is cut. Folds are runs of consecutive draws, so
    that neighbours that resemble each other are not on both sides of a split.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    size = min(len(run), len(reference)) // _FOLDS * _FOLDS
    pick = [np.linspace(0, len(each) - 1, size).round().astype(int) for each in (run, reference)]
    features = np.concatenate([run[pick[0]], reference[pick[1]]])
    labels = np.repeat([1, 0], size)
    fold = np.tile(np.arange(size) * _FOLDS // size, 2)
    right = 0
    # On so few rows threads wait for each other longer than they work, on a busy machine many times as long.
    with threadpool_limits(limits=1, user_api="openmp"):
        for k in range(_FOLDS):
            model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, random_state=0, early_stopping=False)
            model.fit(features[fold != k], labels[fold != k])
            right += int((model.predict(features[fold == k]) == labels[fold == k]).sum())
    return right / (2 * size), 2 * size


def finding(run: str, share: float, size: int, against: str, thresholds: Thresholds) -> Finding:
    """Check that the accuracy is what guessing gives."""
    null = 0.5 + stats.norm.ppf(thresholds.null_quantile) * math.sqrt(0.25 / size)
    advice = ""
    chance = f"guessing gives 0.5, and up to {number(null)} by chance"
    if null > thresholds.c2st_blind:
        status, meaning, advice = Status.UNKNOWN, f"Too few effective draws for a classifier ({chance}).", "Run longer."
    elif share <= null:
        status, meaning = Status.PASS, f"A classifier tells {run} from {against} in {number(share)} of cases: {chance}."
    else:
        status = Status.FAIL if share > thresholds.c2st_fail else Status.WARN
        meaning = f"A classifier tells {run} from {against} in {number(share)} of cases; {chance}."
        advice = "The laws differ somewhere, alone or jointly: see the distances of the functionals."
    return Finding(
        check="distance.c2st",
        run=run,
        title=_TITLE,
        value=share,
        threshold=null,
        status=status,
        meaning=meaning,
        advice=advice,
        source=_SOURCE,
        details={"against": against, "null_level": null, "draws": size},
    )
