"""A sampler around another one: its model, its batches and its settings are those of the sampler inside."""

from collections.abc import Mapping
from typing import Any

from sgdvi._internal.check import require
from sgdvi.samplers.kernel import Sampler
from sgdvi.samplers.protocol import Algorithm


def require_sampler(sampler: Any) -> None:
    """Raise `InputError` unless `sampler` can be wrapped."""
    rule = "the first argument must be the sampler whose iterates are taken"
    require(isinstance(sampler, Sampler), rule, type(sampler).__name__, "Give sgdvi.SGD(model, learning_rate=0.01).")


class Wrapper(Sampler):
    """A sampler whose algorithm is made from another sampler's.

    Parameters
    ----------
    sampler
        The sampler inside.
    algorithm
        What a chain does.
    settings
        Settings beside those of the sampler inside.
    """

    def __init__(self, sampler: Sampler, algorithm: Algorithm, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(sampler.model, algorithm, sampler.batch_size, batching=sampler.batching, settings=settings)
        self.inner, self.packages = sampler, sampler.packages

    def settings(self, num_data: int) -> dict[str, Any]:
        """See `Sampler`."""
        return {"of": self.inner.kind, **self.inner.settings(num_data), **super().settings(num_data)}

    @property
    def versions(self) -> dict[str, int]:
        """See `Sampler`."""
        return self.inner.versions | super().versions
