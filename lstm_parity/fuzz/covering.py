"""Pairwise covering arrays: a few rows in which any two levels that can be combined are combined in at least one row.

They are built greedily, row by row, as in Cohen, Dalal, Fredman & Patton 1997 ("The AETG system").
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations, product

import numpy as np

Row = Mapping[str, str]
Pair = frozenset[tuple[str, str]]  # two (factor, level)

# The next row is the one of this many candidates that adds the most new pairs. More candidates shortened the arrays of
# the fuzz by two rows at most.
_CANDIDATES = 6


def pairs_of(row: Row) -> Iterator[Pair]:
    """Return all pairs of levels in a row."""
    return map(frozenset, combinations(row.items(), 2))


class CoveringArray:
    """The factors of an array, their levels, and the pairs of levels that are never combined.

    Args:
        factors: name -> levels.
        excluded: pairs that no row may have.
        usual: factor -> the level that it takes if no pair asks for another.
    """

    def __init__(self, factors: Mapping[str, Sequence[str]], excluded: Collection[Pair], usual: Row):
        self.factors, self.excluded, self.usual = factors, set(excluded), usual

    def rows(self, rng: np.random.Generator, first: Sequence[Row] = ()) -> list[Row]:
        """Build the array: first the rows in ``first``, completed; then, until all pairs are covered, the best row."""
        left = self._possible()
        rows: list[Row] = []
        for start in first:
            row = self._complete(start, left, rng)
            if row is None:
                raise ValueError(f"no row has {start}")
            rows.append(row)
            left.difference_update(pairs_of(row))
        while left:
            in_order = sorted(map(sorted, left))  # a set has no order of its own, but a seed must decide everything
            starts = rng.choice(len(in_order), min(_CANDIDATES, len(in_order)), replace=False)
            candidates = []
            for start in starts:
                pair = in_order[start]
                row = self._complete(dict(pair), left, rng)
                if row is None:  # no whole row can have these two, though the pair itself is allowed
                    left.discard(frozenset(pair))
                else:
                    candidates.append(row)
            if candidates:
                rows.append(max(candidates, key=lambda row: sum(pair in left for pair in pairs_of(row))))
                left.difference_update(pairs_of(rows[-1]))
        return rows

    def _possible(self) -> set[Pair]:
        pairs = {
            frozenset(((one, level), (other, level_of_other)))
            for one, other in combinations(self.factors, 2)
            for level, level_of_other in product(self.factors[one], self.factors[other])
        }
        return pairs - self.excluded

    def _complete(self, row: Row, left: Collection[Pair], rng: np.random.Generator) -> Row | None:
        """Return a whole row with these levels and many of the pairs that are left; None if there is no such row."""
        if any(pair in self.excluded for pair in pairs_of(row)):
            return None
        fitting = {
            factor: [level for level in levels if not self._excludes(row, factor, level)]
            for factor, levels in self.factors.items()
            if factor not in row
        }
        if not fitting:
            return row
        # Start with the factor that has the fewest levels to choose from, to see a dead end at once.
        order = list(fitting)
        rng.shuffle(order)
        factor = min(order, key=lambda name: len(fitting[name]))
        levels = list(fitting[factor])
        rng.shuffle(levels)

        def worth(level: str) -> tuple[int, bool]:
            new = sum(frozenset((known, (factor, level))) in left for known in row.items())
            return new, level == self.usual.get(factor)

        for level in sorted(levels, key=worth, reverse=True):
            if (whole := self._complete({**row, factor: level}, left, rng)) is not None:
                return whole
        return None

    def _excludes(self, row: Row, factor: str, level: str) -> bool:
        return any(frozenset((known, (factor, level))) in self.excluded for known in row.items())
