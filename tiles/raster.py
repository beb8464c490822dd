"""Raster tiles of our own products, rendered by titiler.

A raster is named by its product's key and its asset's name, never by an address. What is rendered
is kept for a while; a product never changes, so neither does its picture.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Coroutine, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, HTTPException
from fastapi import Path as InPath
from fastapi.routing import APIRoute
from morecantile import tms
from morecantile.defaults import TileMatrixSets
from morecantile.errors import MorecantileError
from rasterio.errors import RasterioError
from rio_tiler.errors import PointOutsideBounds, RioTilerError, TileOutsideBounds
from rio_tiler.io import Reader
from rio_tiler.models import ImageData
from starlette.requests import Request
from starlette.responses import Response
from titiler.core.algorithm import Algorithms
from titiler.core.factory import TilerFactory
from titiler.core.resources.enums import ImageType
from titiler.core.utils import render_image

from tiles import limits
from tiles.answers import unless_known
from tiles.kept import Kept
from tiles.products import product_asset
from tiles.relief import ALGORITHMS, BUFFER, LOSSLESS

PREFIX = "/raster/{key}/{asset}"
MATRIX_SETS = ("WebMercatorQuad", "WorldCRS84Quad", "WGS1984Quad")
GDAL = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
CACHE_BYTES = 96 * 2**20
MAX_AGE_S = 86_400
AT_ONCE = 2 * (os.cpu_count() or 1)
STRETCHED = (ImageType.webp, ImageType.jpeg, ImageType.jpg, ImageType.png)
RANGE_PX = 512
RANGE_PERCENT = (2, 98)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
ma: Any = np.ma  # numpy's masked arrays have no types


def router(products: Path, *, cache_bytes: int = CACHE_BYTES) -> APIRouter:
    """Return routes below `/raster/{key}/{asset}` for the products in folder *products*."""

    def raster(
        key: Annotated[str, InPath(description="Key of the product.")],
        asset: Annotated[str, InPath(description="Name of its raster, as `dsm` or `ortho`.")],
    ) -> str:
        found = product_asset(products, key, asset)
        if found is None or not found[1].startswith("image/tiff"):
            raise HTTPException(404, f"there is no raster {asset} of product {key}")
        return str(found[0])

    factory = TilerFactory(
        reader=ProductReader,
        path_dependency=raster,
        process_dependency=Algorithms(ALGORITHMS).dependency,
        environment_dependency=lambda: GDAL,
        supported_tms=TileMatrixSets({name: tms.get(name) for name in MATRIX_SETS}),
        render_func=render,
        router=APIRouter(route_class=_kept_in(Kept(cache_bytes)), tags=["Raster tiles"]),
        router_prefix=PREFIX,
        name="raster",
        add_part=False,
        add_viewer=False,
    )
    reading = [route for route in factory.router.routes if route.methods == {"GET"}]
    factory.router.routes[:] = reading
    whole = APIRouter()
    whole.include_router(factory.router, prefix=PREFIX)
    return whole


LEVELS_ABOVE = 3
"""How many levels above the one where it fills a tile a raster is still drawn."""


class ProductReader(Reader):  # type: ignore[misc]  # follow_imports is skip
    """A product's raster: interpolated unless its values are classes."""

    def tile(self, *place: Any, buffer: float | None = None, **options: Any) -> ImageData:
        coarsest = max(self.minzoom - LEVELS_ABOVE, 0)
        if place[2] < coarsest:
            # a warp over a continent for a speck: minutes and gigabytes
            raise TileOutsideBounds(f"the raster is a speck at z{place[2]}: start at z{coarsest}")
        image = super().tile(*place, buffer=buffer, **{**self._how(), **options})
        image.metadata = {**(image.metadata or {}), BUFFER: int(buffer or 0)}
        return self._with_range(image)

    def preview(self, **options: Any) -> ImageData:
        return self._with_range(super().preview(**{**self._how(), **options}))

    def _how(self) -> dict[str, str]:
        how = "nearest" if is_classes(self.dataset) else "bilinear"
        return {"resampling_method": how, "reproject_method": how}

    def _with_range(self, image: ImageData) -> ImageData:
        if self.input is not None and image.array.dtype != np.uint8:
            ranges = value_ranges(self.input)
            own = [int(name[1:]) - 1 for name in image.band_names if name[1:].isdecimal()]
            image.dataset_statistics = [ranges[band] for band in own] if own else None
        return image


def is_classes(dataset: Any) -> bool:
    """Say whether a raster holds classes: one band of whole numbers."""
    return dataset.count == 1 and np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer)


