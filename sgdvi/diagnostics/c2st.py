"""Classifier two-sample test: can a classifier tell draws of a run from draws of the reference?"""

import math
from importlib.util import find_spec

import numpy as np
from scipy import stats

from sgdvi._internal.text import number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check
from sgdvi.diagnostics.findings import Details, Status
from sgdvi.diagnostics.joint import samples
from sgdvi.diagnostics.thresholds import Thresholds

_FOLDS = 5


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


@check(
    "distance.c2st",
    "Classifier two-sample test (C2ST)",
    "Lopez-Paz, Oquab 2017, ICLR; gradient-boosted trees, 5 folds of consecutive draws",
    thresholds=("c2st_fail", "c2st_blind", "null_quantile"),
    kinds=("judged",),
)
def c2st(case: Case) -> Outcome:
    """A classifier tells the draws from those of the reference no more often than guessing does."""
    if case.against is None:
        raise Skip(case.facts.improper or "There is no reference to compare with.")
    if not case.classifier:
        raise Skip("On request: compare(..., classifier=True).")
    if not available():
        raise Skip("Needs scikit-learn: pip install 'sgdvi[c2st]'.")
    try:
        share, size = accuracy(*samples(case))
    except Skip as skip:
        raise Skip("Too few effective draws.", Status.UNKNOWN) from skip
    return guessed(case.run.name, share, size, case.against.name, case.limits)


def guessed(run: str, share: float, size: int, against: str, limits: Thresholds) -> Outcome:
    """Judge the accuracy of a classifier on so many draws."""
    null = 0.5 + float(stats.norm.ppf(limits.null_quantile)) * math.sqrt(0.25 / size)
    chance = f"guessing gives 0.5, and up to {number(null)} by chance"
    details: Details = {"against": against, "null_level": null, "draws": size}
    if null > limits.c2st_blind:
        meaning = f"Too few effective draws for a classifier ({chance})."
        return Outcome(Status.UNKNOWN, meaning, share, null, "Run longer.", details)
    start = f"A classifier tells {run} from {against} in {number(share)} of cases"
    if share <= null:
        return Outcome(Status.PASS, f"{start}: {chance}.", share, null, details=details)
    status = Status.FAIL if share > limits.c2st_fail else Status.WARN
    advice = "The laws differ somewhere, alone or jointly: see the distances of the functionals."
    return Outcome(status, f"{start}; {chance}.", share, null, advice, details)
