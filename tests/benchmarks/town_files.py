"""A built town's scene on disk: images and their sensor models, a STAC document, and the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import from_origin
from scipy.ndimage import gaussian_filter, map_coordinates
from town_camera import Camera, fitted
from town_ground import CELL_M, WATER, Lattice
from town_plan import Plan

from processes.stereo.rpc import RpcModel, read_document

if TYPE_CHECKING:
    from towns import Sitting

Floats = NDArray[np.floating[Any]]
BITS = {"left": 1, "right": 2, "nadir": 4}
WATER_BIT, SHADOW_BIT, OUTSIDE_BIT = 8, 16, 32
DEEP_M = 400.0
"""Sensor models hold this far above and below the middle height."""
BANDS = {"red": 0.66, "green": 0.56, "blue": 0.49, "nir": 0.84}


def written(
    out: Path, sitting: Sitting, place: Lattice, plan: Plan, eaves: dict[int, float],
    cameras: dict[str, Camera], images: dict[str, NDArray[np.uint16]],
    unseen: dict[str, NDArray[np.bool_]], shadow: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Write everything of a scene."""
    truth = out / "truth"
    truth.mkdir(parents=True, exist_ok=True)
    to_lonlat = Transformer.from_crs(sitting.epsg, 4326, always_xy=True)
    features, worst = [], {}
    biases = ((0.0, 0.0), *sitting.bias, (0.0, 0.0), (0.0, 0.0))
    for (name, view), bias in zip(cameras.items(), biases, strict=False):
        model = rpc_of(view, sitting.origin, sitting.base_m, to_lonlat)
        worst[name] = misfit(view, model, sitting.origin, sitting.base_m, to_lonlat)
        (truth / f"{name}_true_RPC.TXT").write_text(rpc_text(model))
        off = {**model, "LINE_OFF": model["LINE_OFF"] + bias[0],
               "SAMP_OFF": model["SAMP_OFF"] + bias[1]}  # fmt: skip
        # before its model: GDAL removes that with an image it writes anew
        _image(out / f"{name}.tif", images[name])
        (out / f"{name}_RPC.TXT").write_text(rpc_text(off))
        item = _item(sitting, name, view, place, to_lonlat)
        (out / f"{name}.json").write_text(json.dumps(item, indent=1))
        features.append(item)
    collection = {"type": "FeatureCollection", "features": features}
    (out / "stereo.json").write_text(json.dumps(collection, indent=1))
    _dem(out / "dem.tif", sitting, place, to_lonlat)
    coverage = shapely.intersection_all([_seen(view, place) for view in cameras.values()])
    coverage = coverage.buffer(-1.0)
    _rasters(truth, sitting, place, cameras, unseen, shadow)
    _vectors(truth, sitting, place, plan, eaves, coverage)
    meta = {
        "kind": sitting.name, "seed": sitting.seed, "gsd": sitting.gsd_m, "epsg": sitting.epsg,
        "size": sitting.size_px, "sun": sitting.sun, "rpc_misfit_px": worst,
        "rpc_bias_row_col": dict(zip(cameras, biases, strict=False)),
        "b_over_h": _base(cameras), "buildings": len(plan.buildings),
        "area_km2": coverage.area / 1e6, "height_reference": "WGS84 ellipsoid",
        "mask_bits": {"occluded_left": 1, "occluded_right": 2, "occluded_nadir": 4, "water": 8,
                      "shadow": 16, "outside": 32},
    }  # fmt: skip
    (truth / "meta.json").write_text(json.dumps(meta, indent=1))


def rpc_of(
    view: Camera, origin: tuple[float, float], base_m: float, to_lonlat: Transformer
) -> dict[str, Any]:
    """Return the RPC00B model of a camera by GDAL's names."""
    row, col, ground = _control(view, origin, base_m, to_lonlat, 15)
    return fitted(row, col, ground)


def misfit(
    view: Camera, model: dict[str, Any], origin: tuple[float, float], base_m: float,
    to_lonlat: Transformer,
) -> float:  # fmt: skip
    """Return by how many pixels a model errs at worst, asked between the points of its fit."""
    row, col, ground = _control(view, origin, base_m, to_lonlat, 12)
    ours: RpcModel = read_document("check_RPC.TXT", rpc_text(model))
    found = ours.project(*ground.T)
    return float(np.hypot(found[0] - row, found[1] - col).max())


