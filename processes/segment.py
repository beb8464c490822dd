"""Classes of the ground: building, vegetation, water, road or plain ground, cell by cell.

From heights above ground and, where given, colour. Rules on height, colour and texture need no
training; a small neural network, trained on towns that the project makes up, knows more of what
things look like together. Networks of one's own are welcome: safetensors of the same architecture
(`orograph train-segmenter`) or ONNX, described by a STAC Item of the MLM extension.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from processes.core.codes import tagged
from processes.core.process import Asset, Inputs, Layer, Outputs, Process, Workspace
from processes.core.raster import Raster
from processes.semantics.scene import corner, opened, piece

BLOCK_PX = 1024
CELL_BYTES = 260.0
CODES = {1: "building", 2: "vegetation", 3: "water", 4: "road", 5: "ground"}
COLOURS = {
    1: (200, 60, 50), 2: (70, 140, 60), 3: (70, 120, 200), 4: (110, 110, 115), 5: (222, 208, 170),
}  # fmt: skip


class SegmentInputs(Inputs):
    """What classes are told from."""

    dsm: Asset = Field(description="Surface heights, metres.")
    dtm: Asset = Field(description="Ground heights, metres, on the grid of dsm.")
    ortho: Asset | None = Field(
        default=None,
        description="True orthoimage on the grid of dsm; bands named red, green, blue, nir are "
        "used, else their mean as a panchromatic one. The less there is, the less is told.",
    )
    ortho_mask: Asset | None = Field(
        default=None,
        description="Where heights come from, as process dsm says, on the grid of dsm: beside "
        "roofs, colour alone tells what the cells are whose heights were filled. Used with ortho.",
    )
    segmenter: Literal["rules", "unet"] = Field(
        default="unet", description="Rules on height, colour and texture, or a neural network."
    )
    weights: Asset | None = Field(
        default=None,
        description="STAC MLM Item of a network to use in place of the one that comes with the "
        "program: inputs out of red, green, blue, nir, ndsm, ndvi, c3; classes out of building, "
        "vegetation, water, road, ground; weights as safetensors or ONNX.",
    )


class SegmentOutputs(Outputs):
    """Classes on the grid of the surface model."""

    classes: Asset = Field(
        description="1 building, 2 vegetation, 3 water, 4 road, 5 ground; 0 where no height is."
    )


def run(inputs: SegmentInputs, work: Workspace) -> SegmentOutputs:
    """Tell classes block by block."""
    from processes.semantics.segmenter import chosen, settled

    work.progress(0.0, "looking at the scene")
    scene = opened(inputs.dsm, inputs.dtm, inputs.ortho, work, ortho_mask=inputs.ortho_mask)
    segmenter = chosen(inputs.segmenter, scene, work, weights=inputs.weights)
    names, tidy = scene.band_names, inputs.segmenter == "unet"

    def classes(*blocks: Raster) -> Raster:
        cells = piece(names, *blocks)
        chances = segmenter(cells, corner(scene.grid, blocks[0].grid))
        if tidy:
            chances = settled(chances, cells, scene.grid.cell_m)
        found = np.where(chances.max(axis=0) > 0, chances.argmax(axis=0) + 1, 0)
        return Raster(found.astype(np.uint8), blocks[0].grid)

    work.progress(0.05, "telling classes")
    layer = Layer(
        "classes",
        dtype="uint8",
        band_names=["class"],
        tags=tagged(CODES),
        colours=COLOURS,
    )
    made = work.map_blocks(
        layer,
        classes,
        *scene.sources,
        margin_m=segmenter.margin_m,
        block_px=BLOCK_PX,
        cell_bytes=CELL_BYTES,
    )
    work.progress(1.0, "classes told")
    return SegmentOutputs(classes=made)


SEGMENT = Process(
    id="segment",
    title="Classes of the ground",
    description=__doc__,
    version="1.1.0",
    inputs=SegmentInputs,
    outputs=SegmentOutputs,
    run=run,
    gpu=True,
    keywords=("segmentation", "land cover", "buildings", "vegetation", "roads", "water"),
)
