"""Buildings in 3D: outlines raised to the heights of a surface model.

Every building gets its ground and roof heights, a solid that is valid by ISO 19107, and a place
in a CityJSON file and a 3D Tiles tileset. One that cannot be modelled keeps its row in the
footprints, with the reason, and is counted in the report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from processes.core.building import Attribute, BuildingModel, Solid
from processes.core.errors import AssetUnreadable, InvalidInput, OutsideArea, UnknownCrs
from processes.core.origin import Origin
from processes.core.process import CITYJSON, Asset, Inputs, Outputs, Process, Workspace
from processes.core.raster import Grid, Raster, RasterSource, offset

if TYPE_CHECKING:
    import geopandas

    from processes.core.crew import Crew
    from processes.roofs.blur import Blur
    from processes.roofs.reconstruct import Reconstruction

WIDEST_M = 2000.0
"""Wider outlines are no buildings, and reading under them would not be bounded."""
BLOCK_M = 500.0
"""Buildings are modelled in squares of this size: one read of each raster a square."""
MOST_AT_ONCE = 1000
"""Buildings whose models are held before they are put aside."""
SAMPLE = 200
"""Buildings that are asked how far the surface rounds creases off, at most."""
AT_ONCE = 10
"""Of them, before it is seen whether they have settled it."""
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, but for their whole part, are spread evenly however many there are."""
LOD_NAMES = {1: "1.2", 2: "2.0"}
Bounds = tuple[float, float, float, float]
HEIGHTS = ("ground_m", "min_m", "mean_m", "median_m", "max_m", "roof_m", "height_m", "base_m")


class BuildingsInputs(Inputs):
    """What buildings are modelled from."""

    footprints: Asset = Field(description="Building outlines: polygons, holes are courtyards.")
    dsm: Asset = Field(description="Surface heights, one band, ellipsoidal metres.")
    dtm: Asset = Field(description="Ground heights, one band, ellipsoidal metres.")
    ortho_mask: Asset | None = Field(
        default=None,
        description="Where heights come from, as process dsm says, on the grid of dsm: of roofs, "
        "what was filled says nothing.",
    )
    lod: Literal[1, 2] = Field(
        default=2,
        description="Level of detail: 1 for blocks with a flat roof, 2 for shed, gable, hip and "
        "pyramid roofs, one a wing, where they fit and blocks elsewhere.",
    )
    ortho: Asset | None = Field(
        default=None,
        description="True ortho: the 3D Tiles show roofs as it does. Without it a roof has a "
        "colour by its shape.",
    )
    earlier: Asset | None = Field(
        default=None,
        description="Footprints of an earlier product of this place: a building that is found "
        "again keeps the id it has there.",
    )
    format: Literal["glb", "b3dm"] = Field(
        default="glb",
        description="Tiles of 3D Tiles 1.1, or of 1.0 for clients that are older.",
    )


class BuildingsOutputs(Outputs):
    """Buildings as solids, as tiles, and as outlines with heights."""

    cityjson: Asset = Field(description="CityJSON 2.0, solids with semantic surfaces.")
    tileset: Asset = Field(description="3D Tiles: tileset.json with its tiles beside it.")
    footprints: Asset = Field(
        description="GeoParquet: the outlines with ground, min, mean, median, max and roof heights "
        "(ellipsoidal metres), the level of detail reached, and the reason where it is not the "
        "one asked for."
    )
    geopackage: Asset = Field(description="The same as a GeoPackage, layer `buildings`.")
    report: Asset = Field(
        description="How many outlines there were, how many became buildings at which level of "
        "detail, and how many did not, by reason. JSON."
    )


@dataclass(frozen=True)
class Surface:
    """Heights, and where they come from if that is known.

    Without those that were filled, MAE over the union of `suburb` is .020, of `hilly` .015 m less,
    of `village` .005 more, of `dense`, `quarter` and `tri` .001 less; types .00 to .02 better.
    """

    dsm: RasterSource
    origins: RasterSource | None

    def read(self, bounds: Bounds) -> Raster:
        """Return the heights around *bounds* that were measured."""
        heights = _read(self.dsm, bounds, "dsm")
        if self.origins is None:
            return heights
        grid = heights.grid
        codes = self.origins.read(*offset(self.origins, grid), *grid.shape, bands=(0,))[0]
        return Raster(np.where(codes > Origin.SEEN, np.float32(np.nan), heights.values), grid)


