"""The hash behind the rows of all minibatches."""

import jax
import jax.numpy as jnp

# odd, near 2^32 over the golden ratio: neighbouring numbers come to differ in all bits
GOLDEN = 0x9E3779B9


def mixed(word: jax.Array) -> jax.Array:
    """Mix 32 bits: triple32 of C. Wellons' hash prospector, a bijection with an avalanche bias of 2e-5."""
    word = (word ^ (word >> 17)) * jnp.uint32(0xED5AD4BB)
    word = (word ^ (word >> 11)) * jnp.uint32(0xAC4C1B51)
    word = (word ^ (word >> 15)) * jnp.uint32(0x31848BAB)
    return word ^ (word >> 14)


def keyed(word: jax.Array, key: jax.Array) -> jax.Array:
    """Return 32 random bits that depend on a word and a key."""
    return mixed((word * jnp.uint32(GOLDEN)) ^ key)
