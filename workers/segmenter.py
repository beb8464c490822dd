"""Training a segmenter from the command line: examples read from files, weights written to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from processes.core.errors import GridMismatch, InvalidInput
from processes.semantics.modelcard import ONNX, SAFETENSORS, card_of
from workers.rasters import RasterFile

if TYPE_CHECKING:
    from processes.semantics.network import UNet
    from processes.semantics.train import Example, Report

NAME = "segmenter"


def train_segmenter(
    out: Path,
    *,
    steps: int,
    seed: int = 0,
    labels: Path | None = None,
    start: Path | None = None,
    onnx: bool = False,
    told: Callable[[Report], None] | None = None,
) -> Path:
    """Train the U-Net and write weights and their STAC MLM Item; return the Item's path.

    *labels* is a folder of real places, each a folder with `ndsm.tif`, `classes.tif` (codes of
    process segment, 0 where unknown) and, if there is one, `ortho.tif`, all on one lattice.
    *start* is the Item of weights as written here, to go on from.
    """
    import torch

    from processes.semantics.export import to_onnx, to_safetensors
    from processes.semantics.train import train

    real = (
        [_example(folder) for folder in sorted(labels.iterdir()) if folder.is_dir()]
        if labels
        else []
    )
    if labels and not real:
        raise InvalidInput(f"{labels.name} holds no folder with ndsm.tif and classes.tif")
    first, before = _start(start) if start else (None, {})
    out.mkdir(parents=True, exist_ok=True)
    net = train(steps, seed, real, start=first, told=told).folded()
    parameters = sum(weight.numel() for weight in net.parameters())
    trained = {"steps": steps, "seed": seed, "real_places": len(real), "torch": torch.__version__}
    trained |= {"before": before} if before else {}

    def written(form: str, content: bytes) -> Path:
        file = out / f"{NAME}.{form}"
        file.write_bytes(content)
        card = card_of(NAME, content, f"./{file.name}", form, trained, parameters)
        item = out / (f"{NAME}.json" if form == SAFETENSORS else f"{NAME}-{form}.json")
        item.write_text(json.dumps(card, indent=2) + "\n")
        return item

    if onnx:
        written(ONNX, to_onnx(net))
    return written(SAFETENSORS, to_safetensors(net))


def _start(item: Path) -> tuple[UNet, Any]:
    """Return the network of an Item, and how that was trained."""
    from processes.semantics.modelcard import read_card
    from processes.semantics.weights import unet

    try:
        text = item.read_text("utf-8")
        card = read_card(text)
        content = (item.parent / card.href).read_bytes()
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"{item.name} or its weights cannot be read") from None
    if card.form != SAFETENSORS:
        raise InvalidInput(f"{item.name} is ONNX: training goes on from safetensors alone")
    card.check(content)
    return unet(content), json.loads(text)["properties"].get("mlm:hyperparameters", {})


def _example(folder: Path) -> Example:
    """Read one real place."""
    from processes.semantics.stack import brightness
    from processes.semantics.train import CROP_PX, UNKNOWN, Example

    heights = RasterFile(folder / "ndsm.tif", f"{folder.name}/ndsm.tif")
    classes = RasterFile(folder / "classes.tif", f"{folder.name}/classes.tif")
    ortho = folder / "ortho.tif"
    image = RasterFile(ortho, f"{folder.name}/ortho.tif") if ortho.is_file() else None
    for other in (classes, image):
        if other is not None and (
            other.grid != heights.grid or other.shape[1:] != heights.shape[1:]
        ):
            raise GridMismatch(f"the rasters of {folder.name} differ in grid: resample to one")
    if min(heights.shape[1:]) < CROP_PX:
        raise InvalidInput(f"{folder.name} is smaller than {CROP_PX} cells")
    bands = dict(zip(image.band_names, image.read(), strict=True)) if image else {}
    codes = np.nan_to_num(classes.read()[0]).astype(int)
    known = (codes >= 1) & (codes <= 5)
    return Example(
        heights.read()[0],
        bands,
        np.where(known, codes - 1, UNKNOWN).astype(np.uint8),
        brightness([bands]),
    )
