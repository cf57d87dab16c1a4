"""How chains are dealt to devices, and on a device to groups: their state there, and back as one array."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sgdvi._internal.check import require

AXIS = "chain"
# Rows, row numbers and state of a group stay in the cache of a core; 64 to 256 are equally quick, 1024 a third of it.
_GROUP = 128
# Parameters of so many bytes fill the cache alone.
_ALONE_BYTES = 128 << 10


@dataclass(frozen=True)
class Plan:
    """Chains on a mesh of devices.

    Attributes
    ----------
    mesh
        One axis, ``chain``.
    num_chains
        Chains that are wanted. Each device has the same number: the last chain is repeated to fill up.
    groups, group_size
        On each device, groups of chains that are run one after the other.
    alone
        Whether every chain is run without an axis of chains, in a group of its own.
    """

    mesh: Mesh
    num_chains: int
    groups: int
    group_size: int
    alone: bool = False

    @classmethod
    def make(cls, num_chains: int, devices: Sequence[jax.Device] | None = None, chain_bytes: int = 0) -> "Plan":
        """Deal chains of so many bytes to devices; by default to all, or to the default device where one is set.

        Raises
        ------
        InputError
            For what are no devices, and for several processes when one of them has none of the devices.
        """
        if devices is None:
            default = jax.config.jax_default_device
            devices = [default] if isinstance(default, jax.Device) else jax.devices(default)
        rule = "devices must be a sequence of JAX devices"
        usable = isinstance(devices, Sequence) and devices and all(isinstance(one, jax.Device) for one in devices)
        require(usable, rule, repr(devices), "Give jax.devices().")
        if jax.process_count() == 1:
            devices = devices[:num_chains]
        else:
            missing = sorted(set(range(jax.process_count())) - {one.process_index for one in devices})
            require(not missing, "every process must have a device", f"none of process {missing}", "Leave devices out.")
        share = -(-num_chains // len(devices))
        is_cpu = devices[0].platform == "cpu"
        # it must not depend on the number of chains or devices, or the draws would
        alone = is_cpu and chain_bytes >= _ALONE_BYTES
        groups = share if alone else -(-share // _GROUP) if is_cpu else 1
        return cls(Mesh(np.array(devices), (AXIS,)), num_chains, groups, -(-share // groups), alone)

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return jax.process_index() == 0

    def spread(self, tree: Any) -> Any:
        """Put arrays with a leading axis of chains onto the devices."""
        size = self.mesh.size * self.groups * self.group_size
        padded = slice(None) if size == self.num_chains else np.minimum(np.arange(size), self.num_chains - 1)
        sharding = NamedSharding(self.mesh, PartitionSpec(AXIS))

        def put(leaf: Any) -> Any:
            return _like(jax.device_put(np.asarray(plain(leaf))[padded], sharding), leaf)

        return jax.tree.map(put, tree)

    def copy(self, tree: Any) -> Any:
        """Put the same arrays onto every device."""
        sharding = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda leaf: jax.device_put(leaf, sharding), tree)

    def gather(self, tree: Any, axis: int = 0) -> Any:
        """Return the arrays of all devices as one, in every process, without the chains that only fill up."""
        several = jax.process_count() > 1

        def take(leaf: Any) -> Any:
            whole = _like(multihost_utils.process_allgather(plain(leaf), tiled=True), leaf) if several else leaf
            return whole if whole.shape[axis] == self.num_chains else whole[(slice(None),) * axis + (own,)]

        own = slice(self.num_chains)
        return jax.tree.map(take, tree)

    def agree(self, number: int) -> int:
        """Return the number that the first process has."""
        return number if jax.process_count() == 1 else int(multihost_utils.broadcast_one_to_all(np.int32(number)))

    def share(self, tree: Any) -> Any:
        """Return the arrays that the first process has."""
        if jax.process_count() == 1:
            return tree
        return jax.tree.map(lambda leaf: _like(multihost_utils.broadcast_one_to_all(plain(leaf)), leaf), tree)

    def wait(self) -> None:
        """Wait until every process has come here."""
        multihost_utils.sync_global_devices("sgdvi")


def plain(leaf: Any) -> Any:
    """Return the words of a key; other arrays as they are."""
    return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _like(words: Any, leaf: Any) -> Any:
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return words
    return jax.random.wrap_key_data(jnp.asarray(words), impl=jax.random.key_impl(leaf))
