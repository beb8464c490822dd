"""Bundle adjustment: image corrections that make the rays of tie points meet.

Each image gets one (row, col) shift and, where the residuals ask for it, a tilt: an affine
correction (Fraser & Hanley, 2003). Two images fix one number only, the shift across the epipolar
lines; all else is held by weak priors that keep corrections small. The first image is the
reference and stays as it is, unless ground control points say where it looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes.stereo.rpc import RpcModel
from processes.stereo.triangulate import intersect, jacobian

Floats = NDArray[np.float64]

ENOUGH = 12
"""Fewer tie points tell nothing about an image."""
TIE_PX, CONTROL_PX = 0.1, 0.5
"""How far a tie point and a ground control point are off, one standard deviation."""
POINTING_PX = 3.0
"""How far an image's pointing is off, one standard deviation."""
TILT_PX = 1.0
"""How far it drifts over the spread of its tie points."""
ENOUGH_TO_TILT = 100
WORTH_TILTING = 0.9
"""A tilt is believed where it brings the median residual below this share of what it was."""
TURNS = 10


@dataclass(frozen=True, eq=False)
class Ties:
    """Pixels that show the same ground: (view, point), NaN where a view does not have it."""

    rows: Floats
    cols: Floats

    @property
    def count(self) -> int:
        return int(self.rows.shape[1])


@dataclass(frozen=True, eq=False)
class Control:
    """Pixels of views whose ground is known: one entry an observation; heights ellipsoidal."""

    view: NDArray[np.int64]
    row: Floats
    col: Floats
    lon: Floats
    lat: Floats
    height_m: Floats


@dataclass(frozen=True, eq=False)
class Pointing:
    """Sensor models that agree, and how well."""

    models: tuple[RpcModel, ...]
    corrections_px: tuple[tuple[float, ...], ...]
    """What was added to each model: row, column and, where it was tilted, four tilts."""
    ties: int
    seen: tuple[int, ...]
    """How many of the ties each view has."""
    before_px: float
    after_px: float
    lon: Floats
    lat: Floats
    height_m: Floats
    control_px: float = float("nan")
    """Median residual of the ground control points; NaN without."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What a coarse elevation model added to it, as tags of the product."""

    @property
    def off_px(self) -> float:
        """How far the images' pointing proved to be off: the largest shift, row or column."""
        return max(abs(px) for correction in self.corrections_px for px in correction[:2])


@dataclass(frozen=True, eq=False)
class _State:
    models: tuple[RpcModel, ...]
    lon: Floats
    lat: Floats
    height: Floats
    size: Floats
    """Residual of each tie, pixels; NaN where it could not be intersected."""
    weight: Floats

    @property
    def median_px(self) -> float:
        good = np.isfinite(self.size)
        return float(np.median(self.size[good])) if good.any() else float("nan")


def adjust(
    models: Sequence[RpcModel],
    ties: Ties,
    *,
    height_m: float,
    prior_px: float = POINTING_PX,
    control: Control | None = None,
) -> Pointing:
    """Return the models corrected so that the rays of ties meet, and meet the *control*.

    Point and image weights are renewed each turn. Patches across a height step are off by tenths
    of a pixel, all to one side, so the weights seek the mode of the residuals, not their mean
    (Geman-McClure). An image that proves wrong in what can be seen is trusted less in what cannot
    (Cauchy): with three images, the one that is off across is also the one that is moved along.
    """
    given = tuple(models)
    before = _intersected(given, ties, height_m)
    shifted = _settled(given, before, ties, height_m, prior_px, control, tilting=False)
    found = shifted
    if np.isfinite(ties.rows).sum(axis=1).min() >= ENOUGH_TO_TILT:
        tilted = _settled(shifted.models, shifted, ties, height_m, prior_px, control, tilting=True)
        if tilted.median_px < WORTH_TILTING * shifted.median_px:
            found = tilted
    keep = found.weight > 0.04
    return Pointing(
        models=found.models,
        corrections_px=tuple(_added(m, g) for m, g in zip(found.models, given, strict=True)),
        ties=int(keep.sum()),
        seen=tuple(int(n) for n in np.isfinite(ties.rows[:, keep]).sum(axis=1)),
        before_px=before.median_px,
        after_px=found.median_px,
        lon=found.lon[keep],
        lat=found.lat[keep],
        height_m=found.height[keep],
        control_px=_control_px(found.models, control),
    )


