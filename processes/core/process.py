"""A process is a value: what it takes, what it gives, and the function between them.

`Process.describe()` is what OGC API – Processes shows; `Process.parse()` is the only gate for
inputs, used by the server before anything is queued and by the command line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Protocol, TypeVar

from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from processes.core.errors import InvalidInput
from processes.core.raster import Grid, Image, Points, Raster, RasterSource

if TYPE_CHECKING:
    import geopandas

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
COPC = "application/vnd.laszip+copc"
GEOJSON = "application/geo+json"
GEOPACKAGE = "application/geopackage+sqlite3"
GEOPARQUET = "application/vnd.apache.parquet"
CITYJSON = "application/city+json"
TILESET = "application/json"
JSON = "application/json"
HTML = "text/html"


class Inputs(BaseModel):
    """What a process takes. A field's description is what a user reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Outputs(BaseModel):
    """What a process gives: values, or assets that are already written."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Asset(BaseModel):
    """A file by reference: an OGC input or output by link, and a STAC asset."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    href: str = Field(min_length=1, description="Where the file is.")
    type: str | None = Field(default=None, description="Its media type.")


class StacObject(BaseModel):
    """A STAC Item or ItemCollection written out in the request itself."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    type: Literal["Feature", "FeatureCollection"]


ImageRef = Asset | StacObject


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


ImageRefs = Annotated[list[ImageRef], BeforeValidator(_as_list), Field(min_length=1)]
"""One reference or several: STAC Items, one ItemCollection, or GeoTIFFs with RPC."""

UNITS = {"m": "m", "m2": "m²", "px": "px", "s": "s"}
SPOKEN = {
    "aoi": "area of interest", "crs": "coordinate reference system", "dem": "elevation model",
    "dsm": "surface model (DSM)", "dtm": "terrain model (DTM)", "gcps": "ground control points",
    "lod": "level of detail", "min": "least", "ndsm": "heights above ground (nDSM)",
    "cityjson": "CityJSON", "geopackage": "GeoPackage", "tileset": "3D Tiles",
    "pointcloud": "point cloud",
}  # fmt: skip

In = TypeVar("In", bound=Inputs)
Out = TypeVar("Out", bound=Outputs)
Value = TypeVar("Value")
Piece = TypeVar("Piece")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Layer:
    """One raster product of a block-wise computation."""

    name: str
    dtype: str = "float32"
    band_names: Sequence[str] = ()
    tags: Mapping[str, str] | None = None
    nodata: float | None = None
    """Stored absence; by default NaN for floats and 0 for integers."""
    colours: Mapping[int, tuple[int, int, int]] | None = None
    """Red, green and blue in which a map shows each class, 0 to 255."""
    passing: bool = False
    """Whether only later steps of this very process read it: no product, and no COG made of it."""


@dataclass(frozen=True)
class PointLayer:
    """Points that a block-wise computation measures: put down as they come, for `write_points`."""

    name: str


EachBlock = Callable[[int, int, Sequence[NDArray[Any]]], None]
BlockSize = int | tuple[int, int]
"""Side of a square block, or the rows and columns of one, in cells."""

Device = Literal["auto", "cpu", "cuda"]
"""What computes: the processor, a GPU (a fault where there is none), or one where there is one."""


class Workspace(Protocol):
    """The one door through which a process sees files, other processes and its user."""

    @property
    def device(self) -> Device:
        """What its operator lets compute."""

    def progress(self, fraction: float, message: str) -> None:
        """Say how far this process is, 0…1. Raises Cancelled when the job was dismissed."""

    def step(self, process: Process[In, Out], inputs: In, *, until: float | None = None) -> Out:
        """Run another process inside this job, or find its earlier result.

        Its own 0…1 moves this process from where it stands to *until*.
        """

    def open_raster(self, asset: Asset) -> RasterSource:
        """Open a raster. Raises AssetMissing, AssetForbidden or AssetUnreadable."""

    def images(self, refs: Sequence[ImageRef]) -> list[Image]:
        """Open acquisitions: each Item, each member of an ItemCollection, each GeoTIFF."""

    def read_vector(self, asset: Asset) -> geopandas.GeoDataFrame:
        """Read a vector file whole (GeoParquet, GeoPackage, GeoJSON)."""

    def read_text(self, asset: Asset) -> str:
        """Read a text file of at most 64 MiB."""

    def read_bytes(self, asset: Asset, most: int) -> bytes:
        """Read a file of at most so many bytes."""

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
        """Compute one raster block by block and write it as a COG.

        The kernel gets one Raster a source, each *margin_m* wider than the block on every side
        (NaN beyond the edge), or just the block's Grid, widened as far as the lattice goes, when
        there is no source. What it returns is cut to the block. The lattice is *grid*, else that of
        the first source.

        Blocks are computed side by side, maybe on other machines: a kernel keeps and says nothing.
        It takes *cell_bytes* of memory for each cell of its widened block, if that is much.
        """

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
        """As `map_blocks`, for a kernel that returns several rasters or points, one a layer.

        *each* is told here, in order, how many blocks of how many are done, and what the last
        became, one array a layer.
        """

    def on_cores(self, work: Callable[[Piece], Made], pieces: Iterable[Piece]) -> list[Made]:
        """Return what *work* makes of each piece, in their order, computed on all cores.

        Pieces may be done in other processes: *work* computes and changes nothing, and what it
        returns can be pickled. It opens no file and starts no threads.
        """

    def write_raster(self, layer: Layer | str, raster: Raster) -> Asset:
        """Write a raster that is already whole (a thumbnail, a small product) as a COG."""

    def write_vector(self, name: str, frame: geopandas.GeoDataFrame) -> Asset:
        """Write NAME.parquet as GeoParquet."""

    def write_geopackage(self, name: str, layer: str, frame: geopandas.GeoDataFrame) -> Asset:
        """Write NAME.gpkg, a GeoPackage of one layer."""

    def write_json(self, name: str, value: Any, media_type: str = JSON) -> Asset:
        """Write a JSON document; *name* is the file name, ending included."""

    def write_text(self, name: str, text: str | Iterable[str], media_type: str) -> Asset:
        """Write a text file, whole or in parts as they come; *name* includes the ending."""

    def put_aside(self, values: Iterable[Value]) -> Sequence[Value]:
        """Put values on disk as they come; return them there, to be read one at a time."""

    def write_tileset(
        self,
        name: str,
        models: Sequence[Any],
        crs: str,
        *,
        form: Literal["glb", "b3dm"] = "glb",
        ortho: Asset | None = None,
    ) -> Asset:
        """Write building models as 3D Tiles into folder *name*; returns its tileset.json.

        Roofs look as *ortho* shows them, where it is given. Raises AssetUnreadable, UnknownCrs.
        """

    def write_terrain(
        self, name: str, dtm: Asset, ortho: Asset | None, *, tolerance_m: float
    ) -> Asset:
        """Write a terrain model as 3D Tiles into folder *name*; returns its tileset.json.

        Raises AssetUnreadable, UnknownCrs.
        """

    def write_points(
        self, name: str, points: Asset, ortho: Asset, *, tileset: str
    ) -> tuple[Asset, Asset]:
        """Write the points of a `PointLayer`, which are used up, in the colours of an ortho.

        Returns NAME.copc.laz and the tileset.json in folder *tileset*.
        """


@dataclass(frozen=True)
class Process(Generic[In, Out]):
    """One thing that can be asked for, over HTTP or by hand."""

    id: str
    title: str
    description: str
    version: str
    inputs: type[In]
    outputs: type[Out]
    run: Callable[[In, Workspace], Out]
    keywords: Sequence[str] = ()
    gpu: bool = False
    """Whether a GPU makes it faster: then a worker that has one takes it, where one is present."""

    def parse(self, values: Mapping[str, Any]) -> In:
        """Return validated inputs from an OGC execute request's `inputs` member.

        Qualified values (`{"value": …}`) are unwrapped. Raises InvalidInput naming the input.
        """
        try:
            return self.inputs.model_validate({k: _unqualified(v) for k, v in values.items()})
        except ValidationError as error:
            raise InvalidInput(_first_fault(self, error, values)) from None

    def parse_outputs(self, outputs: Any) -> Mapping[str, Any]:
        """Return an execute request's `outputs` member. Raises InvalidInput naming what is off."""
        if not isinstance(outputs, Mapping):
            raise InvalidInput('outputs must be an object of output ids: {"outputs": {"dsm": {}}}')
        known = self.outputs.model_fields
        for name in outputs:
            if name not in known:
                raise InvalidInput(f"{self.id} has no output {name}: use {', '.join(known)}")
        return outputs

    def describe(self) -> dict[str, Any]:
        """Return the OGC process description without links: each schema stands alone."""
        return {
            "id": self.id,
            "title": self.title,
            "description": self.description.strip(),
            "version": self.version,
            "keywords": list(self.keywords),
            "inputs": _described(self.inputs, occurs=True),
            "outputs": _described(self.outputs, occurs=False),
        }


