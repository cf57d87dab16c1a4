"""What the pages promise is there: links, commands, versions, and every public name on an API page."""

import doctest
import importlib
import json
import re
import runpy
import sys
import tomllib
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import create_autospec

import pytest
import yaml

import sgdvi
from sgdvi import testing

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/api/*.md")], key=lambda page: page.as_posix()
)
NAMES = [n for n in sgdvi.__all__ if n != "__version__" and not isinstance(getattr(sgdvi, n), ModuleType)]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        found = page.parent / target
        # the docs build copies the notebooks beside the pages
        copied = ROOT / "notebooks" / f"{Path(target).name}.py"
        assert found.exists() or ("notebooks/" in target and copied.exists()), f"{page.name}: {target}"


def test_paths_in_the_guides_exist() -> None:
    for page in (ROOT / "docs/extending.md", ROOT / "CONTRIBUTING.md"):
        for path in re.findall(r"`((?:sgdvi|tests|models|docs)/[\w./]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_its_place_in_the_api_pages(name: str) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/api/*.md"))
    assert re.search(rf"^\.\. auto\w+:: (sgdvi\.)?{name}$", text, re.MULTILINE), f"no API page shows sgdvi.{name}"


# Examples that compile for more than two seconds each: several laws, a run, a search
SLOW = ("sgdvi.laws.bias_identity", "sgdvi.laws.fluctuation", "sgdvi.noise_balance.call", "sgdvi.quotient.model")
SLOW += ("sgdvi.problem.loss", "sgdvi.experiment.map.call", "sgdvi.variational.tuning")


def run_examples(names: set[str]) -> None:
    results = [doctest.testmod(sys.modules[name]) for name in names]
    assert sum(result.attempted for result in results) > 0
    assert not any(result.failed for result in results)


def test_examples_in_docstrings() -> None:
    run_examples({getattr(sgdvi, name).__module__ for name in NAMES} - set(SLOW))


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_longer_examples_in_docstrings(name: str) -> None:
    importlib.import_module(name)
    run_examples({name})


@pytest.mark.slow
def test_examples_on_the_page_of_the_laws() -> None:
    blocks = re.findall(r"```python\n(>>>.*?)```", (ROOT / "docs/laws.md").read_text(encoding="utf-8"), re.DOTALL)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "laws.md", "docs/laws.md", 0))
    results = runner.summarize()
    assert results.attempted >= 30
    assert not results.failed


# What a page takes for granted before its blocks of Python, and what is shortened in them.
DATA = """
import typing, arviz, arviz_plots, jax, jax.numpy as jnp, numpy as np, numpyro, numpyro.distributions as dist, optax
import scipy.stats, sgdvi, simuk, zarr
rng, key = np.random.default_rng(0), jax.random.key(0)
x = rng.normal(size=100)
y = 0.6 * x + rng.normal(size=100)
"""
FACTORS = """
def model(x, y=None):
    u = numpyro.sample("u", dist.Normal(0, 1))
    w = numpyro.sample("w", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(u * w * x, 1.0), obs=y)
nuts = {site: rng.normal(0.8, 0.1, (4, 50)) for site in "uw"}
"""
NETWORK = """
x, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 1))
params = {"w1": rng.normal(size=(2, 3)), "b1": rng.normal(size=3), "w2": rng.normal(size=(3, 1))}
draws = {name: rng.normal(size=(2, 9, *value.shape)) for name, value in params.items()}
def loss(params, batch):
    x, y = batch
    hidden = jax.nn.relu(x @ params["w1"] + params["b1"])
    return ((hidden @ params["w2"] - y) ** 2).sum(-1)
"""
STEP = """
class State(typing.NamedTuple):
    z: object
class Info(typing.NamedTuple):
    loss: object
def autoregression(key, state, batch):
    loss, gradient = batch.value_and_grad(state.z)
    return State({"theta": 0.6 * state.z["theta"] + 0.8 * jax.random.normal(key)}), Info(loss)
def model(x, y=None):
    theta = numpyro.sample("theta", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(theta * x, 1.0), obs=y)
MyLaw, law, my_algorithm = dist.HalfNormal, scipy.stats.norm(), sgdvi.Algorithm(State, autoregression)
"""
STORED = """
np.ones(400, np.float32).tofile("x.f32")
zarr.save_array("y.zarr", np.ones(400))
sampler = sgdvi.SGD(model, learning_rate=0.01, batch_size=16)
"""
PAGES_THAT_RUN = {
    "README.md": FACTORS,
    "docs/api/laws.md": "",
    "docs/api/samplers.md": """
def model(x, y=None):
    slope = numpyro.sample("slope", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)
hessian, noise = np.eye(2), 2 * np.eye(2)
""",
    "docs/api/symmetry.md": NETWORK
    + """
def model(x, y=None):
    u = numpyro.sample("u", dist.Normal(0, 1))
    w = numpyro.sample("w", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(u * w * x[:, 0], 1.0), obs=None if y is None else y[:, 0])
data, temperature = (x, y), 0.01
w1, b1, w2 = draws["w1"], draws["b1"], draws["w2"]
runs = {name: sgdvi.draws.make_tree(draws, kind=name.lower()) for name in ("SGD", "NUTS")}
functionals = {"b": lambda ds: ds.b1[..., 0]}
""",
    "docs/api/testing.md": STEP,
    "docs/conventions.md": "",
    "docs/draws-from-anywhere.md": "",
    "docs/extending.md": FACTORS,
    "docs/gallery.md": "",
    "docs/getting-started.md": FACTORS,
    "docs/losses.md": "",
    "docs/networks.md": "",
    "docs/real-models.md": FACTORS + "x = abs(x)\ndata = x, y",  # x serves as the sd of a row, too
    "docs/predictions.md": """
labels = np.arange(6) % 3
p_sgd, p_hmc = rng.dirichlet(np.ones(3), (2, 2, 30, 6))
""",
    "docs/report.md": """
problem = sgdvi.zoo.load("diabetes", depth=0)
tree = nuts = sgdvi.draws.make_tree({"u": rng.normal(0.6, 0.04, (4, 50))}, kind="nuts")
""",
    "docs/sampling.md": FACTORS + STORED,
    "docs/symmetry.md": NETWORK,
}


# These need a process that has not begun to compute, or several; tests/samplers/test_devices.py has them. Those that
# are files or lines of the package are written there by tests/test_extending.py.
NOT_RUN = ("jax_num_cpu_devices", "jax.distributed", "# sgdvi/", "import torch", "keras.")


def test_every_page_with_blocks_of_python_is_run() -> None:
    shown = {page.relative_to(ROOT).as_posix() for page in PAGES if "```python\n" in page.read_text(encoding="utf-8")}
    # the laws' page is a doctest
    assert shown - {"docs/laws.md"} == set(PAGES_THAT_RUN)


def shorten(block: str) -> str:
    """Return the block with fewer steps and simulations, and its stores on this disk."""
    block = re.sub(r"thinning=\d+", "thinning=10", re.sub(r"\d+(?:_000)+", "400", block))
    return block.replace("s3://bucket/", "").replace("simulations=200", "simulations=2")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the sampling part of a cycle is too short")  # blocks are shortened
@pytest.mark.parametrize("name", PAGES_THAT_RUN)
def test_blocks_of_the_pages_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sgdvi._internal.style.figure._svg", lambda figure: "<svg/>")
    # a whole run takes half a minute, tests/test_experiment.py has it: here its arguments must fit
    monkeypatch.setattr("sgdvi.run", create_autospec(sgdvi.run))
    # the checks themselves are those of tests/testing
    for check, names in {"check_distribution": testing.CHECKS, "check_sampler": testing.SAMPLER_CHECKS}.items():
        few = partial(getattr(testing, check), skip=set(names) - {"shapes", "keys", "law"})
        monkeypatch.setattr(testing, check, few)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    known: dict[str, Any] = {}
    exec(DATA + PAGES_THAT_RUN[name], known)
    for block in blocks:
        if not any(text in block for text in NOT_RUN):
            exec(shorten(block), dict(known) if "s3:" in block else known)  # other data, for this block alone
        for test in [given for given in known if given.startswith("test_")]:
            known.pop(test)()


def test_tables_of_performance_are_those_of_its_figures() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_performance.py"))["rendered"]
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    figures = json.loads((ROOT / "docs" / "performance.json").read_text(encoding="utf-8"))
    assert made(page, figures) == page
    figures["peers"]["laws"][0]["ours"] *= 2
    assert made(page, figures) != page


def test_readme_has_two_commands_of_one_line() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.startswith("    ") and "-m venv" in line]
    assert len(commands) == 2
    assert commands[0].endswith("sgdvi compare diabetes")
    assert commands[1].endswith("pytest")


def test_citation_and_version_agree_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"] == sgdvi.__version__
    assert citation["license"] == project["license"]
    assert citation["preferred-citation"]["start"] == "065303"
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_notebooks_are_text_in_percent_format() -> None:
    assert not [*ROOT.glob("notebooks/*.ipynb")], "store notebooks as jupytext text"
    for notebook in ROOT.glob("notebooks/*.py"):
        assert "# %% [markdown]" in notebook.read_text(encoding="utf-8")
