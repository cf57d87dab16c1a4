"""A sampler under check: runs of it, by `sgdvi.sample` or by `numpyro.infer.MCMC`, as plain arrays."""

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import MCMC

from sgdvi.draws.functionals import Sites
from sgdvi.samplers.driver.run import sample
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Batch
from sgdvi.samplers.targets.make import as_arguments
from sgdvi.testing._record import Skip

Draws = dict[str, np.ndarray]
# Draws and chains of the runs that are about anything but the law.
SHORT, FEW = 12, 3


@dataclass(frozen=True)
class Plan:
    """What a caller of `check_sampler` says of the runs; see there."""

    data: Any
    key: jax.Array
    num_steps: int
    num_warmup: int
    num_chains: int
    thinning: int
    init: Any
    reference: dict[str, Any]
    functionals: dict[str, Callable[[Any], Any]]


class Runs(ABC):
    """Runs of a sampler that a factory makes anew for each, as arrays by name with axes (chain, draw, ...)."""

    def __init__(self, make: Callable[[], Any], plan: Plan) -> None:
        self.make, self.plan = make, plan

    @abstractmethod
    def draw(self, **changes: Any) -> Draws:
        """Run a new sampler: a short run of few chains, unless `changes` say otherwise."""

    @abstractmethod
    def continued(self) -> Draws:
        """Draws of the short run, interrupted in the middle and gone on with by another sampler object."""

    @abstractmethod
    def one_step(self) -> tuple[Callable[..., Any], jax.Array, Any]:
        """Return a pure function (key, state) -> next state, a batch of two keys, and a batch of two states."""

    def fewer_chains(self) -> Draws:
        """Draws of the short run with one chain less."""
        raise Skip("numpyro deals the keys of chains itself")

    def status(self) -> np.ndarray:
        """Whether each chain of the long run overflowed, by the run's own books."""
        raise Skip("numpyro keeps no status of chains")

    @cached_property
    def short(self) -> Draws:
        """The short run."""
        return self.draw()

    @cached_property
    def long(self) -> Draws:
        """The run with all chains and steps."""
        return self.draw(num_steps=self.plan.num_steps, num_chains=self.plan.num_chains)

    def _numbers(self, changes: dict[str, Any]) -> dict[str, Any]:
        plan = self.plan
        short = {"num_steps": SHORT * plan.thinning, "num_chains": FEW, "thinning": plan.thinning, "key": plan.key}
        return short | {"num_warmup": plan.num_warmup} | changes


class DriverRuns(Runs):
    """Runs of a `sgdvi.Sampler`."""

    def draw(self, **changes: Any) -> Draws:
        """See `Runs`."""
        return self._values(self._tree(changes))

    def _tree(self, changes: dict[str, Any]) -> Any:
        plan = self.plan
        options = {"init": plan.init, "functionals": plan.functionals or None, "progress": False}
        return sample(self.make(), plan.data, **options, **self._numbers(changes))

    @staticmethod
    def _values(tree: Any) -> Draws:
        return {str(name): np.asarray(values) for name, values in tree["posterior"].data_vars.items()}

    def continued(self) -> Draws:
        """See `Runs`."""
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "draws.zarr"
            self._tree({"num_steps": SHORT // 2 * self.plan.thinning, "store": store})
            return self._values(self._tree({"store": store, "resume": True}))

    def fewer_chains(self) -> Draws:
        """See `Runs`."""
        return self.draw(num_chains=FEW - 1)

    @cached_property
    def _whole(self) -> Any:
        return self._tree({"num_steps": self.plan.num_steps, "num_chains": self.plan.num_chains})

    @cached_property
    def long(self) -> Draws:
        """See `Runs`."""
        return self._values(self._whole)

    def status(self) -> np.ndarray:
        """See `Runs`."""
        return np.asarray(self._whole["chain_status"]["status"]) == "overflowed"

    def one_step(self) -> tuple[Callable[..., Any], jax.Array, Any]:
        """See `Runs`."""
        sampler, plan = self.make(), self.plan
        arguments = as_arguments(sampler.model, plan.data)
        target = sampler.prepare(arguments)
        rows = target.rows(arguments)
        size = sampler.size(target.num_data)
        batch = Batch(target, tuple(jnp.asarray(leaf)[jnp.arange(size) % leaf.shape[0]] for leaf in rows))
        keys = jax.random.split(plan.key, 2)
        z = jax.vmap(lambda key: target.start(key, rows)[0])(keys)
        return (
            lambda key, state: sampler.algorithm.step(key, state, batch)[0],
            keys,
            jax.vmap(sampler.algorithm.init)(z),
        )


class KernelRuns(Runs):
    """Runs of a kernel of NumPyro; its chains are batched."""

    @property
    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        data = self.plan.data
        if isinstance(data, dict):
            return (), data
        return (tuple(data) if isinstance(data, tuple | list) else (data,)), {}

    def _run(self, changes: dict[str, Any], after: Any = None) -> MCMC:
        numbers = self._numbers(changes)
        run = MCMC(
            self.make(),
            num_warmup=0 if after is not None else numbers["num_warmup"],
            num_samples=numbers["num_steps"],
            thinning=numbers["thinning"],
            num_chains=numbers["num_chains"],
            chain_method="vectorized",
            progress_bar=False,
        )
        args, kwargs = self._arguments
        if after is not None:
            # a new kernel has to know the model before it can go on from a state
            run.warmup(jax.random.split(numbers["key"], numbers["num_chains"]), *args, **kwargs)
            run.post_warmup_state = after
            run.run(after.rng_key, *args, **kwargs)
        else:
            run.run(jax.random.split(numbers["key"], numbers["num_chains"]), *args, **kwargs)
        return run

    def _values(self, run: MCMC) -> Draws:
        sites = {name: np.asarray(value) for name, value in run.get_samples(group_by_chain=True).items()}
        each = {
            name: jax.vmap(jax.vmap(lambda values, fn=fn: fn(Sites(values))))(sites)
            for name, fn in self.plan.functionals.items()
        }
        return sites | {name: np.asarray(value) for name, value in each.items()}

    def draw(self, **changes: Any) -> Draws:
        """See `Runs`."""
        return self._values(self._run(changes))

    def continued(self) -> Draws:
        """See `Runs`."""
        half = {"num_steps": SHORT // 2 * self.plan.thinning}
        first = self._run(half)
        if not hasattr(first.last_state, "rng_key"):
            raise Skip("the state of the kernel has no rng_key to go on with")
        parts = [self._values(run) for run in (first, self._run(half, first.last_state))]
        return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}

    def one_step(self) -> tuple[Callable[..., Any], jax.Array, Any]:
        """See `Runs`."""
        kernel, (args, kwargs) = self.make(), self._arguments
        keys = jax.random.split(self.plan.key, 2)
        # a kernel that starts a batch of chains keeps what they have in common without an axis
        each = [kernel.init(key, self.plan.num_warmup, None, args, kwargs) for key in keys]
        states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
        return lambda _, state: kernel.sample(state, args, kwargs), keys, states


def make_runs(make: Callable[[], Any], plan: Plan) -> Runs:
    """Return the runs of what the factory makes: a `sgdvi.Sampler`, or another kernel of NumPyro."""
    return (DriverRuns if isinstance(make(), Sampler) else KernelRuns)(make, plan)
