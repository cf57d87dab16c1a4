"""Section 3: the balanced point of an orbit, bounds on the norms there, and neurons that are degenerate."""

import numpy as np

from sgdvi.experiment.claims._claim import Measured, Run, Verdict, claim, verdict
from sgdvi.experiment.claims._relu import network
from sgdvi.symmetry.scaling import extreme_eigenvalues

EXACT = 1e-9


@claim(
    "T3",
    "Balanced point",
    paper="after eq. 3",
    says="On the orbit u = a u*, w = w*/a the noise is balanced at a^4 = (w*'C2 w*)/(u*'C1 u*).",
    setting="ReLU network 5-6-3, {rows} rows, weights N(0, 1).",
    how="Both noise terms at `balanced_point` of each neuron, against each other and against the root of their "
    "product at the start, which a^4 makes of both; the factor itself from the norms.",
    criterion=f"Identities: equal to {EXACT:g}, the tolerance of the root that is searched.",
    expected=Verdict.HOLDS,
)
def point(run: Run) -> Measured:
    """Move to the balanced point and compare the noise terms."""
    made, equal, factor = network(run.seed), 0.0, 0.0
    for symmetry in made.symmetries:
        above, below = symmetry.noise_terms(made.params)
        moved = symmetry.balanced_point(made.params)
        one, two = symmetry.noise_terms(moved)
        equal = max(equal, abs(one / two - 1), abs(one / np.sqrt(above * below) - 1))
        fourth = symmetry.norm_ratio(moved) / symmetry.norm_ratio(made.params)  # a^4: u grows by a, w falls by it
        factor = max(factor, abs(fourth / (above / below) - 1))
    return Measured(
        verdict(equal < EXACT, factor < EXACT),
        "The terms agree to {equal:.0e}, a^4 with their ratio to {factor:.0e}.",
        {"equal": equal, "factor": factor, "rows": len(made.x)},
    )


@claim(
    "T4",
    "Bounds on the norms",
    paper="eq. 4",
    says="At balance |u|^2/|w|^2 lies between ratios of the extreme eigenvalues of C1 and C2.",
    setting="ReLU network 5-6-3, {rows} rows, weights N(0, 1) and 20 more draws of them.",
    how="The norm ratio of each neuron at its balanced point, against `norm_ratio_bounds` there.",
    criterion="A theorem: no violation. The eigenvalues depend on the weights, so the bounds move along the orbit "
    "and are taken at the point itself; how far apart they are is printed.",
    expected=Verdict.HOLDS,
)
def bounds(run: Run) -> Measured:
    """Count violations of the bounds."""
    made, rng, outside, widths = network(run.seed), run.rng(1), 0, []
    trials = [made.params] + [
        {name: rng.standard_normal(leaf.shape) for name, leaf in made.params.items()} for _ in range(run.size(20, 5))
    ]
    for params in trials:
        for symmetry in made.symmetries:
            moved = symmetry.balanced_point(params)
            low, high = symmetry.norm_ratio_bounds(moved)
            ratio = symmetry.norm_ratio(moved)
            outside += not low * (1 - EXACT) <= ratio <= high * (1 + EXACT)
            widths.append(high / low)
    return Measured(
        verdict(outside == 0),
        "{outside} of {neurons} neurons violate them; the upper bound is {width:.0f} times the lower in the median.",
        {"outside": outside, "neurons": len(widths), "width": float(np.median(widths)), "rows": len(made.x)},
    )


@claim(
    "T5",
    "Full rank if and only if active",
    paper="theorem 3.2",
    says="C1 and C2 of a neuron have full rank if and only if it is active; a dead one has none.",
    setting="ReLU network 5-6-3, {rows} rows; the last neuron dead: its bias-free weights are replaced by inputs "
    "that are never positive.",
    how="The smallest eigenvalue of C1 and C2 over the largest, neuron by neuron, and what `is_degenerate` says.",
    criterion="Active: above 1e-8 of the largest, eight digits over rounding; dead: both matrices exactly 0. The "
    "theorem needs noise in the residuals and as many active rows as inputs, which these data have.",
    expected=Verdict.HOLDS,
)
def ranks(run: Run) -> Measured:
    """Take eigenvalues with the rows on which the last neuron is dead."""
    made = network(run.seed)
    dead = made.params["w"][:, -1]
    quiet = made.x @ dead <= 0  # the same network on the rows that do not activate its last neuron
    data = (made.x[quiet], made.y[quiet])
    shares, says = [], []
    for symmetry in made.symmetries:
        ends = [extreme_eigenvalues(matrix) for matrix in symmetry.covariances(made.params, data=data)]
        shares.append(min(low / high if high else 0.0 for low, high in ends))
        says.append(symmetry.is_degenerate(made.params, data=data))
    *active, off = shares
    return Measured(
        verdict(min(active) > 1e-8, off == 0, says == [False] * len(active) + [True]),
        "Smallest over largest eigenvalue: at least {active:.2g} for {count} active neurons, {dead:g} for the dead "
        "one; `is_degenerate` says the same of all.",
        {"active": min(active), "dead": off, "count": len(active), "rows": int(quiet.sum())},
    )
