"""How a surface model shows a roof: creases rounded, walls mostly kept.

Matching windows round ridges off: on surfaces from images a gable of 34° looks like one of 22°
although most of its cells are right. So a roof is compared with a surface as that would show it:
blurred within its own outline. What is lost beside a ridge falls off with the distance as
exp(−d / width), more slowly than a Gaussian does.

It is not the same both ways. A ridge along the epipolar lines moves along itself from one image to
the other, so nothing on it says where it is: in five scenes faces beside such ridges show half of
their slope (0.83 of it where the base is 0.6 of the height), those across 1.0, oblique ones 0.8 to
0.95. So one width goes along the rows of the grid and one along its columns, as pairs are taken
along a track that runs nearly north. Which blur a surface has is found on its buildings,
`blur_of`; lidar has none. On walls the blur is smaller and lopsided, so they are kept out by
reading inside.

Since grey levels lean the patches of our own surfaces, true roofs show 1.4 cells along a row
(`village`, `suburb`) and 1.8 (`hilly`), 0.5 to 0.7 along a column; before, it was 2.0 to 4.3. With
1.4 in place of 2.2 and 2.7 the median pitch error of `village`, `hilly` and `suburb` went from 4.3,
3.9 and 2.9° to 2.8, 2.7 and 1.2°, their MAE .014, .003 and .024 m down; with 1.8 half of that; with
none the pitch is worse (4.1, 5.5 and 3.0°). What roofs leave hardly tells 1.4 from 2.2, so where
they lead alike the narrower one is believed.

Tried: one width (median pitch error of five scenes 4.6 to 10.8°, with this 2.4 to 6.7°); both
widths free (outlines that are off, and eaves that droop, look like blur: 2.4 to 8.5°); axes turned
to the epipolar lines (no gain); 1.6 at most where the outline is oblique (types .0 to .02 better,
pitch of `village` 1° worse); one fixed width for every scene (`suburb` 1.6° worse at 3.2); that
roofs of both directions be equally steep (by chance they are not: in `hilly` 29.8 against 36.5°).
A third of the cells of each roof leads to the same choice in all eleven scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processes.core.medians import ordered_to
from processes.roofs.heights import Under

Floats = NDArray[np.float64]
Blur = tuple[float, float]
"""Widths along a row and along a column, in cells."""

Flat = tuple[NDArray[np.int64], NDArray[np.int64], Floats, float, float, NDArray[np.int64], Floats]
"""What compiled code asks of `Seen`: row, col, weight, both shares kept, asked, z."""

SHARP: Blur = (0.0, 0.0)
BLURS: dict[Blur, float] = {
    SHARP: 0.0,
    (1.4, 1.4): 0.0,
    (2.2, 2.2): 0.0,
    (3.2, 3.2): 0.0,
    (1.4, 0.7): 0.12,
    (2.2, 0.7): 0.1,
    (3.2, 0.7): 0.1,
    (0.7, 3.2): 0.1,
}
"""What a surface's blur may be, and the share of the misfit by which it is believed beforehand:
surfaces from images are long in one direction, as a rule from east to west. Of 18 towns 17 lead to
1.4 and .7 on our own surfaces; with .15 for it the last one would too (`hilly3`, median pitch error
3.2 to 1.8°), but a surface that is made with 2.2 would no longer be told."""
NOISE_CELLS = 12
"""Cells that share one matching window, so that errors are counted once."""
FINEST_M = 0.03
MOST_CELLS = 600
"""That are asked, about. In towns of houses 26 of 1085 outlines have more. Level and slope of the
chosen roof fitted again on all cells gained nothing in six scenes with larger roofs: median pitch
error -.1 to +.3°, MAE ±.003 m."""
FEWEST = 5
"""Roofs that are needed to say how blurred a surface is."""
ENOUGH, CERTAIN, ALIKE = 20, 3.0, 0.85
"""Roofs after which a blur may be settled; by how many standard errors it must lead; and how far
apart two blurs may be, in cells, for it not to matter which."""
TRIMMED = 0.1
"""Of the roofs so many are left out at either end: one that another shape of the bank fits after a
blur may say thirty times as much as others, and one of 16 decided on `quarter`. Of 18 towns `flat`
is taken for a sharper one: median pitch error 2.9 to 2.1°, MAE .008 m less, types .018 worse.
"""
LEAST_GAIN = 0.03
"""A blur must explain at least this share of what a sharp roof leaves."""


@dataclass(frozen=True)
class Seen:
    """The cells under an outline, and those of them whose heights are asked."""

    x: Floats
    y: Floats
    """Of all cells under the outline, or of every second or third row and column."""
    z: Floats
    """Of the cells that are asked."""
    every_z: Floats
    """Of all these cells, NaN where the surface has none."""
    depth_m: Floats
    """How far inside the outline they lie, see `Under`."""
    asked: NDArray[np.int64]
    """Which of the cells are asked."""
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    weight: Floats
    """What is left of each cell's window by the outline, see `shown`."""
    keep: Blur
    """The share of a height that the blur carries on to the next column and row; 0 is no blur."""

    @property
    def flat(self) -> Flat:
        return self.row, self.col, self.weight, *self.keep, self.asked, self.z

    def __call__(self, heights: Floats) -> Floats:
        """Return *heights*, one a cell under the outline, as the surface shows the asked cells."""
        found: Floats = as_shown(heights, self.flat)
        return found