@lru_cache(maxsize=256)
def value_ranges(path: str) -> tuple[tuple[float, float], ...]:
    """Return for each band what its picture shows from black to white."""
    with Reader(path) as source:
        image = source.preview(max_size=RANGE_PX)
    ranges = []
    for band in image.array:
        known = band.compressed()
        known = known[np.isfinite(known)]
        low, high = np.percentile(known, RANGE_PERCENT) if known.size else (0.0, 1.0)
        ranges.append((float(low), float(max(high, low + 1e-6))))
    return tuple(ranges)


def render(
    image: ImageData,
    *,
    output_format: ImageType | None = None,
    colormap: Any = None,
    rescale: Sequence[tuple[float, float]] | None = None,
    **options: Any,
) -> tuple[bytes, str]:
    """Return an image file and its media type: WebP, stretched and in true colours, by default."""
    output_format = output_format or ImageType.webp
    if output_format in STRETCHED:
        image = in_colours(image)
        if rescale is None and image.array.dtype != np.uint8:
            rescale = image.dataset_statistics or _own_range(image)
    if rescale is not None:
        # absent values are often NaN, which has no byte
        image.array = ma.MaskedArray(np.nan_to_num(image.array.data), image.array.mask)
    if image.band_descriptions[0] in LOSSLESS:
        plain = colormap is None and rescale is None and options.get("add_mask", True)
        if output_format == ImageType.png and plain:
            return _png(image), output_format.mediatype
        options["lossless"] = output_format == ImageType.webp
    content: tuple[bytes, str] = _rendered(
        image, output_format, colormap=colormap, rescale=rescale, **options
    )
    return content


def _rendered(
    image: ImageData, output_format: ImageType, *, lossless: bool = False, **options: Any
) -> tuple[bytes, str]:
    if not lossless:
        content: tuple[bytes, str] = render_image(image, output_format=output_format, **options)
        return content
    return image.render(img_format="WEBP", lossless=True), output_format.mediatype


def _png(image: ImageData) -> bytes:
    """Return red, green and blue in bytes as a PNG, transparent where an image is masked.

    OpenCV takes a half to a tenth of the time of GDAL's driver, for files as small.
    """
    import cv2

    opaque = np.where(ma.getmaskarray(image.array).any(axis=0), 0, 255).astype(np.uint8)
    colours = np.dstack([*image.array.data[::-1], opaque])
    done, content = cv2.imencode(".png", colours)
    if not done:
        raise ValueError(f"a tile of {image.width} × {image.height} cannot be encoded")
    return bytes(content)


def in_colours(image: ImageData) -> ImageData:
    """Return red, green and blue where an image has them, else its first three bands, or one."""
    if image.count in (1, 3):
        return image
    names = list(image.band_descriptions)
    colours = [names.index(name) for name in ("red", "green", "blue") if name in names]
    if len(colours) != 3:
        colours = [0, 1, 2] if image.count > 3 else [0]
    ranges = image.dataset_statistics
    return ImageData(
        image.array[colours],
        assets=image.assets,
        crs=image.crs,
        bounds=image.bounds,
        band_names=[image.band_names[band] for band in colours],
        band_descriptions=[names[band] for band in colours],
        dataset_statistics=[ranges[band] for band in colours] if ranges else None,
    )


def _own_range(image: ImageData) -> list[tuple[float, float]]:
    known = image.array.compressed()
    known = known[np.isfinite(known)]
    return [(float(known.min()), float(max(known.max(), known.min() + 1e-6)))] if known.size else [
        (0.0, 1.0)
    ]  # fmt: skip


def _kept_in(cache: Kept[Response]) -> type[APIRoute]:
    """Return a kind of route whose answers are kept, tagged, and honest about faults.

    A few at once are rendered, as many as there are cores for: more would take no less time, but
    the memory and the threads of everything else.
    """
    turns = asyncio.Semaphore(AT_ONCE)

    class KeptRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handler = super().get_route_handler()

            async def answer(request: Request) -> Response:
                limits.check(request)
                name = f"{request.url} {request.headers.get('accept', '')}"
                response = cache.get(name)
                if response is None:
                    async with turns:
                        response = await _explained(handler, request)
                    if response.status_code == 200:
                        tag = hashlib.blake2b(response.body, digest_size=12).hexdigest()
                        response.headers["ETag"] = f'"{tag}"'
                        response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_S}"
                        cache.put(name, response, len(response.body))
                return unless_known(request, response)

            return answer

    return KeptRoute


async def _explained(handler: Handler, request: Request) -> Response:
    try:
        return await handler(request)
    except (TileOutsideBounds, PointOutsideBounds) as error:
        raise HTTPException(404, str(error)) from None
    except (RioTilerError, MorecantileError) as error:
        raise HTTPException(400, str(error)) from None
    except IndexError:
        raise HTTPException(400, "the raster has no such band") from None
    except RasterioError as error:
        raise HTTPException(500, "the raster cannot be read") from error
