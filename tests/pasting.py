"""Paste what a page shows into a folder of its own: the files that it takes for granted, and where work begins."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from sgdvi import zoo
from sgdvi.cli import main
from sgdvi.comparison import Comparison
from sgdvi.draws import make_tree
from sgdvi.report import Context, write_record
from sgdvi.samplers.targets.plates import latent_sites

ROOT = Path(__file__).parent.parent
MODEL = "diabetes"
# What a reader puts in place of capitals.
PLACEHOLDERS = {"MODEL": MODEL, "FOLDER": "here", "DIR": "here", "FILE": "x.nc", "T": "0.5Tc", "R": "1", "N": "100"}
PLACEHOLDERS |= {"VERDICT": "fail", "DRAWS": "x.nc", "NAME": "NUTS", "ID": "T17", "GAMMA": "0.1"}
# Where the commands begin to compute for seconds: all that is said against their input has been said by then.
WORK = (
    "sgdvi.experiment.conduct._make_runs",
    "sgdvi.experiment.any_draws.compare",
    "sgdvi.experiment.foresee.search",
    "sgdvi.experiment.map.call.Runs",
    "sgdvi.experiment.map.call.Laws",
    "sgdvi.experiment.claims.conduct._check",
    "sgdvi.noise_balance.balance",
    "sgdvi.laws.phase_diagram",
)


class Reached(BaseException):
    """Raised where work begins; no `except Exception` takes it for a failure."""


def stop_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands end where they would begin to compute for seconds."""

    def reached(*args: Any, **kwargs: Any) -> None:
        raise Reached

    for name in WORK:
        monkeypatch.setattr(name, reached)


def words_of(command: str) -> list[str]:
    """Return the words of a command up to where the shell takes over, with a reader's words for capitals."""
    words = shlex.split(command.replace("[", "").replace("]", ""), comments=True)
    words = [PLACEHOLDERS.get(word, word) for word in words if word != "|"]
    for stop in (">", ">>", "||", "&&", ";"):
        words = words[: words.index(stop)] if stop in words else words
    return words


def lay_out(folder: Path, words: list[str], report: Comparison) -> None:
    """Write the files that the words name and a reader has: models, draws of another tool, a store, a report."""
    model = next((word for word in words[2:] if not word.startswith("-")), MODEL)
    for word in words:
        path = folder / word
        if path.exists() or "-" in word[:1]:
            continue
        if "check" in words:
            lay_out_draws(path)
        elif (ROOT / word).is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / word, path)
        elif path.suffix == ".py":
            path.write_text(zoo.template(), encoding="utf-8")
        elif path.suffix in (".nc", ".zarr") and "doctor" not in words:
            draws = draws_of(model)
            draws.to_netcdf(path) if path.suffix == ".nc" else draws.to_zarr(path, consolidated=False)
        elif path.suffix == ".zarr":
            shutil.copytree(ROOT / "tests/samplers/data/store-0.1.0.dev0.zarr", path)
        elif "report" in words and word == PLACEHOLDERS["FOLDER"]:
            path.mkdir()
            write_record(report, Context(), path)


def lay_out_draws(path: Path) -> None:
    """Write draws that no model made, in the format of a file's name; without an ending a folder of such files."""
    mu = np.random.default_rng(len(path.name)).normal(size=(4, 200))
    if path.suffix == ".nc":
        make_tree({"w": mu}, kind="nuts").to_netcdf(path)
    elif path.suffix == ".csv":
        path.write_text("\n".join(["w", *map(str, mu[0]), ""]))
    elif path.suffix == ".npz":
        np.savez(path, w=mu, predictions=mu[..., None] * np.ones(3))
    elif path.suffix == ".npy":
        np.save(path, np.zeros(3))
    elif path.suffix == ".py":
        path.write_text("functionals = {'w': lambda draws: draws.w}\n")
    elif path.name == "run":
        path.mkdir()
        np.savez(path / "sgd.npz", w=mu)


def draws_of(model: str) -> Any:
    """Return draws of another tool for a model: its sites, with values of the right size."""
    problem = zoo.load(model)
    sites, key = latent_sites(problem), jax.random.key(0)
    drawn = {name: np.asarray(jax.random.normal(key, (4, 200, *law.shape()))) / 3 for name, law in sites.items()}
    return make_tree(drawn, kind="nuts", dims=problem.dims)


def paste(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, report: Comparison) -> bool:
    """Run a command in a folder and return whether it went to its end, and not only to where it would work.

    An exit status other than 0 and a file of ``--out`` that is not there fail.
    """
    words = words_of(command)
    lay_out(folder, words, report)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", words)
    try:
        status = main(words[1:])
    except Reached:
        return False
    assert status == 0, command
    for name in re.findall(r"--out[ =](\S+)", command):
        assert (folder / name).exists(), command
    return True