def run(inputs: BuildingsInputs, work: Workspace) -> BuildingsOutputs:
    """Model every building, write the products."""
    import pandas as pd

    from processes.roofs.blur import SHARP
    from processes.roofs.cityjson import cityjson

    origins = work.open_raster(inputs.ortho_mask) if inputs.ortho_mask else None
    surface, dtm = Surface(work.open_raster(inputs.dsm), origins), work.open_raster(inputs.dtm)
    crs = _grid(surface.dsm, "dsm").crs
    given = work.read_vector(inputs.footprints)
    outlines = _on(given, crs)
    if inputs.earlier:
        outlines["id"] = _known_again(outlines, work.read_vector(inputs.earlier))
    misplaced = _misplaced(outlines)
    _require_ground(outlines.drop(index=list(misplaced)), dsm=surface.dsm, dtm=dtm)
    blur = _blur(outlines, misplaced, surface, work.on_cores) if inputs.lod == 2 else SHARP
    parts = [_table(outlines, misplaced, inputs.lod)]

    def models() -> Iterator[BuildingModel]:
        done = len(misplaced)
        for batch in _batches(outlines, misplaced):
            work.progress(0.9 * done / len(outlines), f"{done} of {len(outlines)} buildings")
            found = _modelled(outlines, batch, surface, dtm, inputs.lod, blur, work.on_cores)
            parts.append(_table(outlines, found, inputs.lod))
            yield from _models(parts[-1], found)
            done += len(batch)

    modelled = work.put_aside(models())
    table = pd.concat(parts).sort_index()
    work.progress(0.9, f"writing {len(modelled)} buildings of {len(table)} outlines")
    return BuildingsOutputs(
        cityjson=work.write_text("buildings.city.json", cityjson(modelled, crs), CITYJSON),
        tileset=work.write_tileset(
            "tileset", modelled, crs, form=inputs.format, ortho=inputs.ortho
        ),
        footprints=work.write_vector("footprints", table),
        geopackage=work.write_geopackage("buildings", "buildings", table),
        report=work.write_json("buildings.json", _report(len(given), table)),
    )


BUILDINGS = Process(
    id="buildings",
    title="Buildings in 3D",
    description=__doc__,
    version="1.1.0",
    inputs=BuildingsInputs,
    outputs=BuildingsOutputs,
    run=run,
    keywords=("LOD1", "LOD2", "CityJSON", "GeoPackage", "3D Tiles"),
)


def _grid(source: RasterSource, name: str) -> Grid:
    if source.grid is None:
        raise AssetUnreadable(f"{name} has no georeferencing: give a raster on a projected grid")
    return source.grid


def _require_ground(outlines: geopandas.GeoDataFrame, **heights: RasterSource) -> None:
    """Refuse outlines none of which lies where there are heights. Raises OutsideArea."""
    for name, source in heights.items():
        grid = _grid(source, name)
        if len(outlines) and not any(map(grid.meets, outlines.bounds.to_numpy())):
            raise OutsideArea(f"no footprint lies on {name}: give files of one place")


def _on(outlines: geopandas.GeoDataFrame, crs: str) -> geopandas.GeoDataFrame:
    """Return polygons in *crs*, rows numbered from 0, with an `id` that is unique."""
    if outlines.crs is None:
        raise UnknownCrs("footprints name no reference system: write one into the file")
    areal = outlines.geom_type.isin(["Polygon", "MultiPolygon"]) & ~outlines.is_empty
    polygons = outlines[areal]
    frame = polygons.to_crs(crs).reset_index(drop=True)
    if "id" not in frame or frame["id"].isna().any() or not frame["id"].astype(str).is_unique:
        frame["id"] = _named(frame)
    return frame


def _named(frame: geopandas.GeoDataFrame) -> list[str]:
    """Return a name for each building, from its place."""
    from pyproj import Transformer

    from processes.core.identity import place_ids

    bounds = frame.bounds  # of whatever lies nowhere too, where a centroid is a fault
    x, y = (bounds.minx + bounds.maxx) / 2, (bounds.miny + bounds.maxy) / 2
    to_wgs84 = Transformer.from_crs(frame.crs, "EPSG:4326", always_xy=True)
    return place_ids(*to_wgs84.transform(x.to_list(), y.to_list()))


