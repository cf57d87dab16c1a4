"""Theorem 3.1: the law of balance, in the flow and step by step."""

import numpy as np

from sgdvi.experiment.claims._claim import Measured, Run, Verdict, claim, verdict
from sgdvi.experiment.claims._relu import network

EXACT = 1e-10
RATE, BATCH = 0.01, 8


@claim(
    "T1",
    "Law of balance",
    paper="theorem 3.1, eq. 2",
    says="Where the loss does not change under u -> a u, w -> w/a, the noise of SGD does not reach |u|^2 - |w|^2: it "
    "moves by d(|u|^2 - |w|^2)/dt = -T (u'C1 u - w'C2 w).",
    setting="ReLU network 5-6-3, {rows} rows, x ~ N(0, I), y = three of x + N(0, I), weights N(0, 1).",
    how="For each neuron, `predicted_drift` at T = 1 against -(u'C1 u - w'C2 w) with the matrices of `covariances`, "
    "and against the trace of the noise of per-sample gradients written out in NumPy; u is the side with exponent 1.",
    criterion=f"Identities: equal to {EXACT:g} of the size of their two terms.",
    expected=Verdict.HOLDS,
)
def flow(run: Run) -> Measured:
    """Compare three forms of the drift."""
    made = network(run.seed)
    forms, traces = 0.0, 0.0
    for i, symmetry in enumerate(made.symmetries):
        incoming, outgoing = (gradients.var(0).sum() for gradients in made.neuron(i))
        sides = {"w": made.params["w"][:, i], "u": made.params["u"][i]}
        plus, minus = ("w", "u") if symmetry.sides[0][0].exponent == symmetry.exponents[_name(symmetry, "w")] else "uw"
        c1, c2 = symmetry.covariances(made.params)
        u, w = sides[plus], sides[minus]
        stated, size = symmetry.predicted_drift(made.params, 1.0), incoming + outgoing
        forms = max(forms, abs(stated + u @ c1 @ u - w @ c2 @ w) / size)
        own = incoming - outgoing if plus == "w" else outgoing - incoming
        traces = max(traces, abs(stated - own) / size)
    return Measured(
        verdict(forms < EXACT, traces < EXACT),
        "Over {neurons} neurons the drift agrees to {forms:.0e} with C1 and C2 and to {traces:.0e} with the gradients.",
        {"forms": forms, "traces": traces, "neurons": len(made.symmetries), "rows": len(made.x)},
    )


@claim(
    "T8",
    "Law of balance to second order",
    paper="A.3, eqs. 45 and 50",
    says="To second order in the learning rate the law of balance has a further term.",
    setting="ReLU network 5-6-3, {rows} rows; one step of SGD, learning rate 0.01, batches of 8.",
    how="The literal texts of eqs. 45 and 50 are not available here. What holds to every order is an identity: a "
    "step with minibatch gradient g changes the charge by eta^2 g'A g. `next_charge` against a step made by hand, "
    "for each neuron.",
    criterion=f"Identity: equal to {EXACT:g} of the charge's terms. The claim itself cannot be told without its text.",
    expected=Verdict.UNKNOWN,
)
def steps(run: Run) -> Measured:
    """Make a step and compare the charges."""
    made, worst = network(run.seed), 0.0
    rows = run.rng(1).integers(len(made.x), size=BATCH)
    of = [made.neuron(i) for i in range(len(made.symmetries))]
    gradient = {
        "w": np.stack([incoming[rows].mean(0) for incoming, _ in of], axis=1),
        "u": np.stack([outgoing[rows].mean(0) for _, outgoing in of]),
    }
    after = {name: leaf - RATE * gradient[name] for name, leaf in made.params.items()}
    for symmetry in made.symmetries:
        stated = symmetry.next_charge(made.params, gradient, RATE)
        size = sum(float((leaf**2).sum()) for leaf in after.values())
        worst = max(worst, abs(stated - symmetry.charge(after)) / size)
    return Measured(
        verdict(worst < EXACT, None),
        "Eqs. 45 and 50 literally: not available. The exact identity for finite steps, which is stronger, holds to "
        "{worst:.0e}.",
        {"worst": worst, "rows": len(made.x)},
    )


def _name(symmetry: object, leaf: str) -> str:
    return next(name for name in symmetry.exponents if name.startswith(leaf))  # type: ignore[attr-defined]