def seen(
    cells: Under, inset_m: float, blur: Blur, *, whole: bool = False, most: int = MOST_CELLS
) -> Seen:
    """Return what a surface shows of a roof, read *inset_m* inside the outline.

    Of a large roof every second or third row and column is taken, so that about *most* cells are
    asked; of a *whole* one every cell is taken, and as few are asked.
    """
    asked = (cells.depth_m >= inset_m) & np.isfinite(cells.z)
    share = asked.sum() / most
    stride = 1 if whole else int(np.ceil(np.sqrt(share)))
    x, y, every_z, depth_m, row, col = (
        cells.x, cells.y, cells.z, cells.depth_m, cells.row, cells.col
    )  # fmt: skip
    if stride > 1:
        on = (row % stride == 0) & (col % stride == 0)
        x, y, every_z, depth_m, asked = x[on], y[on], every_z[on], depth_m[on], asked[on]
        row, col = row[on] // stride, col[on] // stride
    along_row, along_col = (float(np.exp(-stride / width)) if width else 0.0 for width in blur)
    keep = along_row, along_col
    one = np.ones(len(x))
    weight = one if keep == SHARP else shown(one, row, col, one, *keep)
    # contiguous, as for all roofs: numba would compile once more for the first that is thinned out
    which = np.ascontiguousarray(
        np.flatnonzero(asked)[:: max(int(np.ceil(share)), 1) if whole else 1]
    )
    return Seen(x, y, every_z[which], every_z, depth_m, which, row, col, weight, keep)


@njit(cache=True, nogil=True, error_model="numpy")
def as_shown(heights: Floats, seen: Flat) -> Floats:
    """Return *heights*, one a cell under the outline, as the surface shows the asked cells."""
    row, col, weight, along_row, along_col, asked, _ = seen
    if along_row > 0 or along_col > 0:
        every: Floats = shown(heights, row, col, weight, along_row, along_col)
        return every[asked]
    return heights[asked]


@njit(cache=True, nogil=True, error_model="numpy")
def shown(
    heights: Floats,
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    weight: Floats,
    along_row: float,
    along_col: float,
) -> Floats:
    """Return the heights of cells, each the mean of those around it within the outline.

    The weight of a neighbour falls by the factor *along_row* a column and *along_col* a row:
    recursive filters, there and back, along rows and then along columns.
    """
    rows, cols = row.max() + 1, col.max() + 1
    # columns first in memory, so that all rows go one step at a time
    canvas = np.zeros((cols, rows))
    for i in range(len(row)):
        canvas[col[i], row[i]] = heights[i]
    _spread(canvas, along_row)
    canvas = canvas.T.copy()
    _spread(canvas, along_col)
    found = np.empty(len(row))
    for i in range(len(row)):
        found[i] = canvas[row[i], col[i]] / weight[i]
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(canvas: Floats, keep: float) -> None:
    """Carry the share *keep* of each row on to the next, there and back, in place."""
    if keep == 0:
        return
    rows, cols = canvas.shape
    there, back = canvas.copy(), np.zeros(cols)
    for r in range(1, rows):
        for c in range(cols):
            there[r, c] += keep * there[r - 1, c]
    for r in range(rows - 1, -1, -1):
        for c in range(cols):
            own = canvas[r, c]
            canvas[r, c] = there[r, c] + back[c]
            back[c] = keep * (own + back[c])


