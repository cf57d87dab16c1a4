"""The law of balance for any model: find its scaling symmetries, predict and measure their charges, remove them."""

from sgdvi.symmetry.families import MatrixFamily
from sgdvi.symmetry.find import Symmetries, find_symmetries
from sgdvi.symmetry.noise import GradientNoise, gradient_noise
from sgdvi.symmetry.orbits import canonical_draws, quotient_draws, resample_orbits
from sgdvi.symmetry.scaling import Symmetry

__all__ = [
    "GradientNoise",
    "MatrixFamily",
    "Symmetries",
    "Symmetry",
    "canonical_draws",
    "find_symmetries",
    "gradient_noise",
    "quotient_draws",
    "resample_orbits",
]
