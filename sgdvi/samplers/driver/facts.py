"""All that decides the draws of a run: for its settings in the result, and for the check when it goes on."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sgdvi._internal.tree import Rows
from sgdvi.samplers.driver.fingerprint import hash_arrays, hash_program
from sgdvi.samplers.driver.loop import Outputs
from sgdvi.samplers.driver.starts import Starts
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Batch, batch_like
from sgdvi.samplers.targets.host import HostRows


class RunFacts(NamedTuple):
    """All that decides the draws of a run, and how they are labelled."""

    sampler: Sampler
    outputs: Outputs
    rows: Rows
    shapes: Mapping[str, jax.ShapeDtypeStruct]
    key: jax.Array
    starts: Starts
    num_steps: int
    num_warmup: int
    thinning: int
    dims: Mapping[str, Sequence[str]]
    held: HostRows | None

    @property
    def num_draws(self) -> int:
        """Draws of every chain."""
        return self.num_steps // self.thinning

    @property
    def num_chains(self) -> int:
        """Number of chains."""
        return jax.tree.leaves(self.starts.z)[0].shape[0]

    @property
    def kept_bytes(self) -> int:
        """Bytes of one draw of all chains as it is kept."""
        kept = sum(shape.size * shape.dtype.itemsize for shape in self.shapes.values())
        return (kept + 8 * len(self.outputs.stats)) * self.num_chains

    @property
    def draw_bytes(self) -> int:
        """Bytes of one draw of all chains in the loop: what is kept, or the parameters, whichever is more."""
        return max(self.kept_bytes, sum(leaf.nbytes for leaf in jax.tree.leaves(self.starts.z)))

    def config(self, seconds: float) -> dict[str, Any]:
        """Return the settings that a reader of the draws needs."""
        sampler, size = self.sampler, self.outputs.target.num_data
        return {
            **sampler.settings(size),
            "batch_size": sampler.size(size),
            "batching": sampler.batching.value,
            "num_data": size,
            "num_steps": self.num_steps,
            "num_warmup": self.num_warmup,
            "num_chains": self.num_chains,
            "thinning": self.thinning,
            "seconds": seconds,
        }

    def fingerprint(self) -> dict[str, Any]:
        """Return what must not change when a run goes on, in the words of its message."""
        target, algorithm = self.outputs.target, self.sampler.algorithm
        size = self.sampler.size(target.num_data)
        z = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), self.starts.z)
        rows = batch_like(self.rows, target.num_data)
        step = hash_program(
            lambda key, state, batch: algorithm.step(key, state, Batch(target, batch)),
            jax.eval_shape(lambda: jax.random.key(0)),
            jax.eval_shape(algorithm.init, z),
            batch_like(self.rows, size),
        )
        return {
            # versions first: another one explains whatever else differs
            **{f"version of the sampler {kind}": number for kind, number in self.sampler.versions.items()},
            **{
                f"version of {name}": version(name)
                for name in ("sgdvi", "jax", "numpyro", "optax", *self.sampler.packages)
            },
            "precision": str(jnp.result_type(float)),
            "batch size": size,
            "batching": self.sampler.batching.value,
            "num_warmup": self.num_warmup,
            "num_chains": self.num_chains,
            "thinning": self.thinning,
            "dims": {name: list(names) for name, names in self.dims.items()},
            "key": hash_arrays(self.key),
            "data": hash_arrays([self.held.leaves if self.held else self.rows, target.split.leaves]),
            "model": f"{hash_program(target.loss, z, rows)} {hash_program(target.constrain, z, rows)}",
            "algorithm": step,
            "settings": json.dumps(self.sampler.settings(target.num_data), sort_keys=True),
            "start": hash_arrays(self.starts.z),
            "functionals": hash_program(self.outputs, z, rows) + " ".join(self.shapes),
        }
