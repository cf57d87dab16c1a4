"""What numbers go out as: from Python numbers and NumPy arrays NumPy's, from JAX arrays JAX's."""

from typing import Any

import jax
import numpy as np

Values = jax.Array | np.ndarray[Any, np.dtype[Any]]
