"""ArviZ's own plots work on every run that a comparison is made of: its trees are ArviZ's, with nothing special."""

import warnings

import arviz as az
import jax
import matplotlib
import pytest

import sgdvi

PLOTS = ["forest", "rank", "ess", "mcse", "autocorr", "trace", "dist", "pair"]
REFERENCES = ["NUTS", "mean-field VI"]
PREDICTIVE = ["ppc_dist", "ppc_pit", "loo_pit"]


@pytest.fixture(scope="module", params=["SGD", *(pytest.param(name, marks=pytest.mark.slow) for name in REFERENCES)])
def run(request):
    """SGD, NUTS or variational inference on real data, with predictions."""
    problem, key = sgdvi.zoo.load("diabetes", depth=1), jax.random.key(3)
    if request.param == "SGD":
        sampler = sgdvi.SGD(problem.model, learning_rate=0.01, batch_size=16)
        options = {"num_steps": 2000, "num_warmup": 20_000, "num_chains": 4, "thinning": 4, "progress": False}
        tree = sgdvi.sample(sampler, problem.data, key=key, **options)
    elif request.param == "NUTS":
        tree = sgdvi.samplers.references.nuts(problem, key, num_warmup=200, num_samples=200)
    else:
        tree = sgdvi.samplers.references.variational(problem, key, "mean-field", num_samples=1000)
    return sgdvi.with_predictions(tree, problem, key=key, num_draws=200)


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
def test_plots_of_draws(run, name):
    one = run["posterior"].sizes["chain"] == 1  # independent draws, and ranks compare chains
    draw(name, sgdvi.draws.in_chains(run) if name == "rank" and one else run)


@pytest.mark.parametrize("name", PREDICTIVE)
def test_plots_of_predictions(run, name):
    draw(name, run)


def test_leave_one_out_is_computed(run):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        elpd = az.loo(run).elpd
    # of one slope: next to nothing is lost
    assert elpd == pytest.approx(float(run["log_likelihood"]["y"].mean(("chain", "draw")).sum()), abs=10)


@pytest.mark.parametrize("run", [pytest.param("NUTS", marks=pytest.mark.slow)], indirect=True)
def test_energy_of_nuts(run):
    draw("energy", run)
