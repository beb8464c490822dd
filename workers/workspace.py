"""The door between a process and the world: files, steps, progress.

One class serves the command line and the Celery worker; they differ in the `Reader` (what may be
read) and in what hears of progress. Products are written below one folder and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel

from processes.core.errors import AssetUnreadable, EmptyItem, InvalidInput
from processes.core.process import (
    COG,
    COPC,
    GEOPACKAGE,
    GEOPARQUET,
    JSON,
    TILESET,
    Asset,
    BlockSize,
    Device,
    EachBlock,
    ImageRef,
    Inputs,
    Layer,
    Outputs,
    PointLayer,
    Process,
    StacObject,
)
from processes.core.raster import Grid, Image, Points, Raster, RasterSource, together
from workers.acquisitions import MOST_IMAGES, acquisitions, is_stac
from workers.aside import Aside
from workers.blocks import Block, Values, Window, on_cluster, on_threads, shape_of, windows
from workers.cog import BlockFile
from workers.crew import on_cores
from workers.program import program
from workers.rasters import RasterFile
from workers.reader import Reader
from workers.results import finished, keep, restored

if TYPE_CHECKING:
    import geopandas

    from workers.points import PointFile

MAX_TEXT_BYTES = 64 * 2**20

In = TypeVar("In", bound=Inputs)
Out = TypeVar("Out", bound=Outputs)
Value = TypeVar("Value")
Piece = TypeVar("Piece")
Made = TypeVar("Made")
Progress = Callable[[float, str], None]


class LocalWorkspace:
    """A `Workspace` over one folder of this machine."""

    def __init__(
        self,
        folder: Path,
        reader: Reader,
        *,
        base: str | None = None,
        on_progress: Progress = lambda fraction, message: None,
        steps: Path | None = None,
        root: Path | None = None,
        device: Device = "auto",
        dask: str | None = None,
    ) -> None:
        """*base* is what relative references resolve against; *steps* keeps results of steps.

        *root* is the folder of the whole job, whose products every step may read.
        """
        self.folder, self._root, self.device = folder, root or folder, device
        self._reader, self._base, self._steps, self._dask = reader, base, steps, dask
        self._on_progress = on_progress
        self._fraction, self._message = 0.0, ""
        folder.mkdir(parents=True, exist_ok=True)

    # -- progress and steps

    def progress(self, fraction: float, message: str) -> None:
        self._fraction, self._message = fraction, message
        self._on_progress(fraction, message)

    def step(self, process: Process[In, Out], inputs: In, *, until: float | None = None) -> Out:
        start = self._fraction
        span = (until if until is not None else start) - start
        folder = self.folder / process.id
        inner = LocalWorkspace(
            folder,
            self._reader,
            base=self._base,
            steps=self._steps,
            root=self._root,
            device=self.device,
            dask=self._dask,
            on_progress=lambda part, message: self._on_progress(start + span * part, message),
        )
        key = self.key(process, inputs)
        outputs = restored(self._steps, key, process, folder)
        if outputs is None:
            outputs = process.run(inputs, inner)
            finished(outputs, folder)
            keep(self._steps, key, outputs, folder)
        self._fraction = start + span
        return outputs  # type: ignore[no-any-return]  # restored or run: both are Out

    def key(self, process: Process[Any, Any], inputs: Inputs) -> str:
        """Return the product key: a hash of process, its code, and inputs, files by content."""
        content = {name: self._content(value) for name, value in inputs}
        text = json.dumps([process.id, process.version, program(), content], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _content(self, value: Any) -> Any:
        """Return what a value holds: files by digest, so that their names do not matter."""
        if isinstance(value, list | tuple):
            return [self._content(item) for item in value]
        if isinstance(value, StacObject):
            return self._images_content(value)
        if isinstance(value, Asset):
            path, _ = self._local(value.href)
            return self._images_content(value) if is_stac(path) else _digest(path)
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        return value

    def _images_content(self, ref: ImageRef) -> list[Any]:
        """An Item's links and times of access do not matter, its images and facts do."""
        return [
            [found.id, dict(found.properties), [_digest(path) for path in found.files]]
            for found in acquisitions(ref, self._reader, self._base)
        ]

    # -- reading

    def _local(self, href: str) -> tuple[Path, str]:
        path = Path(href)
        if path.is_absolute() and path.is_relative_to(self._root) and path.is_file():
            return path, href  # a product of this very job
        return self._reader.local(href, self._base)

    def open_raster(self, asset: Asset) -> RasterSource:
        path, _ = self._local(asset.href)
        return RasterFile(path, _shown(asset.href))

    def images(self, refs: Sequence[ImageRef]) -> list[Image]:
        found = [item for ref in refs for item in acquisitions(ref, self._reader, self._base)]
        if not found:
            raise EmptyItem("the item collection holds no items: give at least two images")
        if len(found) > MOST_IMAGES:
            raise AssetUnreadable(f"{len(found)} images: give {MOST_IMAGES} at most")
        return [item.opened() for item in found]

    def read_vector(self, asset: Asset) -> geopandas.GeoDataFrame:
        from workers.vectors import read_vector  # geopandas takes 0.3 s, and rasters need none

        path, _ = self._local(asset.href)
        return read_vector(path, _shown(asset.href))

    def read_text(self, asset: Asset) -> str:
        path, _ = self._local(asset.href)
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise AssetUnreadable(f"{_shown(asset.href)} is larger than 64 MiB")
        try:
            return path.read_text("utf-8")
        except UnicodeDecodeError:
            raise AssetUnreadable(f"{_shown(asset.href)} is not UTF-8 text") from None

    def read_bytes(self, asset: Asset, most: int) -> bytes:
        path, _ = self._local(asset.href)
        if path.stat().st_size > most:
            raise AssetUnreadable(f"{_shown(asset.href)} is larger than {most >> 20} MiB")
        return path.read_bytes()

    # -- block-wise computation

    def map_blocks(
        self,
        layer: Layer | str,
        kernel: Callable[..., Raster],
        *sources: Asset | RasterSource,
        grid: Grid | None = None,
        margin_m: float = 0.0,
        block_px: BlockSize = 1024,
        cell_bytes: float = 0.0,
    ) -> Asset:
        layer = Layer(layer) if isinstance(layer, str) else layer
        return self.map_layers(
            [layer],
            lambda *blocks: (kernel(*blocks),),
            *sources,
            grid=grid,
            margin_m=margin_m,
            block_px=block_px,
            cell_bytes=cell_bytes,
        )[0]

    def map_layers(
        self,
        layers: Sequence[Layer | PointLayer],
        kernel: Callable[..., Sequence[Raster | Points]],
        *sources: Asset | RasterSource,
        grid: Grid | None = None,
        margin_m: float = 0.0,
        block_px: BlockSize = 1024,
        cell_bytes: float = 0.0,
        each: EachBlock | None = None,
    ) -> tuple[Asset, ...]:
        opened = [self.open_raster(s) if isinstance(s, Asset) else s for s in sources]
        lattice = grid or (opened[0].grid if opened else None)
        if lattice is None:
            raise InvalidInput(f"{layers[0].name}: its source has no georeference")
        margin = int(np.ceil(margin_m / lattice.cell_m))
        block = Block(kernel, opened, [together(s, lattice) for s in opened], lattice, margin)
        wanted = windows(lattice, block_px)
        files: list[BlockFile | PointFile] = []
        try:
            cells = prod(
                min(side, whole) + 2 * margin
                for side, whole in zip(shape_of(block_px), lattice.shape, strict=True)
            )
            with closing(self._computed(block, wanted, cell_bytes * cells)) as found:
                for done, (window, values) in enumerate(found, start=1):
                    if not files:
                        files = [
                            self._file(layer, lattice, v.shape[0] if v.ndim == 3 else 1)
                            for layer, v in zip(layers, values, strict=True)
                        ]
                    for file, value in zip(files, values, strict=True):
                        file.write(value, window[0], window[1])
                    if each is not None:
                        each(done, len(wanted), values)
                    self._alive()
            for file in files:
                file.finish()
        except BaseException:
            for file in files:
                file.abandon()
            raise
        return tuple(
            Asset(href=str(self._path(layer)), type=COG if isinstance(layer, Layer) else None)
            for layer in layers
        )

    def _file(self, layer: Layer | PointLayer, lattice: Grid, bands: int) -> BlockFile | PointFile:
        if isinstance(layer, Layer):
            return BlockFile(self._path(layer), layer, lattice, bands)
        from workers.points import PointFile

        return PointFile(self._path(layer), lattice)

    def _path(self, layer: Layer | PointLayer) -> Path:
        return self.folder / f"{layer.name}.{'tif' if isinstance(layer, Layer) else 'points'}"

    def _computed(
        self, block: Block, wanted: Sequence[Window], block_bytes: float
    ) -> Generator[tuple[Window, Values]]:
        if self._dask is None or len(wanted) == 1:
            return on_threads(block, wanted, self._alive, block_bytes=block_bytes)
        return on_cluster(
            block, wanted, self._alive, scheduler=self._dask, folder=self.folder.resolve()
        )

    def _alive(self) -> None:
        """Say that it goes on. Raises Cancelled when the job was dismissed."""
        self._on_progress(self._fraction, self._message)

    def on_cores(self, work: Callable[[Piece], Made], pieces: Iterable[Piece]) -> list[Made]:
        return on_cores(work, pieces)

    # -- writing

    def write_raster(self, layer: Layer | str, raster: Raster) -> Asset:
        layer = Layer(layer) if isinstance(layer, str) else layer
        path = self.folder / f"{layer.name}.tif"
        bands = raster.values.shape[0] if raster.values.ndim == 3 else 1
        file = BlockFile(path, layer, raster.grid, bands)
        try:
            file.write(raster.values, 0, 0)
            file.finish()
        except BaseException:
            file.abandon()
            raise
        return Asset(href=str(path), type=COG)

    def write_vector(self, name: str, frame: geopandas.GeoDataFrame) -> Asset:
        from workers.vectors import write_geoparquet

        path = self.folder / f"{name}.parquet"
        write_geoparquet(frame, path)
        return Asset(href=str(path), type=GEOPARQUET)

    def write_geopackage(self, name: str, layer: str, frame: geopandas.GeoDataFrame) -> Asset:
        from workers.vectors import write_geopackage

        path = self.folder / f"{name}.gpkg"
        write_geopackage(frame, path, layer)
        return Asset(href=str(path), type=GEOPACKAGE)

    def write_json(self, name: str, value: Any, media_type: str = JSON) -> Asset:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        return self.write_text(name, text, media_type)

    def write_text(self, name: str, text: str | Iterable[str], media_type: str) -> Asset:
        path = self.folder / name
        with path.open("w", encoding="utf-8") as file:
            file.writelines([text] if isinstance(text, str) else text)
        return Asset(href=str(path), type=media_type)

    def put_aside(self, values: Iterable[Value]) -> Sequence[Value]:
        return Aside(values, self.folder)

    def write_tileset(
        self,
        name: str,
        models: Sequence[Any],
        crs: str,
        *,
        form: Literal["glb", "b3dm"] = "glb",
        ortho: Asset | None = None,
    ) -> Asset:
        from tiles.picture import map_picture
        from tiles.tileset import write

        picture = map_picture(self.open_raster(ortho)) if ortho else None
        path = write(models, crs, self.folder / name, form=form, picture=picture)
        return Asset(href=str(path), type=TILESET)

    def write_terrain(
        self, name: str, dtm: Asset, ortho: Asset | None, *, tolerance_m: float
    ) -> Asset:
        from tiles.picture import map_picture
        from tiles.terrain import write_terrain

        path = write_terrain(
            self.open_raster(dtm),
            self.folder / name,
            picture=map_picture(self.open_raster(ortho)) if ortho else None,
            tolerance_m=tolerance_m,
            progress=lambda share: self.progress(share, "tiles of the terrain"),
        )
        return Asset(href=str(path), type=TILESET)

    def write_points(
        self, name: str, points: Asset, ortho: Asset, *, tileset: str
    ) -> tuple[Asset, Asset]:
        from workers.points import write_points

        raw, _ = self._local(points.href)
        path, start = self.folder / f"{name}.copc.laz", self._fraction

        def told(share: float) -> None:
            self.progress(start + (1.0 - start) * share, "points in their colours")

        tree = write_points(
            raw,
            path,
            self.folder / tileset,
            self.open_raster(ortho),
            progress=told,
        )
        return Asset(href=str(path), type=COPC), Asset(href=str(tree), type=TILESET)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shown(href: str) -> str:
    return href.rsplit("/", 1)[-1]