def _known_again(
    outlines: geopandas.GeoDataFrame, earlier: geopandas.GeoDataFrame
) -> NDArray[np.object_]:
    """Return the ids of *outlines*, those of *earlier* for buildings that it has too."""
    from processes.core.identity import kept_ids

    if "id" not in earlier:
        raise InvalidInput("earlier has no column id: give footprints that `buildings` has written")
    known = _on(earlier, str(outlines.crs))
    ids = kept_ids(
        outlines.geometry.to_numpy(),
        outlines["id"].astype(str).to_list(),
        known.geometry.to_numpy(),
        known["id"].astype(str).to_list(),
    )
    return np.array(ids, object)


def _report(given: int, table: geopandas.GeoDataFrame) -> dict[str, Any]:
    """Return how many features were given, and what became of them."""
    modelled = table["lod"].notna()
    blocks = table["reason"][modelled].value_counts()
    return {
        "features": given,
        "outlines": len(table),
        "buildings": int(modelled.sum()),
        "area_m2": round(float(table.geometry[modelled].area.sum()), 1),
        "lod": {f"{lod}": int(n) for lod, n in table["lod"].value_counts().sort_index().items()},
        "blocks_instead": {str(reason): int(n) for reason, n in blocks.items()},
        "left_out": {"no polygon": given - len(table)}
        | {str(r): int(n) for r, n in table["reason"][~modelled].value_counts().items()},
    }


def _misplaced(outlines: geopandas.GeoDataFrame) -> dict[int, Reconstruction]:
    """Return the rows that cannot be buildings where they are, with the reason."""
    import shapely

    from processes.roofs.reconstruct import Reconstruction

    corners, owner = shapely.get_coordinates(outlines.geometry.to_numpy(), return_index=True)
    nowhere = np.unique(owner[~np.isfinite(corners).all(axis=1)])
    bounds = np.delete(outlines.bounds.to_numpy(), nowhere, axis=0)
    size = (bounds[:, 2:] - bounds[:, :2]).max(axis=1)
    lost = Reconstruction(None, reason="the outline has no place in the system of the surface")
    wide = Reconstruction(None, reason=f"the outline is wider than {WIDEST_M / 1000:g} km")
    found = dict.fromkeys(nowhere.tolist(), lost)
    placed = np.setdiff1d(np.arange(len(outlines)), nowhere)
    return found | dict.fromkeys(placed[size > WIDEST_M].tolist(), wide)


