"""Terrain as a textured mesh in 3D Tiles: the ground that buildings stand on in any 3D client.

Flat ground takes few triangles and broken ground many; from afar there are coarser tiles, each
with the error it has. Without an ortho the mesh shows a shaded relief.
"""

from __future__ import annotations

from pydantic import Field

from processes.core.process import Asset, Inputs, Outputs, Process, Workspace


class MeshInputs(Inputs):
    """What a terrain mesh is made from."""

    dtm: Asset = Field(description="Ground heights, one band, ellipsoidal metres.")
    ortho: Asset | None = Field(default=None, description="What the ground looks like from above.")
    tolerance_m: float = Field(
        default=0.1,
        ge=0.0,
        le=100.0,
        title="Tolerance",
        description="How far the finest triangles may leave the terrain, metres: less makes "
        "larger tiles.",
    )


class MeshOutputs(Outputs):
    """A terrain mesh."""

    mesh: Asset = Field(description="3D Tiles 1.1: tileset.json with its tiles beside it.")


def run(inputs: MeshInputs, work: Workspace) -> MeshOutputs:
    """Write the mesh, tile by tile."""
    made = work.write_terrain("mesh", inputs.dtm, inputs.ortho, tolerance_m=inputs.tolerance_m)
    return MeshOutputs(mesh=made)


MESH = Process(
    id="mesh",
    title="Terrain mesh",
    description=__doc__,
    version="1.0.0",
    inputs=MeshInputs,
    outputs=MeshOutputs,
    run=run,
    keywords=("terrain", "mesh", "3D Tiles"),
)
