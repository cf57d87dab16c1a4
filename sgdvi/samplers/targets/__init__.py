"""What a sampler runs on: a loss per row, made of a NumPyro model or of a `sgdvi.Loss`, on the device or the host."""
