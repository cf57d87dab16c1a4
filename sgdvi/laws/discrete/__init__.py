"""SGD with finite steps and batches on one-dimensional data: its threshold, its law, and how they are computed."""
