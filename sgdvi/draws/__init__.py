"""Draws as labelled trees, in memory, in NetCDF files and in Zarr stores."""

from sgdvi.draws.committed import open_store as open_store
from sgdvi.draws.tree import NUTS_FIELDS as NUTS_FIELDS
from sgdvi.draws.tree import config as config
from sgdvi.draws.tree import from_numpyro as from_numpyro
from sgdvi.draws.tree import from_samples as from_samples
from sgdvi.draws.tree import functional as functional
from sgdvi.draws.tree import in_chains as in_chains
from sgdvi.draws.tree import is_tree as is_tree
from sgdvi.draws.tree import load as load
from sgdvi.draws.tree import make_tree as make_tree
from sgdvi.draws.tree import save as save