def _control(
    view: Camera, origin: tuple[float, float], base_m: float, to_lonlat: Transformer, count: int
) -> tuple[Floats, Floats, Floats]:
    """Return rows, columns and (lon, lat, height) of points all over a camera's volume."""
    line = np.linspace(-0.07, 1.07, count) * (view.rows - 1)
    sample = np.linspace(-0.07, 1.07, count) * (view.cols - 1)
    height = base_m + np.linspace(-DEEP_M, DEEP_M, count // 2)
    row, col, z = (v.ravel() for v in np.meshgrid(line, sample, height, indexing="ij"))
    x, y = view.locate(row, col, z)
    lon, lat = to_lonlat.transform(x + origin[0], y + origin[1])
    lon = lon + 360.0 * np.rint((lon[0] - lon) / 360.0)  # on beyond the 180th meridian
    return row, col, np.stack([lon, lat, z], -1)


def rpc_text(model: dict[str, Any]) -> str:
    """Return an `_RPC.TXT`."""
    lines = []
    for key in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT"):
        lines.append(f"{key}_OFF: {model[f'{key}_OFF']:.15g}")
        lines.append(f"{key}_SCALE: {model[f'{key}_SCALE']:.15g}")
    for key in ("LINE_NUM_COEFF", "LINE_DEN_COEFF", "SAMP_NUM_COEFF", "SAMP_DEN_COEFF"):
        lines += [f"{key}_{n}: {value:.17E}" for n, value in enumerate(model[key], start=1)]
    return "\n".join(lines) + "\n"


def _image(path: Path, counts: NDArray[np.uint16]) -> None:
    import warnings

    with warnings.catch_warnings():
        # an image in sensor geometry has no map
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=4, height=counts.shape[1], width=counts.shape[2],
            dtype="uint16", compress="deflate", tiled=True, nbits=12,
        ) as file:  # fmt: skip
            file.write(counts)
            file.descriptions = tuple(BANDS)


def _item(
    sitting: Sitting, name: str, view: Camera, place: Lattice, to_lonlat: Transformer
) -> dict[str, Any]:
    height = float(np.median(place.ground))
    row = np.array([0, 0, view.rows - 1, view.rows - 1, 0]) + 0.0
    col = np.array([0, view.cols - 1, view.cols - 1, 0, 0]) + 0.0
    x, y = view.locate(row, col, height)
    lon, lat = to_lonlat.transform(x + sitting.origin[0], y + sitting.origin[1])
    up = view.towards()
    when = {"left": 0, "nadir": 16, "right": 32}[name]
    bands = [
        {"name": band, "data_type": "uint16", "eo:common_name": band,
         "eo:center_wavelength": wave, "raster:bits_per_sample": 12,
         "raster:spatial_resolution": sitting.gsd_m, "nodata": 0}
        for band, wave in BANDS.items()
    ]  # fmt: skip
    version = {"view": "v1.0.0", "projection": "v2.0.0", "raster": "v2.0.0", "eo": "v2.0.0"}
    azimuth = float(np.degrees(np.arctan2(up[0], up[1]))) % 360
    incidence = float(np.degrees(np.arctan(np.hypot(up[0], up[1]))))
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [
            f"https://stac-extensions.github.io/{k}/{v}/schema.json" for k, v in version.items()
        ],
        "id": f"{sitting.name}-{sitting.seed}-{name}",
        "bbox": [float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())],
        "geometry": {"type": "Polygon", "coordinates": [np.stack([lon, lat], 1).tolist()]},
        "properties": {
            "datetime": f"2024-06-14T10:42:{when:02d}Z",
            "platform": "madeup-1",
            "constellation": "madeup",
            "gsd": sitting.gsd_m,
            "view:off_nadir": round(incidence * 0.9, 4),
            "view:incidence_angle": round(incidence, 4),
            "view:azimuth": round(azimuth, 4),
            "view:sun_azimuth": sitting.sun[0],
            "view:sun_elevation": sitting.sun[1],
            "proj:code": None,
            "proj:shape": [view.rows, view.cols],
        },
        "links": [],
        "assets": {
            "image": {
                "href": f"./{name}.tif",
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                "gsd": sitting.gsd_m,
                "bands": bands,
                "data_type": "uint16",
                "proj:shape": [view.rows, view.cols],
            },
            "rpc": {"href": f"./{name}_RPC.TXT", "type": "text/plain", "roles": ["metadata"]},
        },
    }