def _batches(
    outlines: geopandas.GeoDataFrame, done: dict[int, Reconstruction]
) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers of outlines that lie together, square by square, but those *done*.

    However many lie in one square, as where a file holds them again and again, few are modelled
    at a time.
    """
    rows = np.setdiff1d(np.arange(len(outlines)), list(done))
    if not len(rows):
        return
    bounds = outlines.bounds.to_numpy()[rows]
    square = np.floor((bounds[:, :2] + bounds[:, 2:]) / 2 / BLOCK_M)
    _, number = np.unique(square, axis=0, return_inverse=True)
    order = np.argsort(number.reshape(-1), kind="stable")
    cuts = np.flatnonzero(np.diff(number.reshape(-1)[order])) + 1
    for together in np.split(rows[order], cuts):
        yield from np.split(together, range(MOST_AT_ONCE, len(together), MOST_AT_ONCE))


def _blur(
    outlines: geopandas.GeoDataFrame,
    done: dict[int, Reconstruction],
    surface: Surface,
    on_cores: Crew,
) -> Blur:
    """Return how far the surface rounds creases off, as buildings spread over the scene show it."""
    from processes.roofs.blur import blur_of, settled
    from processes.roofs.reconstruct import misfits

    rows = np.setdiff1d(np.arange(len(outlines)), list(done))
    spread = rows[np.unique(np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(int))]
    anywhere = spread[np.argsort(np.arange(len(spread)) * GOLDEN % 1)]
    found: list[list[float]] = []
    for some in np.split(anywhere, range(AT_ONCE, len(anywhere), AT_ONCE)):
        shapes = [(shape, surface.read(shape.bounds)) for shape in outlines.geometry.iloc[some]]
        costs = on_cores(lambda one: misfits(*one), shapes)
        found += [known for known in costs if known is not None]
        if settled(found):
            break
    return blur_of(found)


def _modelled(
    outlines: geopandas.GeoDataFrame,
    batch: NDArray[np.int64],
    surface: Surface,
    dtm: RasterSource,
    lod: int,
    blur: Blur,
    on_cores: Crew,
) -> dict[int, Reconstruction]:
    from processes.roofs.reconstruct import reconstruct

    shapes = outlines.geometry.iloc[batch]
    bounds = tuple(shapes.total_bounds.tolist())
    measured, ground = surface.read(bounds), _read(dtm, bounds, "dtm")
    models = on_cores(lambda shape: reconstruct(shape, measured, ground, lod, blur=blur), shapes)
    return dict(zip(batch.tolist(), models, strict=True))


def _read(source: RasterSource, bounds: Bounds, name: str) -> Raster:
    from processes.roofs.heights import window_over

    grid = _grid(source, name)
    row0, col0, height, width = window_over(bounds, grid)
    values = source.read(row0, col0, height, width, bands=(0,))[0]
    return Raster(values, grid.window(row0, col0, height, width))


def _table(
    outlines: geopandas.GeoDataFrame, found: dict[int, Reconstruction], lod: int
) -> geopandas.GeoDataFrame:
    """Return the rows of the outlines that were *found* to be something, with what it is."""
    rows, results = outlines.iloc[list(found)], list(found.values())
    table = _with_heights(rows, results)
    return _with_roofs(table, results) if lod == 2 else table


def _with_heights(
    outlines: geopandas.GeoDataFrame, results: list[Reconstruction]
) -> geopandas.GeoDataFrame:
    """Return the outlines with a column a height, rounded to millimetres, and what was reached."""
    import pandas as pd

    rows = [asdict(result.heights) if result.heights else {} for result in results]
    for row in rows:
        if row:
            row["height_m"] = row["roof_m"] - row["ground_m"]
    columns = {name: np.array([row.get(name, np.nan) for row in rows]).round(3) for name in HEIGHTS}
    return outlines.assign(
        **columns,
        lod=pd.array([result.lod for result in results], dtype="Int32"),
        reason=pd.array([result.reason for result in results], dtype="string"),
    )


def _with_roofs(
    table: geopandas.GeoDataFrame, results: list[Reconstruction]
) -> geopandas.GeoDataFrame:
    """Return the outlines with the kind, eaves, ridge and pitch of roofs that were modelled."""
    import pandas as pd

    tops = [_top(result.solids) if result.roof else (np.nan, np.nan) for result in results]
    roofs = [result.roof for result in results]
    return table.assign(
        roof_type=pd.array([roof.type if roof else None for roof in roofs], dtype="string"),
        eave_m=np.array([low for low, _ in tops]).round(3),
        ridge_m=np.array([high for _, high in tops]).round(3),
        pitch_deg=np.array([roof.pitch_deg if roof else np.nan for roof in roofs]).round(2),
        roof_rmse_m=np.array([roof.rmse_m if roof else np.nan for roof in roofs]).round(3),
    )


def _top(solids: tuple[Solid, ...]) -> tuple[float, float]:
    """Return the lowest and the highest corner of the roofs of *solids*."""
    heights = [
        solid.vertices[list(face.rings[0]), 2]
        for solid in solids
        for face in solid.faces
        if face.kind == "RoofSurface"
    ]
    return float(min(h.min() for h in heights)), float(max(h.max() for h in heights))


def _models(
    table: geopandas.GeoDataFrame, found: dict[int, Reconstruction]
) -> Iterator[BuildingModel]:
    attributes = table.drop(columns=table.geometry.name).to_dict("records")
    for row, result in zip(attributes, found.values(), strict=True):
        if result.lod is not None:
            known = {str(name): _plain(value) for name, value in row.items()}
            yield BuildingModel(str(row["id"]), result.solids, LOD_NAMES[result.lod], known)


def _plain(value: Any) -> Attribute:
    """Return a cell of a table as a plain value; absent as None, anything else as text."""
    import pandas as pd

    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)
