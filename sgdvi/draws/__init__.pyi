"""The public names of draws, imported on first use."""

from .committed import open_store as open_store
from .tree import NUTS_FIELDS as NUTS_FIELDS
from .tree import config as config
from .tree import from_numpyro as from_numpyro
from .tree import from_samples as from_samples
from .tree import functional as functional
from .tree import in_chains as in_chains
from .tree import is_tree as is_tree
from .tree import load as load
from .tree import make_tree as make_tree
from .tree import save as save