def _added(now: RpcModel, given: RpcModel) -> tuple[float, ...]:
    shift = now.drow - given.drow, now.dcol - given.dcol
    tilt = tuple(a - b for a, b in zip(now.tilt, given.tilt, strict=True))
    return (*shift, *tilt) if any(tilt) else shift


def _settled(
    start: tuple[RpcModel, ...],
    state: _State,
    ties: Ties,
    height_m: float,
    prior_px: float,
    control: Control | None,
    *,
    tilting: bool,
) -> _State:
    """Return the state at which no further correction helps."""
    width = 6 if tilting else 2
    fixed = 1 if control is None else 0  # the first image, unless something else says where we are
    spread = [_Spread.of(model, state) for model in start]
    total = np.zeros((len(start), width))
    for _ in range(TURNS):
        normal, right = _reduced(state, spread, ties, width)
        if control is not None:
            _add_control(normal, right, state.models, spread, control, width)
        for v in range(fixed, len(start)):
            k = slice(width * v, width * (v + 1))
            off = total[v, :2] @ total[v, :2] / prior_px**2
            trust = np.full(width, ENOUGH * TIE_PX**2 / (prior_px**2 * (0.05 + off)))
            trust[2:] = ENOUGH * TIE_PX**2 / TILT_PX**2
            normal[k, k] += np.diag(trust)
            right[k] -= trust * total[v]
        free = slice(width * fixed, None)
        step = np.zeros_like(right)
        step[free] = np.linalg.solve(normal[free, free], right[free])
        total += step.reshape(total.shape)
        moved = tuple(
            m if v < fixed else m.corrected(*spread[v].raw(total[v])) for v, m in enumerate(start)
        )
        known = np.isfinite(state.height)
        state = _intersected(moved, ties, np.where(known, state.height, height_m))
        if np.abs(step).max() < 1e-4:
            break
    return state


@dataclass(frozen=True)
class _Spread:
    """Middle and spread of an image's ties, in its normalised rows and columns."""

    middle: Floats
    size: Floats

    @classmethod
    def of(cls, model: RpcModel, state: _State) -> _Spread:
        at = np.stack(model.normalised(state.lon, state.lat, state.height))
        at = at[:, np.isfinite(at).all(axis=0)]
        if at.shape[1] < ENOUGH:
            return cls(np.zeros(2), np.ones(2))
        return cls(at.mean(axis=1), np.maximum(at.std(axis=1), 1e-6))

    def design(self, model: RpcModel, lon: Floats, lat: Floats, height: Floats, width: int) -> Any:
        """Return d(row, col)/d(parameters), shape (point, 2, width)."""
        r, c = (np.stack(model.normalised(lon, lat, height)).T - self.middle).T / self.size[:, None]
        out = np.zeros((r.size, 2, width))
        out[:, 0, 0] = out[:, 1, 1] = 1.0
        if width > 2:
            out[:, 0, 2], out[:, 0, 3] = r, c
            out[:, 1, 4], out[:, 1, 5] = r, c
        return np.nan_to_num(out)

    def raw(self, parameters: Floats) -> tuple[float, ...]:
        """Return shift and tilts of the model's own normalised coordinates."""
        if parameters.size == 2:
            return float(parameters[0]), float(parameters[1])
        tilt = parameters[2:].reshape(2, 2) / self.size
        shift = parameters[:2] - tilt @ self.middle
        return (*shift.tolist(), *tilt.ravel().tolist())


