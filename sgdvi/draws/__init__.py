"""Draws as labelled trees, in memory, in NetCDF files and in Zarr stores."""

import lazy_loader as _lazy

# On first use: labelled arrays and stores take a second to import, and a law needs neither.
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
