"""An algorithm, one file each: the state, one step, and the sampler that users make."""