def _intersected(models: tuple[RpcModel, ...], ties: Ties, height_m: Floats | float) -> _State:
    """Return where rays meet, by how much they miss, and what each tie is worth."""
    lon, lat, height, residual = intersect(models, ties.rows, ties.cols, height_m)
    seen = np.isfinite(residual)
    total = np.where(seen, residual, 0.0) ** 2
    size = np.sqrt(total.sum(axis=(0, 1)) / np.maximum(seen[:, 0].sum(axis=0), 1))
    good = np.isfinite(size)
    limit = max(float(np.median(size[good])) if good.any() else 0.0, 0.03)
    weight = np.where(good, 1.0 / (1.0 + (size / limit) ** 2) ** 2, 0.0)
    return _State(tuple(models), lon, lat, height, size, weight)


def _reduced(
    state: _State, spread: Sequence[_Spread], ties: Ties, width: int
) -> tuple[Floats, Floats]:
    """Return the normal equations of the corrections with every ground point eliminated."""
    lon, lat, height = state.lon, state.lat, state.height
    views, points = ties.rows.shape
    seen = np.isfinite(ties.rows)
    a = np.stack([jacobian(m, lon, lat, height) for m in state.models])  # view, 3, 2, point
    a = np.where(np.isfinite(a), a, 0.0) * seen[:, None, None]
    a = np.transpose(a, (3, 0, 2, 1)).reshape(points, 2 * views, 3)
    miss = np.zeros((points, views, 2))
    design = np.zeros((points, views, 2, views, width))
    for v, model in enumerate(state.models):
        at = np.stack(model.project(lon, lat, height), axis=1)
        miss[:, v] = np.stack([ties.rows[v], ties.cols[v]], axis=1) - at
        design[:, v, :, v] = spread[v].design(model, lon, lat, height, width)
    miss = np.where(seen.T[:, :, None], miss, 0.0)
    design *= seen.T[:, :, None, None, None]
    e = np.nan_to_num(miss).reshape(points, 2 * views)
    d = design.reshape(points, 2 * views, views * width)
    inner = np.linalg.inv(np.transpose(a, (0, 2, 1)) @ a + 1e-12 * np.eye(3))
    free = d - a @ (inner @ (np.transpose(a, (0, 2, 1)) @ d))
    normal = np.einsum("nia,nib,n->ab", d, free, state.weight)
    right = np.einsum("nia,ni,n->a", free, e, state.weight)
    return normal, right


def _add_control(
    normal: Floats,
    right: Floats,
    models: Sequence[RpcModel],
    spread: Sequence[_Spread],
    control: Control,
    width: int,
) -> None:
    """Add what the ground control points say; a wrong one loses its weight."""
    worth = (TIE_PX / CONTROL_PX) ** 2
    for v, model in enumerate(models):
        mine = control.view == v
        ground = control.lon[mine], control.lat[mine], control.height_m[mine]
        row, col = model.project(*ground)
        miss = np.stack([control.row[mine] - row, control.col[mine] - col], axis=1)
        size = np.hypot(miss[:, 0], miss[:, 1])
        limit = max(float(np.median(size)), CONTROL_PX) if size.size else CONTROL_PX
        weight = worth / (1.0 + (size / limit) ** 2) ** 2
        design = spread[v].design(model, *ground, width)
        k = slice(width * v, width * (v + 1))
        normal[k, k] += np.einsum("nia,nib,n->ab", design, design, weight)
        right[k] += np.einsum("nia,ni,n->a", design, miss, weight)


def _control_px(models: Sequence[RpcModel], control: Control | None) -> float:
    if control is None:
        return float("nan")
    miss = []
    for v, model in enumerate(models):
        mine = control.view == v
        row, col = model.project(control.lon[mine], control.lat[mine], control.height_m[mine])
        miss.append(np.hypot(control.row[mine] - row, control.col[mine] - col))
    return float(np.median(np.concatenate(miss)))
