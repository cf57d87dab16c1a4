"""The three answers of the verdict on plain SGD that was not run: by what is foreseen of it."""

from collections.abc import Mapping

from sgdvi._internal.text import listed, number
from sgdvi.diagnostics.answers import USES, Answer
from sgdvi.diagnostics.declare import Question
from sgdvi.diagnostics.findings import Status
from sgdvi.experiment.forecast_result import USABLE_RATIO, USABLE_W1, Flavour, Forecast

Answers = tuple[Mapping[str, Answer], Mapping[str, Status]]


def answers_as_foreseen(why_not: str, forecast: Forecast) -> Answers:
    """Return answers and uses, as in `Verdict`.

    Means are usable where each is within 0.1 posterior sd, intervals where also W1 is and all standard deviations are
    0.85 to 1.18 of the posterior's. Of tails and predictions a law near the mode says nothing but that they are wrong
    where intervals are.

    Parameters
    ----------
    why_not
        Why plain SGD was not run.
    forecast
        What is foreseen; without a mode nothing of it can be used.
    """
    arrive = Answer(Status.FAIL, f"Not run: {why_not}.")
    if not forecast.flavours:
        same = Answer(Status.FAIL, "No: without a mode plain SGD has no law that could be the posterior.")
        uses = dict.fromkeys(USES, Status.FAIL)
        return _answers(arrive, same, Answer(Status.FAIL, "Good for nothing: there is no law.")), uses
    plain = forecast["plain"]
    ratios = plain.sd_ratio.values()
    far = f"W1 = {number(plain.largest_w1, 2)} sd, sds {min(ratios):.2f} to {max(ratios):.2f} of the posterior's"
    doubt = "" if forecast.reliable else f"; the forecast is not reliable: {'; '.join(forecast.doubts)}"
    near = len(plain.usable) == len(plain.w1)
    word, status = ("Yes", Status.PASS) if near else ("No", Status.FAIL)
    if doubt:
        word, status = "Cannot tell", Status.UNKNOWN
    same = Answer(status, f"{word}, as foreseen: {far}{doubt}.")
    uses = _uses(plain, forecast) if not doubt else dict.fromkeys(USES, Status.UNKNOWN)
    good = [use for use, each in uses.items() if each is Status.PASS]
    sentence = f"As foreseen, good for {listed(good)}." if good else "As foreseen, good for nothing that is known."
    if plain.usable and not near:
        sentence += f" Usable quantities: {listed(plain.usable)}."
    status = Status.UNKNOWN if doubt else Status.PASS if near else Status.WARN if good or plain.usable else Status.FAIL
    return _answers(arrive, same, Answer(status, sentence)), uses


def _answers(arrive: Answer, same: Answer, use: Answer) -> dict[str, Answer]:
    return {Question.ARRIVE.value: arrive, Question.SAME.value: same, Question.USE.value: use}


def _uses(plain: Flavour, forecast: Forecast) -> dict[str, Status]:
    truth, (low, high) = forecast.posterior, USABLE_RATIO
    shifts = (abs(plain.summary[name]["mean"] - each["mean"]) / each["sd"] for name, each in truth.items())
    widths = all(low <= ratio <= high for ratio in plain.sd_ratio.values()) and plain.largest_w1 <= USABLE_W1
    rest = Status.UNKNOWN if widths else Status.FAIL
    means = Status.PASS if max(shifts) <= USABLE_W1 else Status.FAIL
    intervals = Status.PASS if widths else Status.FAIL
    return dict(zip(USES, (means, intervals, rest, Status.UNKNOWN), strict=True))
