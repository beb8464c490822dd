"""Point cloud: every point that pairs of satellite images measure, in the images' colours.

A surface model has one height a cell; the cloud is what it is made from, before it is gridded: each
point where its lines of sight meet, walls included. All pairs are brought to one level, points that
lie on no surface are dropped, and several pairs of one roof make one point a cell, not several.
Heights are metres above the WGS84 ellipsoid. The surface model and the true orthoimage that it
takes are products too.
"""

from __future__ import annotations

from pydantic import Field

from processes.core.process import Asset, PointLayer, Process, Workspace
from processes.dsm import DsmInputs, DsmOutputs, measured
from processes.ortho import ORTHO, OrthoInputs, OrthoOutputs


class SurfaceOutputs(DsmOutputs):
    """A surface model, and the points it is made from."""

    measured: Asset


class PointcloudOutputs(OrthoOutputs, DsmOutputs):
    """A point cloud, and what it was made with."""

    points: Asset = Field(
        description="LAS 1.4 as COPC: place, red, green and blue (and near infrared), "
        "likelihood (per cent), error_cm (that nine points in ten stay below: confidence of its "
        "cell) and images (in how many it was measured)."
    )
    point_tileset: Asset = Field(description="The same as 3D Tiles: tileset.json, tiles beside it.")


def _surface(inputs: DsmInputs, work: Workspace) -> SurfaceOutputs:
    made, points = measured(inputs, work, PointLayer("measured"))
    assert points is not None  # asked for
    return SurfaceOutputs(**dict(made), measured=points)


_SURFACE = Process(
    id="surface",
    title="Surface model with its points",
    description="The first step of a point cloud.",
    version="1.0.0",
    inputs=DsmInputs,
    outputs=SurfaceOutputs,
    run=_surface,
)


def run(inputs: DsmInputs, work: Workspace) -> PointcloudOutputs:
    """Measure, look what colour everything is, write."""
    work.progress(0.0, "surface")
    surface = work.step(_SURFACE, inputs, until=0.7)
    work.progress(0.7, "true ortho")
    ortho = work.step(ORTHO, OrthoInputs(images=inputs.images, dsm=surface.dsm), until=0.8)
    work.progress(0.8, "points")
    points, tileset = work.write_points(
        "points", surface.measured, ortho.ortho, tileset="point_tileset"
    )
    work.progress(1.0, "point cloud written")
    made = {name: value for name, value in surface if name != "measured"}
    return PointcloudOutputs(**made, **dict(ortho), points=points, point_tileset=tileset)


POINTCLOUD = Process(
    id="pointcloud",
    title="Point cloud",
    description=__doc__,
    version="1.0.0",
    inputs=DsmInputs,
    outputs=PointcloudOutputs,
    run=run,
    gpu=True,
    keywords=("stereo", "points", "LAS", "COPC", "3D Tiles"),
)
