"""Comparisons for the report: synthetic draws, so that nothing has to run."""

from dataclasses import replace

import numpy as np
import numpyro.distributions as dist
import pytest

from sgdvi import compare
from sgdvi.comparison import Comparison
from sgdvi.draws import from_samples, make_tree
from sgdvi.draws.tree import factors
from sgdvi.report import Card, Context, Setting, Stage


def balanced(rng: np.random.Generator, chains: int = 4, draws: int = 500):
    v = rng.gamma(60, 0.01, (chains, draws))
    sign = np.where(np.arange(chains) % 2, 1.0, -1.0)[:, None]
    return make_tree({"u": sign * np.sqrt(v), "w": sign * np.sqrt(v)}, kind="sgd", chain_status=ok(chains))


def ok(chains: int) -> dict:
    return {"status": np.full(chains, "ok"), "step": np.full(chains, -1)}


def spread(rng: np.random.Generator):
    u = rng.normal(0, 1, (4, 500))
    u = np.where(np.abs(u) < 0.3, 0.3, u)
    return make_tree({"u": u, "w": rng.normal(0.6, 0.05, (4, 500)) / u}, kind="nuts")


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    """Two factors: SGD on the balanced line, NUTS on the valley, VI beside it, and two laws."""
    rng = np.random.default_rng(1)
    runs = {
        "SGD": balanced(rng),
        "exact law": dist.LogNormal(-0.52, 0.13),
        "exact posterior": dist.Normal(0.6, 0.05),
        "NUTS": spread(rng),
        "mean-field VI": from_samples({"u": rng.normal(0.77, 0.05, 900), "w": rng.normal(0.77, 0.05, 900)}),
    }
    return compare(runs, functionals={"v": lambda ds: ds.u * ds.w})


def crowded(comparison: Comparison, more: int) -> Comparison:
    """Add runs, each with a cloud of draws of its own in the plane of the factors."""
    rng = np.random.default_rng(4)
    clouds = rng.choice([-1, 1], (more, 4, 500)) * rng.lognormal(-0.3, 0.4, (more, 4, 500))
    around = rng.normal(0, 0.2, clouds.shape)
    runs = {f"remedy {k}": make_tree({"u": u, "w": 0.6 / u + around[k]}, kind="nuts") for k, u in enumerate(clouds)}
    return replace(
        comparison,
        runs={**comparison.runs, **runs},
        factors={**comparison.factors, **{run: factors(tree) for run, tree in runs.items()}},
        values={**comparison.values, **{run: {"v": rng.normal(0.6, 0.1, (4, 500))} for run in runs}},
        summaries={**comparison.summaries, **dict.fromkeys(runs, comparison.summaries["NUTS"])},
        findings=(
            *comparison.findings,
            *(replace(f, run=run) for run in runs for f in comparison.findings if f.run == "NUTS"),
        ),
    )


@pytest.fixture(scope="session")
def crowd(comparison) -> Comparison:
    """As many runs as `--remedies` makes."""
    return crowded(comparison, 4)


@pytest.fixture(scope="session")
def throng(comparison) -> Comparison:
    """As many runs as `--remedies` makes beside all references."""
    return crowded(comparison, 10)


@pytest.fixture(scope="session")
def many() -> Comparison:
    """Twelve functionals and no law."""
    rng = np.random.default_rng(2)
    names = [f"b{k}" for k in range(12)]
    shifts = np.linspace(0, 0.6, 12)
    sgd = {name: rng.normal(shift, 1, (4, 400)) for name, shift in zip(names, shifts, strict=True)}
    nuts = {name: rng.normal(0, 1, (4, 400)) for name in names}
    runs = {
        "SGD": make_tree(sgd, kind="sgd", chain_status=ok(4)),
        "NUTS": make_tree(nuts, kind="nuts"),
    }
    return compare(runs, functionals={name: lambda ds, name=name: ds[name] for name in names})


def normal(rng: np.random.Generator, scales: dict[str, float], kind: str):
    draws = {name: rng.normal(0, scale, (4, 500)) for name, scale in scales.items()}
    return make_tree(draws, kind=kind, **({"chain_status": ok(4)} if kind == "sgd" else {}))


@pytest.fixture(scope="session")
def three() -> tuple[Comparison, Context]:
    """Three runs and three functionals, of which SGD is too narrow on one, as `sgdvi compare` shows them."""
    rng = np.random.default_rng(5)
    runs = {
        "SGD": normal(rng, {"a": 1, "b": 0.3, "c": 1}, "sgd"),
        "NUTS": normal(rng, dict.fromkeys("abc", 1), "nuts"),
        "mean-field VI": normal(rng, dict.fromkeys("abc", 0.8), "vi"),
    }
    call = "import sgdvi\n\nresult = sgdvi.run('mine.py', learning_rate=0.1, num_steps=1000, seed=0)\nprint(result)"
    command = "sgdvi compare mine.py --steps 1000 --out somewhere --overwrite"
    context = Context(problem=Card(name="mine"), command=command, call=call)
    return compare(runs, functionals={name: lambda ds, name=name: ds[name] for name in "abc"}), context


@pytest.fixture(scope="session")
def forty() -> Comparison:
    """Forty functionals under six runs."""
    rng, names = np.random.default_rng(6), [f"theta[{k}]" for k in range(40)]
    kinds = {"SGD": "sgd", "NUTS": "nuts", **{f"VI {k}": "vi" for k in range(4)}}
    runs = {run: normal(rng, dict.fromkeys(names, 1 + 0.2 * k), kind) for k, (run, kind) in enumerate(kinds.items())}
    return compare(runs, functionals={name: lambda ds, name=name: ds[name] for name in names})


@pytest.fixture(scope="session")
def collapsed() -> Comparison:
    """SGD falling to 0 with a few NaN draws, against a posterior away from 0."""
    rng = np.random.default_rng(3)
    fall = np.exp(-0.05 * np.arange(400) + rng.normal(0, 1, (4, 400)))
    fall[3, 300:] = np.nan
    status = {"status": np.array(["ok", "ok", "ok", "overflowed"]), "step": np.array([-1, -1, -1, 300])}
    runs = {
        "SGD": make_tree({"u": np.sqrt(fall), "w": np.sqrt(fall)}, kind="sgd", chain_status=status),
        "NUTS": spread(rng),
    }
    return compare(runs, functionals={"v": lambda ds: ds.u * ds.w})


@pytest.fixture(scope="session")
def context() -> Context:
    """A context whose texts try to be markup."""
    problem = Card(
        name="<script>alert(1)</script>",
        linear=True,
        minimizer=0.6,
        description='A "quoted" description with <b>markup</b>.',
        source="Somewhere & elsewhere",
    )
    return Context(
        problem=problem,
        settings=(Setting("learning rate", "0.02", "as <i>given</i>"),),
        stages=(Stage("SGD", 1.5), Stage("full-rank VI", skipped="the prior is improper")),
        command="sgdvi compare '<x>'",
        call="sgdvi.run(...)",
        environment={"jax": "0.12"},
    )


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Leave the figures empty, for tests of what stands around them: drawing them takes most of the time of a page."""
    monkeypatch.setattr("sgdvi._internal.style.figure._svg", lambda figure: "<svg/>")
