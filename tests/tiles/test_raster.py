"""Pictures of products: the right pixels at the right place, and nothing that is not a product."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import morecantile
import numpy as np
import pytest
import rasterio
from fastapi import FastAPI
from pyproj import Transformer
from starlette.testclient import TestClient

from tiles import raster
from tiles.kept import Kept

MERCATOR = morecantile.tms.get("WebMercatorQuad")
TO_DEGREES = Transformer.from_crs("EPSG:32631", "OGC:CRS84", always_xy=True)
HOUSE, MEADOW, UNKNOWN = (430_060, 5_290_060), (430_100, 5_290_030), (430_008, 5_290_060)
ZOOM = 18
TILE_PX = 256


@pytest.fixture(scope="module")
def client(product_folder: Path) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(raster.router(product_folder.parent))
    with TestClient(app, base_url="http://maps.example", root_path="/prefix") as open_client:
        yield open_client


@pytest.fixture
def at(product_folder: Path) -> str:
    return f"/raster/{product_folder.name}"


def tile_of(x: float, y: float, zoom: int = ZOOM) -> tuple[str, int, int]:
    """Return the tile that holds a place, and the row and column of its pixel."""
    lon, lat = TO_DEGREES.transform(x, y)
    tile = MERCATOR.tile(lon, lat, zoom)
    left, bottom, right, top = MERCATOR.xy_bounds(tile)
    east, north = MERCATOR.xy(lon, lat)
    col = int((east - left) / (right - left) * TILE_PX)
    row = int((top - north) / (top - bottom) * TILE_PX)
    return f"{zoom}/{tile.x}/{tile.y}", row, col


def picture(content: bytes) -> np.ndarray[Any, Any]:
    """Return red, green, blue and alpha of a WebP or PNG."""
    found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    found = np.dstack([found] * 3) if found.ndim == 2 else found
    alpha = found[..., 3] if found.shape[2] == 4 else np.full(found.shape[:2], 255, np.uint8)
    return np.dstack([found[..., [2, 1, 0]], alpha])


def pixel(client: TestClient, at: str, place: tuple[float, float], rest: str = "") -> Any:
    """Return the pixel of a place in a tile whose address ends as *rest* says."""
    ending, _, query = rest.partition("?")
    tile, row, col = tile_of(*place)
    response = client.get(f"{at}/tiles/WebMercatorQuad/{tile}{ending}?{query}")
    assert response.status_code == 200, response.text
    return picture(response.content)[row, col]


def test_terrain_rgb_holds_the_heights_of_the_model(client: TestClient, at: str) -> None:
    for place, height in ((HOUSE, 112.4), (MEADOW, 104.0)):
        for ending in (".png", ".webp"):
            r, g, b, alpha = pixel(client, f"{at}/dsm", place, f"{ending}?algorithm=terrainrgb")
            # 2 cm a cell, the middle of a tile's pixel is within a cell
            assert -10000 + 0.1 * (65536 * int(r) + 256 * int(g) + int(b)) == pytest.approx(
                height, abs=0.1
            )
            assert alpha == 255
    assert pixel(client, f"{at}/dsm", UNKNOWN, ".png?algorithm=terrainrgb")[3] == 0


def test_terrarium_holds_the_heights_of_the_model(client: TestClient, at: str) -> None:
    r, g, b, _ = pixel(client, f"{at}/dtm", HOUSE, ".png?algorithm=terrarium")
    assert int(r) * 256 + int(g) + int(b) / 256 - 32768 == pytest.approx(102.4, abs=0.05)


def test_an_image_is_in_its_true_colours_webp_by_default(client: TestClient, at: str) -> None:
    tile, row, col = tile_of(*HOUSE)
    response = client.get(f"{at}/ortho/tiles/WebMercatorQuad/{tile}")
    assert response.headers["content-type"] == "image/webp"
    assert picture(response.content).shape == (TILE_PX, TILE_PX, 4)
    roof = picture(response.content)[row, col]
    assert roof[:3].min() > 240  # the brightest that there is
    assert pixel(client, f"{at}/ortho", MEADOW, ".webp")[:3].max() < 15
    assert pixel(client, f"{at}/ortho", UNKNOWN, ".webp")[3] == 0


def test_the_light_on_a_slope_is_lamberts(client: TestClient, at: str) -> None:
    query = ".png?algorithm=hillshade&buffer=3"
    grey = pixel(client, f"{at}/dtm", MEADOW, query)
    rise = 0.02 / 0.5
    light = np.sqrt(0.5) * (1 + np.sqrt(0.5) * rise) / np.hypot(1, rise)
    assert grey[0] == pytest.approx(255 * light, abs=2)
    east = json.dumps({"azimuth": 90, "angle_altitude": 30})
    grey = pixel(client, f"{at}/dtm", MEADOW, f"{query}&algorithm_params={east}")
    light = (0.5 - np.cos(np.radians(30)) * rise) / np.hypot(1, rise)
    assert grey[0] == pytest.approx(255 * light, abs=2)


def test_the_slope_is_that_of_the_ground_at_every_zoom(client: TestClient, at: str) -> None:
    for zoom in (16, 18, 19):
        tile, row, col = tile_of(*MEADOW, zoom)
        query = "algorithm=slope&buffer=2&rescale=0,10"
        response = client.get(f"{at}/dtm/tiles/WebMercatorQuad/{tile}.png?{query}")
        value = picture(response.content)[row, col][0] / 255 * 10
        assert value == pytest.approx(np.degrees(np.arctan(0.04)), abs=0.15), zoom


def test_tiles_meet_without_a_seam(client: TestClient, at: str) -> None:
    tile, _, _ = tile_of(*HOUSE)
    z, x, y = (int(part) for part in tile.split("/"))
    query = "algorithm=hillshade&buffer=3"
    left, right = (
        picture(client.get(f"{at}/dtm/tiles/WebMercatorQuad/{z}/{x + n}/{y}.png?{query}").content)
        for n in (0, 1)
    )
    both = (left[:, -1, 3] == 255) & (right[:, 0, 3] == 255)
    assert left.shape == right.shape == (TILE_PX, TILE_PX, 4)
    assert both.any()
    difference = left[both, -1, 0].astype(int) - right[both, 0, 0].astype(int)
    assert np.abs(difference).max() <= 1


def test_heights_above_ground_are_coloured(client: TestClient, at: str) -> None:
    query = ".png?rescale=0,25&colormap_name=viridis"
    assert tuple(pixel(client, f"{at}/ndsm", MEADOW, query)[:3]) == (68, 1, 84)
    assert tuple(pixel(client, f"{at}/ndsm", HOUSE, query)[:3]) == pytest.approx(
        (42, 120, 142), abs=4
    )


def test_a_model_without_any_words_is_stretched_to_its_own_range(
    client: TestClient, at: str
) -> None:
    low, high = (pixel(client, f"{at}/dsm", place, ".webp")[0] for place in (MEADOW, HOUSE))
    assert low < 120 < 240 < high


def test_classes_are_not_mixed(client: TestClient, at: str) -> None:
    tile, _, _ = tile_of(*HOUSE)
    response = client.get(f"{at}/ortho_mask/tiles/WebMercatorQuad/{tile}.png")
    found = picture(response.content)
    assert set(np.unique(found[..., 0][found[..., 3] > 0])) <= {1, 2}


def test_the_tilejson_names_tiles_that_answer(client: TestClient, at: str) -> None:
    asked = "tile_format=webp&tilesize=256"
    said = client.get(f"{at}/dsm/WebMercatorQuad/tilejson.json?{asked}").json()
    (template,) = said["tiles"]
    assert template.startswith(f"http://maps.example/prefix{at}/dsm/tiles/WebMercatorQuad/{{z}}")
    west, south, east, north = said["bounds"]
    assert (west, south) < TO_DEGREES.transform(*HOUSE) < (east, north)
    assert said["minzoom"] <= 18 <= said["maxzoom"] <= 20
    z, x, y = tile_of(*HOUSE)[0].split("/")
    address = template.replace("{z}", z).replace("{x}", x).replace("{y}", y)
    address = address.replace("http://maps.example/prefix", "")
    assert client.get(address).headers["content-type"] == "image/webp"


def test_facts_figures_and_single_values(client: TestClient, at: str) -> None:
    info = client.get(f"{at}/ortho/info").json()
    assert (info["width"], info["height"], info["count"]) == (400, 300, 4)
    assert str(Path("/")) not in json.dumps(info.get("band_metadata"))
    lon, lat = TO_DEGREES.transform(*HOUSE)
    point = client.get(f"{at}/dsm/point/{lon},{lat}").json()
    assert point["values"] == [pytest.approx(112.4, abs=0.03)]
    every = client.get(f"{at}/ortho/point/{lon},{lat}").json()["values"]
    assert every == [2000, 1600, 1200, 3000]
    figures = client.get(f"{at}/ndsm/statistics").json()["b1"]
    assert (figures["min"], figures["max"]) == (0.0, 10.0)


def test_the_preview_shows_the_whole_raster(client: TestClient, at: str) -> None:
    response = client.get(f"{at}/ortho/preview.png?max_size=200")
    assert picture(response.content).shape == (150, 200, 4)
    exact = client.get(f"{at}/dsm/preview.tif?max_size=400")
    with rasterio.open(io.BytesIO(exact.content)) as file:
        assert file.read(1)[180, 120] == pytest.approx(112.4, abs=0.03)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/raster/{key}/nothing/info", 404),
        ("/raster/{key}/footprints/info", 404),  # no raster
        ("/raster/{key}/thumbnail/info", 404),
        ("/raster/unknown/dsm/info", 404),
        ("/raster/../{key}/dsm/info", 404),
        ("/raster/..%2F{key}/dsm/info", 404),
        ("/raster/%2E%2E/dsm/info", 404),
        ("/raster/{key}/..%2Fdsm/info", 404),
        ("/raster/{key}/dsm%00/info", 404),
        ("/raster/{key}%00/dsm/info", 404),
        ("/raster/{key}/dsm/tiles/WebMercatorQuad/18/0/0.webp", 404),
        ("/raster/{key}/dsm/tiles/WebMercatorQuad/99/0/0.webp", (400, 404)),
        ("/raster/{key}/dsm/tiles/WebMercatorQuad/-1/0/0.webp", (400, 404)),
        ("/raster/{key}/dsm/tiles/WebMercatorQuad/a/0/0.webp", 422),
        ("/raster/{key}/dsm/tiles/Other/1/0/0.webp", 422),
        ("/raster/{key}/dsm/tiles/WebMercatorQuad/1/1/0.exe", 422),
        ("/raster/{key}/dsm/preview?max_size=100000", 400),
        ("/raster/{key}/dsm/preview?width=100000&height=3", 400),
        ("/raster/{key}/dsm/preview/100000x3.png", 400),
        ("/raster/{key}/dsm/preview?max_size=nan", 400),
        ("/raster/{key}/dsm/tiles/WebMercatorQuad/1/1/0.webp?tilesize=65536", 400),
        ("/raster/{key}/dsm/preview?expression=b1/0)", 400),
        ("/raster/{key}/dsm/preview?bidx=7", (400, 404)),
        ("/raster/{key}/dsm/point/0,0", 404),
        ("/raster/{key}/dsm/preview?algorithm=exec", 422),
        ("/raster/{key}/dsm/map.html", 404),
        ("/raster/{key}/dsm/preview?" + "&".join(["bidx=1"] * 17), 400),
        ("/raster/{key}/dsm/preview?expression=" + ";".join(["b1"] * 17), 400),
        ("/raster/{key}/dsm/preview?expression=" + "%2B".join(["b1"] * 400), 400),
        ("/raster/{key}/dsm/statistics?histogram_bins=100000000", 400),
        ("/raster/{key}/dsm/statistics?histogram_bins=0", 400),
        ("/raster/{key}/dsm/statistics?histogram_bins=9,5", 400),
        ("/raster/{key}/dsm/statistics?histogram_range=9,5", 400),
        ("/raster/{key}/dsm/statistics?histogram_bins=x", 422),
        ("/raster/{key}/dsm/statistics?p=2&p=101", 400),
        ("/raster/{key}/dsm/WebMercatorQuad/tilejson.json?maxzoom=99", 400),
        ("/raster/{key}/dsm/preview?dst_crs=/etc/passwd", 400),
        ("/raster/{key}/dsm/preview?dst_crs=EPSG:99999999", 422),
    ],
)
def test_what_is_not_a_raster_of_a_product_is_refused(
    client: TestClient, product_folder: Path, path: str, status: Any
) -> None:
    response = client.get(path.format(key=product_folder.name))
    expected = status if isinstance(status, tuple) else (status,)
    assert response.status_code in expected, response.text
    assert str(product_folder.parent) not in response.text


def test_no_address_of_a_raster_is_taken(client: TestClient, at: str, tmp_path: Path) -> None:
    plain = client.get(f"{at}/dsm/info").json()
    assert client.get(f"{at}/dsm/info?url=file:///etc/passwd&src_path=/x").json() == plain


@pytest.mark.parametrize(
    "path",
    ["preview?dst_crs=", "info.geojson?crs=", "point/2.06,47.76?coord_crs="],
)
def test_a_reference_system_is_no_address_to_be_read(
    client: TestClient, at: str, path: str
) -> None:
    """GDAL takes one, and reads it from wherever it leads: inside the server's own network, too."""
    with socket.create_server(("127.0.0.1", 0)) as inside:
        client.get(f"{at}/dsm/{path}http://127.0.0.1:{inside.getsockname()[1]}/wkt")
        inside.settimeout(0.2)
        with pytest.raises(TimeoutError):
            inside.accept()
    known = client.get(f"{at}/dsm/preview.tif?dst_crs=epsg:3857&max_size=64")
    with rasterio.open(io.BytesIO(known.content)) as file:
        assert file.crs.to_epsg() == 3857