def _base(cameras: dict[str, Camera]) -> float:
    left, right = (cameras[name].towards() for name in ("left", "right"))
    return float(np.hypot(*(left - right)[:2]))


def _dem(path: Path, sitting: Sitting, place: Lattice, to_lonlat: Transformer) -> None:
    """Write the ground at one second of arc, smoothed, with errors of 1.5 m."""
    rng = np.random.default_rng(sitting.seed + 1)
    x0, y0 = sitting.origin
    reach = 400.0
    corners = [(x0 - reach, y0 - reach), (x0 + place.size_m + reach, y0 + place.size_m + reach)]
    (west, south), (east, north) = (to_lonlat.transform(*corner) for corner in corners)
    step = 1 / 3600
    west, north = np.floor(west / step) * step, np.ceil(north / step) * step
    cols, rows = int(np.ceil((east - west) / step)), int(np.ceil((north - south) / step))
    lon = west + (np.arange(cols) + 0.5) * step
    lat = north - (np.arange(rows) + 0.5) * step
    lon, lat = np.meshgrid(lon, lat)
    back = Transformer.from_crs(4326, sitting.epsg, always_xy=True)
    x, y = back.transform(lon, lat)
    every = 30
    low = gaussian_filter(place.ground[::every, ::every], 3.0)
    at = [(place.size_m - (y - y0)) / (every * CELL_M), (x - x0) / (every * CELL_M)]
    heights = map_coordinates(low, at, order=1, mode="nearest")
    heights += gaussian_filter(rng.normal(0, 1, heights.shape), 1.0) * 4.0 + 0.6
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=rows, width=cols, dtype="float32",
        crs="EPSG:4326", transform=from_origin(west, north, step, step), nodata=-32768.0,
    ) as file:  # fmt: skip
        file.write(heights.astype(np.float32), 1)


