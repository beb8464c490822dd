"""The small picture of a product of classes; those of heights and images are with publishing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.transform import from_origin

from workers.thumbnail import SIZE_PX, thumbnail

RED, GREEN = (200, 60, 50), (70, 140, 60)


def test_classes_are_pictured_in_their_own_colours_and_unknown_cells_are_clear(
    tmp_path: Path,
) -> None:
    side = 2 * SIZE_PX
    classes = np.full((side, side), 2, np.uint8)
    classes[: side // 2] = 1
    classes[:, : side // 4] = 0
    source, target = tmp_path / "classes.tif", tmp_path / "thumbnail.png"
    with rasterio.open(
        source, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint8", nodata=0,
        crs="EPSG:32631", transform=from_origin(500_000, 5_000_000, 0.5, 0.5),
    ) as file:  # fmt: skip
        file.write(classes, 1)
        file.write_colormap(1, {1: (*RED, 255), 2: (*GREEN, 255)})
    thumbnail(source, target)
    picture = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    assert picture.shape == (SIZE_PX, SIZE_PX, 4)
    in_red_green_blue = picture[..., 2::-1]
    assert (in_red_green_blue[: SIZE_PX // 2, SIZE_PX // 4 :] == RED).all()
    assert (in_red_green_blue[SIZE_PX // 2 :, SIZE_PX // 4 :] == GREEN).all()
    assert (picture[:, : SIZE_PX // 4, 3] == 0).all()
    assert (picture[:, SIZE_PX // 4 :, 3] == 255).all()
