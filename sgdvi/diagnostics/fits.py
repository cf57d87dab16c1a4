"""Has a fit converged? To be known before it is judged how good it is."""

from sgdvi._internal.text import count, number
from sgdvi.diagnostics.case import Case
from sgdvi.diagnostics.declare import Outcome, Skip, check
from sgdvi.diagnostics.findings import Details, Status

_LONGER = 10
# Steps of Adam; a Gaussian on fixed draws takes hundreds of L-BFGS.
_STEPS = 5_000


def _trend(bounds: list[float]) -> str:
    """Say where the bound went in the second half of the fit; "" where it was not kept."""
    if len(bounds) < 2:
        return ""
    middle, last = bounds[len(bounds) // 2], bounds[-1]
    return f" In the second half of the fit its bound went from {number(middle, 6)} to {number(last, 6)} nats."


@check(
    "fit.convergence",
    "Convergence of the fit",
    "A fit that still moves has no law to judge: the gradient of its bound, two sets of draws, or the bound's trend.",
    question="arrive",
    kinds=("draws",),
    of_chains=False,
    gate=True,
    first=True,
)
def convergence(case: Case) -> Outcome:
    """The fit that the draws are from has converged, by what was recorded of it."""
    run = case.draws
    if run.fit is None:
        raise Skip("The draws are not from a fit, or nothing is recorded of its convergence.")
    bounds = [float(bound) for bound in run.settings.get("elbo", ())]
    details: Details = {"last_bound": bounds[-1] if bounds else None}
    if not run.unconverged:
        return Outcome(Status.PASS, f"The fit of {run.name} has converged.", details=details)
    steps = _LONGER * int(run.settings.get("num_steps", _STEPS))
    advice = f"Fit {run.name} for longer, with {count(steps, 'step')}"
    family = run.settings.get("family")
    if family:
        call = f"variational(problem, key=jax.random.key(0), family={family!r}, num_steps={steps})"
        advice += f": sgdvi.samplers.references.{call}"
    # a reference that has not converged is none; a run is not failed for it, its law is not known yet
    status = Status.FAIL if "reference" in case.kinds else Status.UNKNOWN
    meaning = f"The fit of {run.name} has not converged: {run.unconverged}.{_trend(bounds)}"
    return Outcome(status, meaning, None, None, f"{advice}.", details)
