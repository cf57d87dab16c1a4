"""The data files of the models."""

import gzip
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "data"


def columns(file: str) -> dict[str, np.ndarray]:
    """Return the columns of a CSV file in ``data/``, or of one compressed by gzip: name -> float64 array, shape (N,).

    Lines that start with ``#`` are comments; the first other line has the names.
    """
    content = (FOLDER / file).read_bytes()
    text = (gzip.decompress(content) if file.endswith(".gz") else content).decode("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    table = np.loadtxt(lines[1:], delimiter=",", dtype=np.float64, ndmin=2)
    return dict(zip(lines[0].split(","), table.T, strict=True))


def standardised(values: np.ndarray) -> np.ndarray:
    """Return the values with mean 0 and standard deviation 1 (divisor N) along the first axis."""
    return (values - values.mean(axis=0)) / values.std(axis=0)
