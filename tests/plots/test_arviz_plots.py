"""ArviZ's own plots work on every run that a comparison is made of: its trees are ArviZ's, with nothing special."""

import warnings

import arviz as az
import jax
import matplotlib
import pytest

import sgdvi

PLOTS = ["forest", "rank", "ess", "mcse", "autocorr", "trace", "dist", "pair"]
PREDICTIVE = ["ppc_dist", "ppc_pit", "loo_pit"]


@pytest.fixture(scope="module")
def runs():
    """SGD, NUTS and variational inference on real data, with predictions."""
    problem, key = sgdvi.zoo.load("diabetes", depth=1), jax.random.key(3)
    sampler = sgdvi.SGD(problem.model, learning_rate=0.01, batch_size=16)
    options = {"num_steps": 2000, "num_warmup": 20_000, "num_chains": 4, "thinning": 4, "progress": False}
    trees = {
        "SGD": sgdvi.sample(sampler, problem.data, key=key, **options),
        "NUTS": sgdvi.samplers.references.nuts(problem, key, num_warmup=200, num_samples=200),
        "mean-field VI": sgdvi.samplers.references.variational(problem, key, "mean-field", num_samples=1000),
    }
    return {name: sgdvi.with_predictions(tree, problem, key=key, num_draws=200) for name, tree in trees.items()}


@pytest.fixture(autouse=True)
def _closed():
    matplotlib.use("agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def draw(name: str, tree) -> None:
    with warnings.catch_warnings():
        # of short runs ArviZ warns that they are short
        warnings.simplefilter("ignore")
        shown = getattr(az, f"plot_{name}")(tree, backend="matplotlib")
    assert shown.viz is not None


@pytest.mark.parametrize("name", PLOTS)
def test_plots_of_draws(runs, name):
    for tree in runs.values():
        one = tree["posterior"].sizes["chain"] == 1  # independent draws, and ranks compare chains
        draw(name, sgdvi.draws.in_chains(tree) if name == "rank" and one else tree)


@pytest.mark.parametrize("name", PREDICTIVE)
def test_plots_of_predictions(runs, name):
    for tree in runs.values():
        draw(name, tree)


def test_leave_one_out_is_computed_for_every_run(runs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = {name: az.loo(tree).elpd for name, tree in runs.items()}
    # the likelihood of one slope: all runs predict nearly alike
    assert max(values.values()) - min(values.values()) < 10


def test_energy_of_nuts(runs):
    draw("energy", runs["NUTS"])
