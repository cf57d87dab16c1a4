"""Posteriors on the quotient by the scaling symmetries of a model: a NumPyro model whose sites are the invariants."""

from sgdvi.quotient.likelihood import model_symmetries
from sgdvi.quotient.model import QuotientModel, quotient_model

__all__ = ["QuotientModel", "model_symmetries", "quotient_model"]
