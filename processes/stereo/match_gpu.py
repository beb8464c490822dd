"""Dense matching on a GPU: what `match.match` does, with everything staying on the card.

The steps, figures and order are those of `match`. Census codes, slices, costs, winners and reasons
are equal to the bit for equal images; refined disparities differ by float32's last digits. On
tensors that lie in the processor's memory the volume is the processor's too (`sgm.solve`): Triton's
interpreter would take minutes for it, and gives the same to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from torch.nn.functional import pad as padded

from processes.stereo import sgm
from processes.stereo.census import Seen, Slices, window
from processes.stereo.census_gpu import SeenOn, SlicesOn, census
from processes.stereo.checks import Reason
from processes.stereo.checks_gpu import compared, settled
from processes.stereo.greys import Tones
from processes.stereo.least_squares_gpu import fitted
from processes.stereo.light import Light, cell_of, light_between
from processes.stereo.match import (
    AGREE_PX,
    COARSE,
    COARSE_RANGE_PX,
    FLAT_CONTRAST,
    FLAT_PX,
    LOOKS,
    MARGIN_PX,
    SLOPES,
    SMALLEST_PX,
    SPECKLES,
    SURROUNDED,
    finest_recipe,
)
from processes.stereo.planes_gpu import PlanesOn, refine
from processes.stereo.pyramid import Mask
from processes.stereo.pyramid_gpu import (
    finer,
    halve,
    halve_range,
    highest,
    quantiles,
    search_range,
)
from processes.stereo.slopes import REACH_PX, REST_PX, ROOF, STEEP
from processes.stereo.slopes_gpu import (
    along,
    leaning,
    moved,
    patches,
    prolonged,
    raised,
    surface_of,
    surroundings,
)
from processes.stereo.strips import CENSUS_PX, EDGE_CONTRAST, STRIP_CELLS, STRIP_MARGIN_PX, Recipe


class MatchOn(NamedTuple):
    """As `match.Match`, on the device."""

    disparity: Tensor
    confidence: Tensor
    reason: Tensor


class _Level(NamedTuple):
    disparity: Tensor
    reason: Tensor
    clear: Tensor


def match(
    left: Tensor,
    right: Tensor,
    lo: float,
    hi: float,
    *,
    tones: Tones | None = None,
    base_to_height: float = 0.0,
    wanted: tuple[Mask, Mask] | None = None,
) -> MatchOn:
    """Match *left* to *right*, float32 (row, col) with NaN for nodata; see `match.match`."""
    lefts, rights = _pyramid(left), _pyramid(right)
    back = tones and Tones(tones.right, tones.left)
    recipe = finest_recipe(base_to_height)
    on_left, on_right = (
        mask if mask is None else torch.from_numpy(mask).to(left.device)
        for mask in wanted or (None, None)
    )
    there, seen = _coarse_to_fine(lefts, rights, lo, hi, tones, on_left, recipe)
    here, _ = _coarse_to_fine(rights, lefts, -hi, -lo, back, on_right, recipe)
    reason = compared(there.disparity, there.reason, here.disparity, float(np.float32(AGREE_PX)))
    flat = (there.reason != Reason.NO_DATA) & _flat(left, tones.left if tones else _ends(left))
    reason[flat] = int(Reason.NO_TEXTURE)
    most, apart_px = SPECKLES
    specks = patches(there.disparity, reason == Reason.MATCHED, most, float(apart_px))
    reason[specks] = int(Reason.SPECKLE)
    matched = reason == Reason.MATCHED
    known = (reason != Reason.NO_DATA) & (reason != Reason.OUTSIDE)
    planes = refine(there.disparity, matched, known)
    disparity, support = _on_slopes(seen, there.disparity, planes, matched, known)
    disagreed = (reason == Reason.OCCLUDED) | (reason == Reason.MISMATCH)
    near = (there.disparity - disparity).abs() < AGREE_PX
    reason[disagreed & (support > SURROUNDED) & near] = int(Reason.MATCHED)
    matched = reason == Reason.MATCHED
    likely = torch.sigmoid(3.3 * there.clear + 5.6 * support - 1.3).clamp(0.05, 1.0)
    return MatchOn(
        torch.where(matched, disparity, torch.nan),
        torch.where(matched, likely, 0.0),
        reason,
    )


class _Pair(NamedTuple):
    """As `strips.Images`."""

    left: Tensor
    lit: Tensor
    right: Tensor
    tones: Tones


def _on_slopes(
    pair: _Pair, first: Tensor, planes: PlanesOn, matched: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """As `match._on_slopes`."""
    apart = raised(planes, matched)
    hilly, roofs = leaning(planes, known, STEEP), apart & leaning(planes, known, ROOF)
    if not bool((hilly | roofs).any()):
        return planes.disparity, planes.support
    aligned, sure = fitted(planes, roofs, known, pair.lit, pair.right, pair.tones.gain)
    roofs = sure & leaning(aligned, known, ROOF)
    hilly |= roofs
    longer, beside = prolonged(aligned, roofs, known & apart & ~hilly)
    wanted = hilly | beside
    where = surroundings(wanted) & known
    surface = surface_of(longer, known)
    fine = along(pair.right, surface)
    reach = torch.full_like(first, REACH_PX)
    rest = _level(pair, fine, -reach, reach, SLOPES, where).disparity
    near = where & (rest.abs() <= REST_PX)
    measured = torch.where(near, moved(surface, longer.by_col, rest), first)
    again = refine(measured, matched, where)
    better = wanted & near
    return (
        torch.where(better, again.disparity, planes.disparity),
        torch.where(better, again.support, planes.support),
    )


def _pyramid(image: Tensor) -> list[Tensor]:
    images = [image]
    while min(images[-1].shape) >= 2 * SMALLEST_PX:
        images.append(halve(images[-1]))
    return images


def _coarse_to_fine(
    lefts: Sequence[Tensor],
    rights: Sequence[Tensor],
    lo: float,
    hi: float,
    given: Tones | None,
    wanted: Tensor | None,
    finest: Recipe,
) -> tuple[_Level, _Pair]:
    bounds = [(torch.full_like(lefts[0], lo), torch.full_like(lefts[0], hi))]
    deepest = min(len(lefts), len(rights))
    while len(bounds) < deepest and float((bounds[-1][1] - bounds[-1][0]).max()) > COARSE_RANGE_PX:
        bounds.append(halve_range(*bounds[-1]))
    low, high = bounds[-1]
    tones = given or Tones(_ends(lefts[-1]), _ends(rights[-1]))
    light: Light | None = None

    def pair(level: int) -> _Pair:
        lit = lefts[level] if light is None else _lit(lefts[level], tones, light, level)
        return _Pair(lefts[level], lit, rights[level], tones)

    def look(level: int, recipe: Recipe, where: Tensor | None = None) -> _Level:
        seen = pair(level)
        return _level(seen, resampled(seen.right, recipe.per_px), low, high, recipe, where)

    coarsest = len(bounds) - 1
    for level in range(coarsest, 0, -1):
        left, right = lefts[level], rights[level]
        found = look(level, COARSE)
        if level == coarsest:
            for _ in range(LOOKS):
                light = _light(left, right, found, tones, level)
                if light is None:
                    break
                found = look(level, COARSE)
        matched = found.reason == Reason.MATCHED
        if given is None:
            tones = _tones_of_matches(left, right, found.disparity, matched) or tones
        light = _light(left, right, found, tones, level)
        low, high = search_range(found.disparity, matched, bounds[level], MARGIN_PX)
        size = (int(lefts[level - 1].shape[0]), int(lefts[level - 1].shape[1]))
        low = torch.maximum(finer(2 * low, size), bounds[level - 1][0])
        high = torch.minimum(finer(2 * high, size), bounds[level - 1][1])
    return look(0, finest, wanted), pair(0)


def _light(left: Tensor, right: Tensor, found: _Level, tones: Tones, level: int) -> Light | None:
    """As `match._light`: only means over cells leave the card."""
    ok = found.reason == Reason.MATCHED
    col = torch.arange(left.shape[1], device=left.device)
    there = (col + found.disparity.round().long()).clamp(0, right.shape[1] - 1)
    one = _share(left, tones.left).clamp(0, 1)
    other = _share(right.gather(1, there), tones.right).clamp(0, 1)
    ok = ok & one.isfinite() & other.isfinite()
    one, other = torch.where(ok, one, 0.0), torch.where(ok, other, 0.0)
    cell_px = cell_of(level)
    beyond = [-side % cell_px for side in left.shape]
    sums = torch.stack([ok.float(), one, other, one * one, other * other])
    means = avg_pool2d(padded(sums, (0, beyond[1], 0, beyond[0])), cell_px)
    return light_between(means.cpu().numpy(), cell_px, level)


def _share(image: Tensor, ends: tuple[float, float]) -> Tensor:
    dark, bright = ends
    return (image - dark) / max(bright - dark, 1e-6)


def _lit(image: Tensor, tones: Tones, light: Light, level: int) -> Tensor:
    """As `Light.on`."""
    fields = torch.from_numpy(np.stack([light.gain, light.offset])).to(image.device)
    size = [side * light.per_cell(level) for side in light.gain.shape]
    rows, cols = image.shape
    gain, offset = interpolate(fields[None], size, mode="bilinear")[0, :, :rows, :cols]
    dark, bright = tones.left
    lit: Tensor = (_share(image, tones.left) * gain + offset) * (bright - dark) + dark
    return lit


def _tones_of_matches(left: Tensor, right: Tensor, disparity: Tensor, ok: Tensor) -> Tones | None:
    row, col = torch.nonzero(ok, as_tuple=True)
    if row.numel() < 1000:
        return None
    there = (col + disparity[row, col].round().long()).clamp(0, right.shape[1] - 1)
    return Tones(_ends(left[row, col]), _ends(right[row, there]))


def _ends(image: Tensor) -> tuple[float, float]:
    seen = image[image.isfinite()]
    if seen.numel() == 0:
        return 0.0, 1.0
    low, high = quantiles(seen[:: max(1, seen.numel() // 100_000)], (0.02, 0.98))
    return low, high


def _level(
    pair: _Pair,
    fine: Tensor,
    lo: Tensor,
    hi: Tensor,
    recipe: Recipe,
    where: Tensor | None = None,
) -> _Level:
    """Match strips of rows, cut as `match` cuts them: their margins decide a little."""
    rows = pair.left.shape[0]
    sought = pair.left.isfinite()
    if where is not None:
        sought = sought & where
    cells = float(torch.where(sought, hi - lo + 16.0, 0.0).sum()) * recipe.per_px
    cuts = np.linspace(0, rows, max(1, int(np.ceil(cells / STRIP_CELLS))) + 1).astype(int)
    parts = []
    for first, last in pairwise(cuts.tolist()):
        top, bottom = max(0, first - STRIP_MARGIN_PX), min(rows, last + STRIP_MARGIN_PX)
        part = slice(top, bottom)
        images = _Pair(pair.left[part], pair.lit[part], fine[part], pair.tones)
        strip = _strip(images, lo[part], hi[part], recipe, sought[part])
        parts.append([values[first - top : last - top] for values in strip])
    return _Level(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _strip(pair: _Pair, lo: Tensor, hi: Tensor, recipe: Recipe, where: Tensor) -> _Level:
    """Match one strip; its right image has `recipe.per_px` columns a pixel."""
    q = recipe.per_px
    codes, ok = census(pair.left, window(*CENSUS_PX))
    ok = ok * where
    slices = SlicesOn.between(lo, hi, per_px=q, where=ok)
    lowest, highest_step = int(slices.first.min()), int((slices.first + slices.count).max())
    there, there_ok = census(pair.right, window(*CENSUS_PX, spread=q))
    pad = max(0, -lowest, pair.left.shape[1] * q + highest_step - there.shape[1]) + 1
    seen = SeenOn(codes, ok, grey(pair.lit, pair.tones.left))
    there_grey = grey(pair.right, pair.tones.right)
    other = SeenOn(*(padded(v, (pad, pad)) for v in (there, there_ok, there_grey)))
    contrast = np.exp(-np.arange(256) / EDGE_CONTRAST)
    p2 = (recipe.p2_edge + (recipe.p2_flat - recipe.p2_edge) * contrast).astype(np.uint8)
    best, near, rival, back = _solved(
        seen, other, pad, slices, np.uint8(recipe.p1), p2, pair.right.shape[1] // q
    )
    return _Level(*settled(best, near, rival, back, ok, other.valid, pad, q))


def _solved(
    left: SeenOn,
    right: SeenOn,
    pad: int,
    slices: SlicesOn,
    p1: np.uint8,
    p2: np.ndarray[tuple[int], np.dtype[np.uint8]],
    right_cols: int,
) -> tuple[Tensor, ...]:
    if left.codes.is_cuda:
        from processes.stereo.sgm_gpu import solved

        table = torch.as_tensor(p2, device=left.codes.device)
        return solved(left, right, pad, slices, p1, table, right_cols)
    found = sgm.solve(
        _seen(left), _seen(right), pad,
        Slices(slices.first.numpy(), slices.count.numpy(), slices.start.numpy(), slices.per_px),
        p1, p2, right_cols,
    )  # fmt: skip
    return tuple(torch.from_numpy(values.astype(np.int32)) for values in found)


def _seen(image: SeenOn) -> Seen:
    codes = image.codes.contiguous().numpy().view(np.uint32)
    return Seen(codes, image.valid.contiguous().numpy(), image.greys.contiguous().numpy())


def grey(image: Tensor, ends: tuple[float, float]) -> Tensor:
    """Return square roots of grey levels, uint8; see `Tones.grey`."""
    # a tensor: a number would be turned into a product with its inverse
    contrast = torch.tensor(max(ends[1] - ends[0], 1e-6), device=image.device)
    scaled = (image.nan_to_num(nan=ends[0]) - ends[0]) / contrast
    # float64: torch's vector unit may be off by float32's last digit
    root = scaled.clamp(min=0).double().sqrt().float()
    return (root * 220 + 18).clamp(0, 255).to(torch.uint8)


def resampled(image: Tensor, per_px: int) -> Tensor:
    """Return the image with *per_px* columns for each, by OpenCV's cubic interpolation.

    Its weights of pixels in other rows are nought, but what is not a number there still counts.
    """
    if per_px == 1:
        return image
    rows, cols = image.shape
    wide = padded(image[None], (1, 2), mode="replicate")[0]
    between = -0.09375 * wide[:, :cols]
    for k, weight in ((1, 0.59375), (2, 0.59375), (3, -0.09375)):
        # a product that is added without being rounded, as vector units do it
        between = (between + weight * wide[:, k : k + cols].double()).float()
    tall = padded(between[None, None].isnan().float(), (0, 0, 1, 2))[0, 0]
    gaps = sum((tall[k : k + rows] for k in range(4)), torch.zeros_like(image))
    between = torch.where(gaps > 0, torch.nan, between)
    return torch.stack([image, between], dim=2).reshape(rows, per_px * cols)


def _flat(image: Tensor, ends: tuple[float, float]) -> Tensor:
    """Return where an image shows nothing but one grey value."""
    known = image.nan_to_num(nan=ends[0])
    spread = highest(known, FLAT_PX // 2) + highest(-known, FLAT_PX // 2)
    return spread <= FLAT_CONTRAST * (ends[1] - ends[0])