def test_figures_are_given_in_the_bins_that_are_asked_for(client: TestClient, at: str) -> None:
    asked = "statistics?histogram_bins=5,9,12&p=50&p=100"
    figures = client.get(f"{at}/ndsm/{asked}").json()["b1"]
    assert figures["histogram"][1] == [5, 9, 12]
    assert figures["percentile_100"] == 10


def test_many_pictures_at_once_leave_threads_for_everything_else(product_folder: Path) -> None:
    """All forty threads drew, and nothing else was answered for minutes."""

    def threads() -> int:
        return sum(thread.name == "AnyIO worker thread" for thread in threading.enumerate())

    app = FastAPI()
    app.include_router(raster.router(product_folder.parent))
    address = f"/raster/{product_folder.name}/dsm/preview.png?max_size=512&algorithm=hillshade&n="
    before = threads()
    with TestClient(app) as client, ThreadPoolExecutor(24) as askers:
        answers = askers.map(lambda number: client.get(f"{address}{number}").status_code, range(48))
        assert set(answers) == {200}
        assert 1 <= threads() - before <= raster.AT_ONCE


def test_a_picture_is_kept_and_not_sent_twice(client: TestClient, at: str) -> None:
    tile, _, _ = tile_of(*HOUSE)
    address = f"{at}/dsm/tiles/WebMercatorQuad/{tile}.webp"
    first = client.get(address)
    again = client.get(address, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "max-age" in first.headers["cache-control"]
    assert client.get(address).content == first.content
    other = client.get(address + "?rescale=0,200")
    assert other.headers["etag"] != first.headers["etag"]


def test_what_was_not_asked_for_longest_is_forgotten() -> None:
    kept: Kept[str] = Kept(800)
    for name in "abcdefgh":
        kept.put(name, name, 100)
    assert kept.get("a") == "a"
    kept.put("i", "i", 100)
    assert kept.get("b") is None
    assert kept.get("a") == "a"
    kept.put("huge", "x", 201)
    assert kept.get("huge") is None


def test_a_tile_in_which_the_raster_is_a_speck_is_refused_at_once(
    client: TestClient, at: str
) -> None:
    response = client.get(f"{at}/dsm/tiles/WebMercatorQuad/1/1/0.webp")
    assert response.status_code == 404
    assert "speck" in response.json()["detail"]
