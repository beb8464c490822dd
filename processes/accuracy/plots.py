"""Pictures of errors, as images inside the page: no file beside it, no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from shapely.geometry.base import BaseGeometry

INK, QUIET, ACCENT, GOOD, BAD = "#1d2733", "#8a96a3", "#2f6f9f", "#2a9d6f", "#d1495b"
MAP_PX = 700
"""Longest side of an error map: larger rasters are shown by their block medians."""


@dataclass(frozen=True)
class Plot:
    """A picture with what it shows in words."""

    title: str
    caption: str
    uri: str
    """`data:` address of the picture itself."""
    wide: bool = False


def error_map(dz: NDArray[np.floating], *, title: str, caption: str) -> Plot:
    """Return a map of differences: blue is too low, red too high, grey a void."""
    step = max(1, int(np.ceil(max(dz.shape) / MAP_PX)))
    shown = _block_median(dz, step)
    known = np.abs(shown[np.isfinite(shown)])
    limit = max(0.5, float(np.ceil(np.quantile(known, 0.95) * 2) / 2)) if known.size else 1.0
    figure, axes = _figure(6.6, 5.6 * shown.shape[0] / shown.shape[1])
    axes.spines[:].set_visible(False)
    axes.set_facecolor("#c9ced4")
    drawn = axes.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    bar = figure.colorbar(drawn, ax=axes, shrink=0.9, pad=0.02, extend="both")
    bar.set_label("product − reference, m", color=INK)
    bar.outline.set_visible(False)
    return Plot(title, caption, _png(figure), wide=True)


def histogram(
    values: NDArray[np.floating],
    *,
    title: str,
    caption: str,
    label: str,
    about_zero: bool = True,
) -> Plot:
    """Return how often each value occurs; the outer two percent at each end are cut off."""
    known = np.asarray(values, float).ravel()
    known = known[np.isfinite(known)]
    figure, axes = _figure(4.6, 2.9)
    if known.size:
        low, high = np.quantile(known, [0.02, 0.98])
        if about_zero:
            high = max(abs(low), abs(high), 0.1)
            low = -high
            axes.axvline(0, color=INK, linewidth=0.8)
        bins = np.linspace(low, max(high, low + 0.1), 61 if known.size > 2000 else 25)
        axes.hist(known, bins=bins.tolist(), color=ACCENT, linewidth=0)
    axes.set(xlabel=label, yticks=[])
    axes.spines["left"].set_visible(False)
    return Plot(title, caption, _svg(figure))


def cumulative(sizes: NDArray[np.floating], total: int, *, title: str, caption: str) -> Plot:
    """Return the share of all *total* reference cells within each error: voids never come in."""
    known = np.sort(np.abs(sizes[np.isfinite(sizes)]).ravel())
    figure, axes = _figure(4.6, 2.9)
    limits = np.linspace(0, 3, 121)
    share = np.searchsorted(known, limits, side="right") / max(total, 1)
    axes.plot(limits, share, color=ACCENT, linewidth=2)
    axes.axvline(1, color=QUIET, linewidth=0.8, linestyle="--")
    axes.set(xlabel="|error| at most, m", ylabel="share of cells", ylim=(0, 1), xlim=(0, 3))
    axes.grid(color="#e3e7eb", linewidth=0.8)
    return Plot(title, caption, _svg(figure))


def calibration(
    claimed: NDArray[np.floating],
    held: Mapping[str, NDArray[np.floating]],
    *,
    title: str,
    caption: str,
) -> Plot:
    """Return the share held over the share claimed, a line each; the diagonal is honest."""
    figure, axes = _figure(4.6, 4.2)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8)
    axes.axvline(0.9, color=QUIET, linewidth=0.8, linestyle="--")
    for (name, share), colour in zip(held.items(), (ACCENT, "#e0a526", GOOD), strict=False):
        axes.plot(claimed, share, color=colour, linewidth=2, label=name)
    axes.set(xlabel="share claimed", ylabel="share held", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="lower right", frameon=False)
    return Plot(title, caption, _svg(figure))


def claims(
    claims_m: NDArray[np.floating], share: NDArray[np.floating], *, title: str, caption: str
) -> Plot:
    """Return which share of the cells claims at most each error."""
    figure, axes = _figure(4.6, 2.9)
    axes.plot(claims_m, np.cumsum(share), color=ACCENT, linewidth=2)
    axes.set(xlabel="claimed error at most, m", ylabel="share of cells", ylim=(0, 1), xscale="log")
    axes.set_xlim(0.05, 20)
    axes.set_xticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
    axes.grid(color="#e3e7eb", linewidth=0.8)
    return Plot(title, caption, _svg(figure))


def scatter(
    truth: NDArray[np.floating], measured: NDArray[np.floating], *, title: str, caption: str
) -> Plot:
    """Return measured over true heights with the line of agreement."""
    figure, axes = _figure(4.6, 4.2)
    known = np.isfinite(truth) & np.isfinite(measured)
    if known.any():
        both = np.concatenate([truth[known], measured[known]])
        ends = [float(min(0.0, both.min())), float(both.max() * 1.05 + 0.1)]
        axes.plot(ends, ends, color=QUIET, linewidth=0.8)
        axes.scatter(truth[known], measured[known], s=12, color=ACCENT, alpha=0.7, linewidths=0)
        axes.set(xlim=ends, ylim=ends)
    axes.set(xlabel="reference, m", ylabel="product, m", aspect="equal")
    return Plot(title, caption, _svg(figure))


def outline_map(
    found: Sequence[BaseGeometry],
    invented: Sequence[BaseGeometry],
    missed: Sequence[BaseGeometry],
    *,
    title: str,
    caption: str,
) -> Plot:
    """Return a map of outlines: found, invented by the product, missed from the reference."""
    figure, axes = _figure(6.6, 6.2)
    for outlines, colour, name in (
        (found, GOOD, "found"),
        (invented, BAD, "invented"),
        (missed, "#e0a526", "missed"),
    ):
        _draw(axes, outlines, colour)
        axes.plot([], [], color=colour, linewidth=4, label=f"{name}: {len(outlines)}")
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, frameon=False)
    return Plot(title, caption, _svg(figure), wide=True)


def point_map(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    dz: NDArray[np.floating],
    *,
    title: str,
    caption: str,
) -> Plot:
    """Return check points in their places, coloured by error."""
    figure, axes = _figure(6.6, 5.0)
    known = np.isfinite(dz)
    limit = max(0.5, float(np.quantile(np.abs(dz[known]), 0.95))) if known.any() else 1.0
    axes.scatter(x[~known], y[~known], s=14, color=QUIET, marker="x", label="void")
    drawn = axes.scatter(x[known], y[known], c=dz[known], s=18, cmap="RdBu_r")
    drawn.set_clim(-limit, limit)
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    figure.colorbar(drawn, ax=axes, shrink=0.85).set_label("product − point, m")
    return Plot(title, caption, _svg(figure), wide=True)


def _draw(axes: Axes, outlines: Sequence[BaseGeometry], colour: str) -> None:
    import shapely
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path

    parts = shapely.get_parts(np.asarray(outlines, object))
    polygons = [part for part in parts if isinstance(part, shapely.Polygon)]
    paths = [
        Path.make_compound_path(
            *(
                Path(shapely.get_coordinates(ring), closed=True)
                for ring in (polygon.exterior, *polygon.interiors)
            )
        )
        for polygon in polygons
    ]
    axes.add_collection(PathCollection(paths, facecolor=colour + "55", edgecolor=colour, lw=0.8))
    axes.autoscale_view()


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty chart, drawn without pyplot: its global state is not for threads."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    return figure, axes


def _block_median(values: NDArray[np.floating], step: int) -> NDArray[np.floating]:
    if step == 1:
        return values
    rows, cols = (size // step * step for size in values.shape)
    cells = values[:rows, :cols].reshape(rows // step, step, cols // step, step)
    blocks = cells.transpose(0, 2, 1, 3).reshape(rows // step, cols // step, step * step)
    shown = np.full(blocks.shape[:2], np.nan)
    known = np.isfinite(blocks).any(axis=2)
    shown[known] = np.nanmedian(blocks[known], axis=1)
    return shown


def _png(figure: Figure) -> str:
    return _uri(figure, "png", "image/png")


def _svg(figure: Figure) -> str:
    return _uri(figure, "svg", "image/svg+xml")


def _uri(figure: Figure, form: str, media_type: str) -> str:
    target = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {}
    figure.savefig(target, format=form, dpi=120, metadata=metadata)
    return f"data:{media_type};base64,{base64.b64encode(target.getvalue()).decode()}"
