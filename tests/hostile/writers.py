"""Processes that write to a store or a folder and may be killed: forks of one that has imported what they need."""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax
import pytest
from hostile.counts import sample, short_chunks

import sgdvi
from sgdvi.cli import main

MEAN = """
import numpy as np
import numpyro
import numpyro.distributions as dist
from sgdvi import Problem

def model(y):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    with numpyro.plate("data", len(y)):
        numpyro.sample("y", dist.Normal(mu, 1), obs=y)

def problem():
    return Problem(name="mean", model=model, data=(np.arange(9.0) - 3,), functionals={"mu": lambda ds: ds.mu})
"""
COMPARE = "sgdvi compare mean.py --steps 400 --chains 2 --algorithms plain --references Laplace,mean-field --out page"
# Written by a process before it calls `sample`.
BEGUN = -1


@cache
def _forks() -> Any:
    # a fork is safe, as importing these starts no thread of JAX
    forks: Any = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["hostile.writers", "sgdvi.samplers.driver.run", "sgdvi.experiment.conduct"])
    # away from the checkout, where `import sgdvi` would find a folder that lacks the models
    with chdir(tempfile.gettempdir()):
        forkserver.ensure_running()
    return forks


def start(target: Callable[..., None], *arguments: Any) -> tuple[Any, Connection]:
    """Start a process with these arguments and a connection to write to; return it and what it writes."""
    told, tell = _forks().Pipe(duplex=False)
    process = _forks().Process(target=target, args=(*arguments, tell))
    # it would import the main file: that of pytest may run the tests again
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(sys.modules["__main__"], "__file__", raising=False)
        process.start()
    tell.close()
    return process, told


class Writer:
    """A run into a store, in a process of its own, which says how many steps it has reported."""

    def __init__(self, store: Path, num_steps: int, thinning: int, draws: int, cache_folder: Path) -> None:
        self.process, self._told = start(_write, str(store), num_steps, thinning, draws, str(cache_folder))

    def wait_for(self, least: int) -> int:
        """Wait until so many steps were reported, and return how many were."""
        told: int = self._told.recv()
        while told < least:
            told = self._told.recv()
        return told

    def ended(self) -> tuple[int, int, str]:
        """Wait for the end; return its status, the last number of steps, and the text of an `InputError`."""
        steps, text = 0, ""
        try:
            while True:
                told = self._told.recv()
                steps, text = (steps, told) if isinstance(told, str) else (max(steps, told), text)
        except EOFError:
            pass
        self.process.join()
        return self.process.exitcode or 0, steps, text

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, number)


def _write(store: str, num_steps: int, thinning: int, draws: int, cache_folder: str, tell: Connection) -> None:
    # one of its own: a process that is killed may leave half a program there
    jax.config.update("jax_compilation_cache_dir", cache_folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    short_chunks(draws)
    tell.send(BEGUN)
    try:
        sample(num_steps, store=store, resume=True, thinning=thinning, progress=lambda done, total: tell.send(done))
    except sgdvi.InputError as error:
        tell.send(str(error))
        sys.exit(2)


def compare(folder: str, options: list[str], tell: Connection) -> None:
    """Run `sgdvi compare` on a model in a folder, with a cache there; its errors go to a file of its own."""
    os.chdir(folder)
    os.environ["SGDVI_CACHE"] = "cache"
    # the process that forks ignores it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, name in ((1, "out"), (2, f"err-{os.getpid()}")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    tell.send(0)
    sys.exit(main([*COMPARE.split()[1:], *options]))
