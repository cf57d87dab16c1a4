"""The driver: chains side by side on all devices, warmup, thinning, recording in memory or in a store, resuming."""
