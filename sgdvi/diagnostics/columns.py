"""The parameters of a run side by side: draws stay in their own type and are read in blocks of columns, in float64."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sgdvi.diagnostics.measures import alike, held_alike

# Values of one block: 16 MB in float64.
_BLOCK = 1 << 21


@dataclass(frozen=True, eq=False)
class Columns(Mapping[str, np.ndarray]):
    """A table of draws that is never made as a whole: one column for each entry of each site.

    Attributes
    ----------
    sites
        Name -> draws (chain, draw, ...), of any float, integer or boolean type.
    """

    sites: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.sites[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self.sites)

    @classmethod
    def of(cls, sites: Mapping[str, np.ndarray]) -> "Columns":
        """Return sites as a table, with what has been measured of them where they are one already."""
        return sites if isinstance(sites, cls) else cls(sites)

    @cached_property
    def starts(self) -> np.ndarray:
        """Number of the first column of each site, and the number of all columns at the end."""
        return np.concatenate([[0], np.cumsum([math.prod(site.shape[2:]) for site in self.sites.values()])]).astype(int)

    @property
    def size(self) -> int:
        """Number of columns."""
        return int(self.starts[-1])

    @cached_property
    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest value of each column in each chain, (chain, column); nan where a draw is nan.

        Values that differ by rounding alone count as equal, as in `measures.snapped`.
        """
        each = [self._range(site) for site in self.sites.values()]
        return np.concatenate([low for low, _ in each], axis=1), np.concatenate([high for _, high in each], axis=1)

    def _range(self, site: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        table = site.reshape(*site.shape[:2], -1)
        # in the type of the draws, in which the least and the largest are exact
        low, high = (np.asarray(side, dtype=np.float64) for side in (table.min(axis=1), table.max(axis=1)))
        eps = float(np.finfo(site.dtype).eps) if site.dtype.kind == "f" else 0.0
        least = low.min(axis=0)
        equal = alike(least, high.max(axis=0), eps)
        return np.where(equal, least, low), np.where(equal, least, high)

    @cached_property
    def finite(self) -> np.ndarray:
        """Mask of the chains whose every draw is finite, (chain,)."""
        return np.isfinite(self.ranges).all(axis=(0, 2))

    @cached_property
    def still(self) -> np.ndarray:
        """Mask of the columns that hold one value in all chains."""
        low, high = self.ranges
        return np.asarray(low.min(axis=0) == high.max(axis=0))

    def range_of(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the largest value of each entry of a site over all chains."""
        place = list(self.sites).index(name)
        low, high = (side[:, self.starts[place] : self.starts[place + 1]] for side in self.ranges)
        return low.min(axis=0), high.max(axis=0)

    def within(self, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the largest value of each column over the chains of a mask."""
        low, high = self.ranges
        return low[keep].min(axis=0), high[keep].max(axis=0)

    def take(self, keep: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return columns, by their numbers in rising order, of the chains of a mask: float64, (n, column)."""
        parts = [
            self._part(site.reshape(*site.shape[:2], -1), keep, here - first, self.still[here], self.ranges[0][0, here])
            for site, first, last in zip(self.sites.values(), self.starts, self.starts[1:], strict=False)
            if (here := chosen[(chosen >= first) & (chosen < last)]).size
        ]
        return np.concatenate(parts, axis=1) if parts else np.empty((self.rows(keep), 0))

    def _part(
        self, table: np.ndarray, keep: np.ndarray, here: np.ndarray, still: np.ndarray, one: np.ndarray
    ) -> np.ndarray:
        together = here.size == here[-1] - here[0] + 1
        values = table[:, :, here[0] : here[-1] + 1] if together else table[:, :, here]
        part = np.array(values if keep.all() else values[keep], dtype=np.float64).reshape(-1, here.size)
        part[:, still] = one[still]  # what differs by rounding alone
        return part

    def rows(self, keep: np.ndarray) -> int:
        """Return the number of draws of the chains of a mask."""
        return int(keep.sum()) * next(iter(self.sites.values())).shape[1]

    def blocks(self, rows: int, chosen: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the numbers of columns in pieces of which so many rows can be read at once."""
        step = max(1, _BLOCK // max(rows, 1))
        for begin in range(0, len(chosen), step):
            yield chosen[begin : begin + step]

    def name(self, column: int) -> str:
        """Return the name of a column, such as ``w[3, 2]``."""
        place = int(np.searchsorted(self.starts, column, side="right")) - 1
        name, site = list(self.sites.items())[place]
        if site.ndim == 2:
            return name
        return f"{name}[{', '.join(map(str, np.unravel_index(column - self.starts[place], site.shape[2:])))}]"


def fixed_columns(tables: Sequence[Columns]) -> dict[str, np.ndarray]:
    """Find what several runs all hold at one value: site -> mask over its entries, flattened; none for one run."""
    fixed = {}
    for name, site in tables[0].items() if len(tables) > 1 else ():
        if all(name in table and table[name].shape[2:] == site.shape[2:] for table in tables):
            low, high = zip(*(table.range_of(name) for table in tables), strict=True)
            fixed[name] = held_alike(low, high)
    return fixed