def _unqualified(value: Any) -> Any:
    if isinstance(value, list):
        return [_unqualified(item) for item in value]
    if isinstance(value, Mapping) and "value" in value and "href" not in value:
        return value["value"]
    return value


def _first_fault(
    process: Process[Any, Any], error: ValidationError, values: Mapping[str, Any]
) -> str:
    faults = error.errors(include_url=False)
    # what is misspelt is missing too: its name says more
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    missing = fault["loc"][-1:] if fault["type"] == "missing" else ()
    place = ".".join(map(str, (*_path(fault["loc"], values), *missing)))[:200] or "inputs"
    known = ", ".join(process.inputs.model_fields)
    if fault["type"] == "extra_forbidden":
        return f"{process.id} has no input {place}: use {known}"
    if fault["type"] == "missing" and place in process.inputs.model_fields:
        wanted = process.inputs.model_fields[place].description
        return f"input {place} of {process.id} is missing: {wanted}"
    message = fault["msg"].removeprefix("Value error, ").replace("a valid dictionary", "an object")
    if fault["type"] == "model_type" and fault.get("ctx", {}).get("class_name") == Asset.__name__:
        message = 'give a file by reference: {"href": "https://…"}'
    elif isinstance(fault["input"], str | int | float):
        message += f", not {json.dumps(fault['input'], ensure_ascii=False)[:60]}"
    return f"input {place} of {process.id}: {message}"


