"""Lines of sight meet where the point was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose
from pyproj import Transformer

from processes.stereo.epipolar import rectify
from processes.stereo.rpc import read_document
from processes.stereo.triangulate import intersect, ray_table

TRUTH = Path(__file__).parents[2] / "data/scenes/village/truth"
LEFT, RIGHT = (
    read_document(name, (TRUTH / f"{name}_true_RPC.TXT").read_text()) for name in ("left", "right")
)
TO_PLANE = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform


def test_points_seen_by_two_cameras_are_found_again() -> None:
    rng = np.random.default_rng(3)
    lon, lat = LEFT.locate(rng.uniform(0, 900, 200), rng.uniform(0, 900, 200), 150.0)
    height = rng.uniform(100, 250, 200)
    seen = [m.project(lon, lat, height) for m in (LEFT, RIGHT)]
    rows, cols = (np.stack([s[k] for s in seen]) for k in (0, 1))
    found = intersect([LEFT, RIGHT], rows, cols, 170.0)
    assert_allclose(found[2], height, atol=1e-4)
    assert_allclose(TO_PLANE(found[0], found[1]), TO_PLANE(lon, lat), atol=1e-4)
    assert np.abs(found[3]).max() < 1e-4


def test_a_view_without_an_observation_is_left_out() -> None:
    lon, lat = LEFT.locate([100.0, 300.0], [200.0, 500.0], 150.0)
    seen = [m.project(lon, lat, 150.0) for m in (LEFT, RIGHT, RIGHT.corrected(5, 5))]
    rows, cols = (np.stack([s[k] for s in seen]) for k in (0, 1))
    rows[2] = cols[2] = np.nan
    height = intersect([LEFT, RIGHT, RIGHT], rows, cols, 100.0)[2]
    assert_allclose(height, 150.0, atol=1e-4)


def test_the_table_agrees_with_rigorous_intersection_to_a_centimetre() -> None:
    corners = LEFT.locate([0, 0, 899, 899], [0, 899, 899, 0], 150.0)
    frame = rectify(LEFT, RIGHT, *corners, heights_m=(100, 250), height_m=150.0, gsd_m=0.5)
    rays = ray_table(frame, LEFT, RIGHT, (100.0, 250.0), TO_PLANE)
    assert rays.across_px < 0.01
    disparity = np.random.default_rng(5).uniform(*rays.disparities, frame.shape).astype(np.float32)
    disparity[::7] = np.nan
    x, y, z = rays.points(disparity)
    assert np.isnan(z[::7]).all()
    r, c = np.meshgrid(np.arange(5, 900, 41), np.arange(9, 900, 37), indexing="ij")
    keep = np.isfinite(z[r, c])
    r, c = r[keep], c[keep]
    seen = [frame.left.at(r, c), frame.right.at(r, c + disparity[r, c])]
    rows, cols = (np.stack([s[k] for s in seen]) for k in (0, 1))
    lon, lat, height, _ = intersect([LEFT, RIGHT], rows, cols, 150.0)
    assert np.abs(z[r, c] - height).max() < 0.01
    exact = TO_PLANE(lon, lat)
    assert np.hypot(x[r, c] - exact[0], y[r, c] - exact[1]).max() < 0.01
