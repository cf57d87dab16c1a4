"""How the rows of a minibatch are drawn, and its noise beside that of one row."""

import enum
from typing import Any

from sgdvi._internal.check import InputError, message, require, whole

NO_TEMPERATURE = (
    "Shuffled epochs have no temperature: the noises of the steps of one epoch add up to almost nothing, so the "
    "iterates spread far less than under independent minibatches. Near a mode their law is "
    "sgdvi.local_quadratic(...).epochs(learning_rate, batch_size)."
)


class Batching(enum.StrEnum):
    """How the rows of a minibatch of S among N are drawn.

    Attributes
    ----------
    REPLACEMENT
        S independent rows.
    WITHOUT_REPLACEMENT
        S different rows; minibatches are independent of each other.
    EPOCHS
        The next S rows of a random order of all rows, a new one every floor(N/S) steps: every row once in an epoch,
        but for the N mod S at the end of the order, which this epoch leaves out.
    FULL
        All rows.
    """

    REPLACEMENT = "replacement"
    WITHOUT_REPLACEMENT = "without-replacement"
    EPOCHS = "epochs"
    FULL = "full"

    @classmethod
    def of(cls, value: Any) -> "Batching":
        """Return the way of this name.

        Raises
        ------
        InputError
            If there is none.
        """
        try:
            return cls(value)
        except ValueError:
            names = ", ".join(repr(one.value) for one in cls)
            raise InputError(message(f"batching must be one of {names}", repr(value))) from None

    def takes_all(self, num_data: int, batch_size: int) -> bool:
        """Whether every minibatch consists of all rows, each once."""
        return self is Batching.FULL or (self is not Batching.REPLACEMENT and batch_size == num_data)

    def noise_share(self, num_data: int, batch_size: int) -> float | None:
        """Variance of a minibatch mean relative to that of one row; None for epochs, where it is no temperature.

        Raises
        ------
        InputError
            For a batch size below 1, or above N where no row comes twice.
        """
        size = num_data if self is Batching.FULL else batch_size
        share = noise_share(num_data, size, self is Batching.REPLACEMENT)
        return None if self is Batching.EPOCHS and share else share


def noise_share(num_data: int, batch_size: int, replace: bool) -> float:
    """Variance of a minibatch mean relative to that of one row: 1/S, times (N-S)/(N-1) without replacement.

    Raises
    ------
    InputError
        For a batch size below 1, or above N without replacement.
    """
    size = whole("batch_size", batch_size, least=1)
    if replace:
        return 1 / size
    advice = "Draw with replacement or take a smaller batch."
    require(size <= num_data, f"batch_size must be at most N = {num_data}", size, advice)
    return (num_data - size) / max(num_data - 1, 1) / size
