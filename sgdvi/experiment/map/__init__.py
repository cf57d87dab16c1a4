"""A map over learning rate and batch size, from the exact laws or from runs of SGD."""