def _path(loc: Sequence[str | int], values: Any) -> list[str | int]:
    """Return where in *values* a fault is: pydantic also names the kinds it tried there."""
    path: list[str | int] = []
    for part in loc:
        if isinstance(values, Mapping) and part in values:
            values = values[str(part)]
        elif isinstance(values, list) and isinstance(part, int):
            values = values[part]
        else:
            continue
        path.append(part)
    return path


def _described(model: type[BaseModel], *, occurs: bool) -> dict[str, Any]:
    schema = model.model_json_schema(
        by_alias=True, mode="validation" if occurs else "serialization"
    )
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", ()))
    described = {}
    for name, field in schema.get("properties", {}).items():
        own = _inlined(field, definitions)
        entry: dict[str, Any] = {
            "title": model.model_fields[name].title or title_of(name),
            "description": own.pop("description", ""),
        }
        own.pop("title", None)
        if occurs:
            entry["minOccurs"] = int(name in required)
            entry["maxOccurs"] = 1
        # OGC says "several" by maxOccurs, JSON Schema by an array: references go the OGC way
        if occurs and own.get("type") == "array" and _is_reference(own["items"]):
            entry["maxOccurs"] = "unbounded"
            own = own["items"]
        described[name] = entry | {"schema": own}
    return described


def title_of(name: str) -> str:
    """Return a field's name as people write it: `largest_object_m` is Largest object (m)."""
    *words, last = name.split("_")
    unit = f" ({UNITS[last]})" if words and last in UNITS else ""
    words = words if unit else [*words, last]
    text = " ".join(SPOKEN.get(word, word) for word in words)
    return text[:1].upper() + text[1:] + unit


def _is_reference(schema: Mapping[str, Any]) -> bool:
    return any("href" in option.get("properties", {}) for option in schema.get("anyOf", [schema]))


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[1]]
        return _inlined({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}
