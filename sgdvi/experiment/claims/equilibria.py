"""Beyond the paper: where SGD comes to rest along symmetries of other kinds, from the gradients at one minimum."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sgdvi.experiment.claims._chains import over_chains
from sgdvi.experiment.claims._claim import ERRORS, Measured, Run, Verdict, claim, verdict
from sgdvi.symmetry import find_symmetries

CHAINS = 32


def _end(
    loss: Callable[..., Any], start: Any, data: Any, run: Run, rate: float, steps: int, decay: float, of: Any
) -> np.ndarray:
    """Mean of a measure over the second half of SGD with one row per step, one for each chain."""
    data = jax.tree.map(jnp.asarray, data)

    def step(params: Any, key: jax.Array) -> Any:
        row = jax.random.randint(key, (1,), 0, len(data[0]))
        slope = jax.grad(lambda p: loss(p, jax.tree.map(lambda a: a[row], data)).mean())(params)
        params = jax.tree.map(lambda a, b: (1 - 2 * rate * decay) * a - rate * b, params, slope)
        return params, of(params)

    def chain(key: jax.Array) -> Any:
        seen = jax.lax.scan(step, jax.tree.map(jnp.asarray, start), jax.random.split(key, steps))[1]
        return seen[steps // 2 :].mean(0)

    keys = jax.random.split(jax.random.key(run.seed), CHAINS)
    return np.asarray(jax.jit(jax.vmap(chain))(keys))


@claim(
    "B3",
    "Rest of other exponents",
    paper="beyond it",
    says="Along a symmetry with exponents other than +1 and -1 SGD comes to rest where sums of the exponents times "
    "noise are 0, which one minimum tells.",
    setting="u (w.x)^2 with exponents 2 and -1, {rows} rows, three inputs; batches of 1, eta = {slow} and {fast}, "
    "{chains} chains of {steps} steps at the smaller rate, the second half, from the predicted rest moved by 0.15 "
    "along the orbit.",
    how="log(u^2/|w|^2)/6, which grows by s along the orbit, at both rates and continued in a line to eta = 0, against "
    "that of `Symmetry.equilibrium`, which is off by O(eta).",
    criterion=f"Continued, within 0.01 and {ERRORS:g} standard errors of the prediction; at the smaller rate more than "
    "0.08 from where the chains began.",
    expected=Verdict.HOLDS,
)
def exponents(run: Run) -> Measured:
    """Start off the rest of u (w.x)^2 and see where SGD comes to rest."""
    rng, rows, rates = run.rng(), 60, (0.003 if run.quick else 0.002, 0.004)
    x = rng.standard_normal((rows, 3))
    data = x, (x @ [1.0, -0.5, 0.4]) ** 2 + 0.5 * rng.standard_normal(rows)
    first = {"u": np.array(1.0), "w": np.array([1.0, -0.4, 0.3])}

    def loss(params: Any, batch: Any) -> Any:
        return (params["u"] * (batch[0] @ params["w"]) ** 2 - batch[1]) ** 2

    def place(params: Any) -> Any:
        return jnp.log(params["u"] ** 2 / (params["w"] @ params["w"])) / 6

    symmetry = find_symmetries(loss, first, data, key=jax.random.key(run.seed))[0]
    rest = symmetry.equilibrium(rates[0], learning_rate=rates[0])
    relaxation, start = float(rest.relaxation_steps), symmetry.transform(rest.params, np.exp(0.15))
    steps = [int(6 * relaxation * (rates[0] / rate) ** 2) for rate in rates]
    (seen, error), (far, other) = (
        over_chains(_end(loss, start, data, run, rate, count, 0.0, place))
        for rate, count in zip(rates, steps, strict=True)
    )
    aim, begun, reach = float(place(rest.params)), float(place(start)), rates[0] / (rates[1] - rates[0])
    limit, error = seen + reach * (seen - far), float(np.hypot((1 + reach) * error, reach * other))
    return Measured(
        verdict(abs(limit - aim) < 0.01 + ERRORS * error, abs(seen - begun) > 0.08),
        "At {seen:.3f} and {far:.3f}, continued {limit:.3f}, error {error:.3f}, predicted {aim:.3f}, from {begun:.3f}; "
        "a small imbalance falls to 1/e in {relaxation:.0f} steps at the smaller rate.",
        {"seen": seen, "far": far, "limit": limit, "error": error, "aim": aim,
         "begun": begun, "rows": rows, "chains": CHAINS, "relaxation": relaxation, "steps": steps[0],
         "slow": rates[0], "fast": rates[1]},
    )  # fmt: skip


@claim(
    "B4",
    "Rest of a product of matrices",
    paper="beyond it",
    says="A product U W of matrices comes to rest at the geometric mean of two matrices of noise, all k^2 "
    "directions of "
    "its symmetry at once.",
    setting="U (3 x 2) times W (2 x 4), {rows} rows, weight decay 0.05; batches of 1, eta = 0.005; {chains} chains of "
    "{steps} steps, the second half, from the predicted rest with one hidden unit scaled by 1.3.",
    how="Diagonal of U'U against that of `Symmetries.equilibrium`.",
    criterion=f"Within 4 %, what steps of this size change, and {ERRORS:g} standard errors; the start is off by more "
    "than 40 %.",
    expected=Verdict.HOLDS,
)
def matrices(run: Run) -> Measured:
    """Start off the rest of a product of matrices and see where SGD comes to rest."""
    rng, rows, rate, decay, steps = run.rng(), 100, 0.005, 0.05, run.size(12_000, 6_000)
    x = rng.standard_normal((rows, 4))
    data = x, x @ rng.standard_normal((4, 3)) + rng.standard_normal((rows, 3))

    def loss(params: Any, batch: Any) -> Any:
        return ((batch[0] @ params["W"].T @ params["U"].T - batch[1]) ** 2).sum(-1)

    first = {"U": 3 * rng.standard_normal((3, 2)), "W": 0.3 * rng.standard_normal((2, 4))}
    symmetries = find_symmetries(loss, first, data, key=jax.random.key(run.seed))
    rest = symmetries.equilibrium(rate, decay, learning_rate=rate)
    start = symmetries[0].transform(rest.params, 1.3)
    ends = _end(loss, start, data, run, rate, steps, decay, lambda p: (p["U"] ** 2).sum(0))
    aim, begun = (np.sum(np.asarray(params["U"]) ** 2, axis=0) for params in (rest.params, start))
    off, error = ends.mean(0) / aim - 1, ends.std(0, ddof=1) / np.sqrt(CHAINS) / aim
    moved = float(np.abs(begun / aim - 1).max())
    return Measured(
        verdict(bool(np.all(np.abs(off) < 0.04 + ERRORS * error)), moved > 0.4),
        "Off by {off:.1%} at most, errors up to {error:.1%}, from {moved:.0%} at the start.",
        {"off": float(np.abs(off).max()), "error": float(error.max()), "moved": moved, "rows": rows, "chains": CHAINS,
         "steps": steps},
    )  # fmt: skip


@claim(
    "B5",
    "Rest of a scale invariance",
    paper="beyond it",
    says="Weights whose scale the loss does not see come to rest, under weight decay, at the square sqrt(T kappa/4 "
    "gamma), kappa = |theta|^2 Tr C: noise alone grows them.",
    setting="w.x/|w|, {rows} rows, three inputs, gamma = 0.02; batches of 1, eta = 0.02, {chains} chains of "
    "{steps} steps, "
    "the second half, from the predicted radius times 1.3.",
    how="|w|^2 against `Symmetry.equilibrium`; and the balance of every step, 4 gamma (1 - eta gamma) E|w|^2 = eta "
    "E|g|^2, of the same steps.",
    criterion=f"|w|^2 above the prediction by at most eta over it, to first order in eta, and {ERRORS:g} standard "
    "errors; "
    "the balance within that error and 1 %.",
    expected=Verdict.HOLDS,
)
def radius(run: Run) -> Measured:
    """Start off the radius of w.x/|w| and see where SGD comes to rest."""
    rng, rows, rate, decay = run.rng(), 80, 0.02, 0.02
    x = rng.standard_normal((rows, 3))
    data = x, np.sign(x @ [1.0, 0.5, -0.2] + 0.8 * rng.standard_normal(rows))

    def loss(params: Any, batch: Any) -> Any:
        return (batch[0] @ params["w"] / jnp.sqrt(params["w"] @ params["w"]) - batch[1]) ** 2

    def sizes(params: Any) -> Any:
        slopes = jax.vmap(jax.grad(lambda p, a, b: loss(p, (a[None], b[None]))[0]), (None, 0, 0))(params, *data)
        return jnp.stack([params["w"] @ params["w"], (slopes["w"] ** 2).sum(1).mean()])

    (symmetry,) = find_symmetries(loss, {"w": np.array([1.0, 0.4, 0.1])}, data, key=jax.random.key(run.seed))
    rest = symmetry.equilibrium(rate, decay, learning_rate=rate)
    steps, start = int(12 * rest.relaxation_steps), {"w": 1.3 * np.asarray(rest.params["w"])}
    ends = _end(loss, start, data, run, rate, steps, decay, sizes)
    charge, aim = over_chains(ends[:, 0]), float(rest.charge)
    ratio = over_chains(rate * ends[:, 1] / (4 * decay * (1 - rate * decay) * ends[:, 0]))
    excess = charge[0] / aim - 1
    return Measured(
        verdict(
            abs(excess) < rate / aim + ERRORS * charge[1] / aim, abs(ratio[0] - 1) < ERRORS * ratio[1] + 0.01
        ),
        "|w|^2 is {times:.3f} ± {error:.3f} of the predicted {aim:.3f}; noise over decay is {ratio:.3f} ± "
        "{scatter:.3f}.",
        {"times": 1 + excess, "error": charge[1] / aim, "aim": aim, "ratio": ratio[0], "scatter": ratio[1],
         "rows": rows, "chains": CHAINS, "steps": steps},
    )  # fmt: skip