def _rasters(
    truth: Path, sitting: Sitting, place: Lattice, cameras: dict[str, Camera],
    unseen: dict[str, NDArray[np.bool_]], shadow: NDArray[np.bool_],
) -> None:  # fmt: skip
    rows, cols = (size // 3 for size in place.shape)
    middle = np.s_[1 : 3 * rows : 3, 1 : 3 * cols : 3]
    surface, ground = place.surface[middle], place.ground[middle]
    classes = place.classes[middle]
    row, col = np.mgrid[:rows, :cols]
    x, y = (col + 0.5) * 3 * CELL_M, place.size_m - (row + 0.5) * 3 * CELL_M
    mask = np.where(classes == WATER, WATER_BIT, 0) | np.where(shadow, SHADOW_BIT, 0)
    for name, view in cameras.items():
        mask = mask | np.where(unseen[name], BITS[name], 0)
        line, sample = view.project(x, y, surface)
        out = (line < 0) | (sample < 0) | (line > view.rows - 1) | (sample > view.cols - 1)
        mask = np.where(out, mask | OUTSIDE_BIT, mask)
    building = np.where(classes == 2, place.building[middle], 0)
    roof = np.where(place.building[middle] > 0, place.roof[middle], -9999.0)
    bands: dict[str, tuple[Any, str, float | None]] = {
        "dsm": (surface, "float32", -9999.0),
        "dtm": (ground, "float32", -9999.0),
        "dhm": (surface - ground, "float32", -9999.0),
        "roof": (roof, "float32", -9999.0),
        "classes": (classes, "uint8", 0),
        "building_id": (np.where(building > 0, building, place.building[middle]), "int32", 0),
        "mask": (mask, "uint8", None),
    }
    step = 3 * CELL_M
    where = from_origin(sitting.origin[0], sitting.origin[1] + place.size_m, step, step)
    for name, (values, kind, nodata) in bands.items():
        with rasterio.open(
            truth / f"{name}.tif", "w", driver="GTiff", count=1, height=rows, width=cols,
            dtype=kind, crs=f"EPSG:{sitting.epsg}", transform=where, nodata=nodata,
            compress="deflate",
        ) as file:  # fmt: skip
            file.write(values.astype(kind), 1)


def _vectors(
    truth: Path, sitting: Sitting, place: Lattice, plan: Plan, eaves: dict[int, float],
    coverage: shapely.Geometry,
) -> None:  # fmt: skip
    x0, y0 = sitting.origin
    crs = f"EPSG:{sitting.epsg}"
    outlines: list[dict[str, Any]] = []
    planes: list[dict[str, Any]] = []
    for number, building in enumerate(plan.buildings, start=1):
        if number not in eaves or not building.outline.intersects(coverage):
            continue
        eave = eaves[number]
        base = eave - building.eave_m
        faces = building.faces()
        tops = [a * x + b * y + c for part, (a, b, c) in faces
                for x, y in shapely.get_coordinates(part)]  # fmt: skip
        steep = [float(np.degrees(np.arctan(np.hypot(a, b)))) for _, (a, b, _) in faces]
        ridge = max(tops, default=0.0)
        shape = shapely.affinity.translate(building.outline, x0, y0)
        outlines.append({
            "id": number, "roof_type": building.kind, "eave_z": eave, "ridge_z": eave + ridge,
            "ground_h": base, "eave_h": building.eave_m, "ridge_h": building.eave_m + ridge,
            "n_planes": len(faces), "pitch_deg": max(steep, default=0.0),
            "orientation": building.turn % np.pi, "attached": building.attached,
            "n_vertices": len(shapely.get_coordinates(shape)) - 1 - len(shape.interiors),
            "area": shape.area, "inside": bool(building.outline.within(coverage)),
            "material": building.material, "geometry": shape,
        })  # fmt: skip
        for plane, ((part, (a, b, c)), slope) in enumerate(zip(faces, steep, strict=True)):
            spot = part.representative_point()
            planes.append({
                "building_id": number, "plane_id": plane, "kind": building.kind,
                "slope_deg": slope,
                "azimuth_deg": float(np.degrees(np.arctan2(-a, -b))) % 360 if slope else -1.0,
                "dz_de": a, "dz_dn": b, "ref_e": spot.x + x0, "ref_n": spot.y + y0,
                "ref_z": eave + a * spot.x + b * spot.y + c, "area": part.area,
                "geometry": shapely.affinity.translate(part, x0, y0),
            })  # fmt: skip
    for name, rows in (("footprints", outlines), ("roof_planes", planes)):
        path = truth / f"{name}.gpkg"
        path.unlink(missing_ok=True)
        # a land without a building has files with no row
        columns = rows[0] if rows else ["id", "geometry"]
        frame = geopandas.GeoDataFrame(rows, columns=list(columns), geometry="geometry", crs=crs)
        frame.to_file(path, driver="GPKG")
    moved = shapely.affinity.translate(coverage, x0, y0)
    path = truth / "coverage.geojson"
    path.unlink(missing_ok=True)
    frame = geopandas.GeoDataFrame({"name": ["coverage"]}, geometry=[moved], crs=crs)
    frame.to_file(path, driver="GeoJSON", engine="pyogrio")


def _seen(view: Camera, place: Lattice) -> shapely.Polygon:
    """Return the outline of the ground that an image shows."""
    line = np.linspace(0, view.rows - 1, 60)
    sample = np.linspace(0, view.cols - 1, 60)
    last = view.rows - 1.0, view.cols - 1.0
    row = np.r_[np.zeros(60), line, np.full(60, last[0]), line[::-1]]
    col = np.r_[sample, np.full(60, last[1]), sample[::-1], np.zeros(60)]
    height = np.full(row.shape, float(np.median(place.ground)))
    for _ in range(6):
        x, y = view.locate(row, col, height)
        r = np.clip(((place.size_m - y) / CELL_M).astype(int), 0, place.shape[0] - 1)
        c = np.clip((x / CELL_M).astype(int), 0, place.shape[1] - 1)
        height = place.ground[r, c].astype(float)
    return shapely.Polygon(np.stack([x, y], 1)).buffer(0)