@njit(cache=True, nogil=True, error_model="numpy")
def middle_near(values: Floats, guess: float, spare: Floats) -> float:
    """Return the median of *values* ≥ 0, fast where it is near *guess*; *spare* is as long.

    Medians took most of the time of robust steps, and from one step to the next change little.
    """
    low, high = 0.8 * guess, 1.25 * guess
    below, count = 0, 0
    for i in range(len(values)):
        spare[count] = values[i]  # overwritten if it is not near
        below += 1 if values[i] < low else 0
        count += 1 if (values[i] >= low) & (values[i] <= high) else 0
    first, second = (len(values) - 1) // 2 - below, len(values) // 2 - below
    if first < 0 or second >= count:
        return float(np.median(values))
    upper = ordered_to(spare[:count], second)
    return float(upper if first == second else (spare[:second].max() + upper) / 2)


def blur_of(costs: Sequence[Sequence[float]]) -> Blur:
    """Return the blur that explains a scene's roofs best.

    *costs* has a row a building: the mean squared residual of its best roof at each of BLURS.
    Each building counts alike, whatever its size and how rough it is, but for the loudest.
    """
    if len(costs) < FEWEST:
        return SHARP
    gain = _usual(_gains(costs))
    if gain.max() < LEAST_GAIN:
        return SHARP
    likely = np.where(gain < LEAST_GAIN, -np.inf, gain + list(BLURS.values()))
    return list(BLURS)[int(np.argmax(likely))]


def settled(costs: Sequence[Sequence[float]]) -> bool:
    """Return whether more roofs would hardly change what `blur_of` says.

    The blur that it names must lead every one that differs by more than half a cell by CERTAIN
    standard errors of that lead.
    """
    if len(costs) < ENOUGH:
        return False
    best = list(BLURS).index(blur_of(costs))
    likely = _gains(costs) + list(BLURS.values())
    lead = likely[:, [best]] - likely
    rival = np.abs(np.array(list(BLURS)) - list(BLURS)[best]).max(axis=1) > ALIKE
    error = lead.std(axis=0) / np.sqrt(len(costs))
    return bool((_usual(lead) > CERTAIN * error)[rival].all())


def _gains(costs: Sequence[Sequence[float]]) -> Floats:
    """Return how much less each blur leaves than none, a row a building, as logarithms."""
    table = np.log(np.maximum(np.asarray(costs, float), FINEST_M**2))
    return np.asarray(table[:, :1] - table)


def _usual(gains: Floats) -> Floats:
    """Return the trimmed mean of each column."""
    out = int(TRIMMED * len(gains))
    return np.asarray(np.sort(gains, axis=0)[out : len(gains) - out].mean(axis=0))


def points(x: Floats, y: Floats, z: Floats) -> Seen:
    """Return scattered heights, shown as they are."""
    number = np.arange(len(z))
    return Seen(x, y, z, z, np.zeros(len(z)), number, 0 * number, number, np.ones(len(z)), SHARP)


@njit(cache=True, nogil=True, error_model="numpy")
def bic(cost: float, cells: int, unknowns: float) -> float:
    """Return the Bayesian information criterion of a mean squared residual, the less the better."""
    independent = max(cells / NOISE_CELLS, 2.0)
    return float(independent * np.log(max(cost, FINEST_M**2)) + unknowns * np.log(independent))
