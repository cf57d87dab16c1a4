"""The noise of a minibatch, beside that of one row."""

from sgdvi._check import require, whole


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
