"""Terrain of hard lands that are built here, so that their ground is known: how right it is.

    python tests/benchmarks/lands.py [--land quarry] [--seeds 3] [--peers]

Each land is 240 m wide, of cells of 0.5 m, and is seen exactly and as matching sees it: soft walls,
noise of 0.2 m that goes along with its neighbours, voids. The whole process `dtm` runs on it, and
with --peers Bulldozer and CSF too, as in peers_terrain.py. RMSE and bias count what is no water and
lies on the land; the last column says how much of bridges is marked, or of water level.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import peers_terrain
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

CELL_M, SIDE_M = 0.5, 240.0
ROW, COL = np.mgrid[: int(SIDE_M / CELL_M), : int(SIDE_M / CELL_M)] * CELL_M
MIDDLE_M = SIDE_M / 2
NOISE_M, BLUR_PX, VOIDS = 0.2, 1.6, 0.04
BRIDGE, WATER = 3, 5
"""As the terrain mask says."""
NOWHERE = np.zeros(ROW.shape, bool)

Heights = NDArray[np.float64]
Mask = NDArray[np.bool_]
Random = np.random.Generator


@dataclass
class Land:
    """A surface that is built step by step on its ground."""

    ground: Heights
    surface: Heights = field(init=False)
    bridge: Mask = field(default_factory=NOWHERE.copy)
    water: Mask = field(default_factory=NOWHERE.copy)

    def __post_init__(self) -> None:
        self.surface = self.ground.copy()

    def house(self, place: Mask, height_m: float, *, pitch: float = 0.0) -> None:
        """Put a house on *place*, its eaves so high above the highest ground, with a gable."""
        if place.any():
            inside = ndimage.distance_transform_edt(place) * CELL_M
            roof = self.ground[place].max() + height_m + pitch * inside
            self.surface[place] = np.maximum(self.surface, roof)[place]

    def tree(self, row: float, col: float, radius_m: float, height_m: float) -> None:
        near = (abs(ROW - row) < radius_m) & (abs(COL - col) < radius_m)
        away = np.hypot(ROW[near] - row, COL[near] - col) / radius_m
        crown = self.ground[near] + height_m * np.sqrt(np.clip(1 - away**2, 0, None))
        self.surface[near] = np.where(
            away < 1, np.maximum(self.surface[near], crown), self.surface[near]
        )


def rolling(rng: Random, height_m: float, width_m: float) -> Heights:
    """Return smooth hills of such a deviation and width."""
    hills = ndimage.gaussian_filter(rng.normal(size=ROW.shape), width_m / CELL_M, mode="wrap")
    return np.asarray(hills * height_m / hills.std())


def rectangle(row: float, col: float, deep: float, wide: float, turn: float = 0.0) -> Mask:
    """Return the cells of a rectangle about a middle, metres, turned by radians."""
    along = (COL - col) * np.cos(turn) + (ROW - row) * np.sin(turn)
    across = (ROW - row) * np.cos(turn) - (COL - col) * np.sin(turn)
    return np.asarray((abs(across) < deep / 2) & (abs(along) < wide / 2))


def scattered_houses(land: Land, rng: Random, count: int, keep_off: Mask) -> None:
    taken = keep_off.copy()
    for _ in range(count):
        row, col = rng.uniform(8, SIDE_M - 8, 2)
        deep, wide = rng.uniform(8, 16, 2)
        place = rectangle(row, col, deep, wide, rng.uniform(0, np.pi))
        if not (place & taken).any():
            land.house(place, rng.uniform(3, 8), pitch=rng.choice([0.0, 0.7]))
            taken |= ndimage.binary_dilation(place, iterations=4)


def scattered_trees(land: Land, rng: Random, count: int, place: Mask) -> None:
    where = np.argwhere(place)
    for row, col in where[rng.integers(len(where), size=count)] * CELL_M:
        land.tree(row, col, rng.uniform(1.5, 4.5), rng.uniform(4, 14))


def quarry(rng: Random) -> Land:
    """Benches of 7 to 12 m in an irregular pit, a haul road, heaps, a plant, and bushes above."""
    away = np.hypot((ROW - MIDDLE_M) / rng.uniform(0.8, 1), (COL - MIDDLE_M) / rng.uniform(0.8, 1))
    away = away + rolling(rng, 5, 15)
    ground = rolling(rng, 3, 50)
    depth = np.zeros(ROW.shape)
    rim = 95.0
    for _ in range(int(rng.integers(2, 5))):
        face = rng.uniform(7, 12)
        depth += np.clip((rim - away) * rng.uniform(1.5, 4), 0, face)
        rim -= rng.uniform(14, 22)
    angle = np.arctan2(ROW - MIDDLE_M, COL - MIDDLE_M)
    road = np.clip((95 - away) * 0.2, 0, depth.max())
    beside = away * abs(angle - rng.uniform(-2, 2)) - 6  # its sides are slopes of earth
    ground -= np.minimum(depth, road + 1.2 * np.clip(beside, 0, None))
    land = Land(ground)
    floor = away < rim - 4
    for _ in range(3):
        row, col = rng.uniform(-0.4, 0.4, 2) * max(rim, 10) + MIDDLE_M
        heap = np.clip(4 - 0.7 * np.hypot(ROW - row, COL - col), 0, None)
        land.ground[floor] += heap[floor]
    land.surface = land.ground.copy()
    land.house(rectangle(MIDDLE_M + 4, MIDDLE_M - 4, 8, 14) & floor, 9)
    scattered_trees(land, rng, 60, away > 105)
    scattered_houses(land, rng, 5, away < 108)
    return land


def hill_town(rng: Random) -> Land:
    """Rows of attached houses on retained terraces of a slope of a third."""
    slope = 0.35 * ROW + rolling(rng, 2, 40)
    land = Land(slope)
    for top in np.arange(10, SIDE_M - 20, 24.0):
        bent = ROW - top - 5 * np.sin(COL / 45 + top)
        street = (bent >= 0) & (bent < 7)
        wall = ndimage.uniform_filter1d(slope, 31, axis=1) - 0.35 * (bent - 3.5) * street
        land.ground[street] = wall[street]
    land.surface = land.ground.copy()
    for top in np.arange(10, SIDE_M - 20, 24.0):
        bent = ROW - top - 5 * np.sin(COL / 45 + top)
        left = rng.uniform(0, 6)
        while left < SIDE_M:
            wide = rng.uniform(6, 14)
            if rng.random() < 0.85:
                deep = rng.uniform(9, 13)
                row = (bent >= 8) & (bent < 8 + deep) & (abs(COL - left - wide / 2) < wide / 2)
                land.house(row, rng.uniform(2, 6), pitch=rng.choice([0.0, 0.5]))
            left += wide + (rng.uniform(2, 8) if rng.random() < 0.25 else 0)
    scattered_trees(land, rng, 120, land.surface == land.ground)
    return land


def closed_wood(rng: Random) -> Land:
    """A canopy without a gap over a hillside, fields around: what is below can only be guessed."""
    land = Land(rolling(rng, 2, 60) + rng.uniform(0.1, 0.35) * COL)
    edge = np.hypot(ROW - MIDDLE_M, COL - MIDDLE_M) + rolling(rng, 10, 18)
    crowns = rolling(rng, 1.5, 2.0)
    wood = edge < 70
    land.surface[wood] = (land.ground + 12 + crowns)[wood]
    scattered_trees(land, rng, 150, edge < 74)
    return land


def open_wood(rng: Random) -> Land:
    """Crowns with gaps on a hillside."""
    land = Land(0.3 * ROW + rolling(rng, 3, 40))
    scattered_trees(land, rng, 1100, np.hypot(ROW - MIDDLE_M, COL - MIDDLE_M) < 100)
    return land


def wide_hall(rng: Random) -> Land:
    """A hall 150 m wide with annexes and a loading ramp, on land that is not level."""
    land = Land(rolling(rng, 1, 60))
    turn = rng.uniform(0, np.pi)
    land.house(rectangle(MIDDLE_M, MIDDLE_M, 150, 150, turn), rng.uniform(6, 14), pitch=0.01)
    down, across = float(80 * np.cos(turn)), float(80 * np.sin(turn))
    land.house(rectangle(MIDDLE_M + down, MIDDLE_M - across, 12, 60, turn), 4)
    land.house(rectangle(MIDDLE_M - across, MIDDLE_M - down, 8, 8, turn), 20)
    scattered_trees(land, rng, 60, land.surface == land.ground)
    return land


def embankment(rng: Random) -> Land:
    """A railway on a dam of 6 m, a bridge through it, houses on both sides."""
    line = ROW - MIDDLE_M - 10 * np.sin(COL / 60)
    crown, high = rng.uniform(4, 7), rng.uniform(4, 7)
    dam = np.clip(high - np.clip(abs(line) - crown, 0, None) / rng.uniform(1.3, 2.2), 0, high)
    gap = abs(COL - rng.uniform(80, 160)) < 6
    land = Land(rolling(rng, 0.7, 60) + np.where(gap, 0, dam))
    land.bridge = gap & (abs(line) < crown)
    land.surface[land.bridge] += high
    scattered_houses(land, rng, 60, abs(line) < 22)
    scattered_trees(land, rng, 60, abs(line) > 24)
    return land


def valley_bridge(rng: Random) -> Land:
    """A road bridge over a wooded valley with a stream."""
    along = COL - MIDDLE_M - 12 * np.sin(ROW / 50)
    depth, wide = rng.uniform(8, 16), rng.uniform(14, 24)
    land = Land(-depth * np.clip(1 - (abs(along) - wide / 3) / wide, 0, 1) + rolling(rng, 1, 50))
    on = abs(ROW - MIDDLE_M - 0.1 * (COL - MIDDLE_M))
    level = np.median(land.ground[(on < 4) & (abs(along) > wide * 1.4)])
    approach = np.clip((abs(along) - wide * 4 / 3) / 30, 0, 1)
    road = on < 5
    land.ground[road & (approach > 0)] = (level + (land.ground - level) * approach)[
        road & (approach > 0)
    ]
    land.surface = land.ground.copy()
    scattered_trees(land, rng, 160, (abs(along) > 4) & (abs(along) < wide) & (on > 9))
    land.bridge = road & (abs(along) < wide * 4 / 3) & (land.ground < level - 1)
    land.surface[land.bridge] = level
    return land


def quay(rng: Random) -> Land:
    """A river between walls of 3 m, seen as noise; streets and blocks along it."""
    middle = ROW - MIDDLE_M - 8 * np.sin(COL / 50)
    width = rng.uniform(20, 45)
    land = Land(np.where(abs(middle) < width / 2, -3.0, 0.01 * COL))
    land.water = abs(middle) < width / 2
    wild = rolling(rng, 3, 1)
    land.surface[land.water] += wild[land.water]
    for top in (MIDDLE_M - width / 2 - 34, MIDDLE_M + width / 2 + 34):
        for left in range(15, int(SIDE_M), 34):
            block = rectangle(top, left, rng.uniform(26, 34), 26)
            yard = rectangle(top, left, 12, 12)
            land.house(block & ~yard, rng.uniform(12, 18))
    return land


def steep_village(rng: Random) -> Land:
    """Scattered houses, trees and hedges on a slope of 35 %."""
    land = Land(0.35 * (ROW * np.cos(1) + COL * np.sin(1)) + rolling(rng, 3, 35))
    scattered_houses(land, rng, 60, NOWHERE)
    scattered_trees(land, rng, 200, land.surface == land.ground)
    return land


def vineyard(rng: Random) -> Land:
    """Terraces of 2 to 3 m between dry walls, huts on them."""
    wide, high = rng.uniform(9, 16), rng.uniform(2, 3)
    at = ROW + 10 * np.sin(COL / 45) + rolling(rng, 2, 25)
    land = Land(high * np.floor(at / wide) + 0.05 * (at % wide))
    scattered_houses(land, rng, 12, NOWHERE)
    return land


def cliff(rng: Random) -> Land:
    """A scarp of 25 m between a plateau with houses and a wooded plain."""
    line = COL - MIDDLE_M - 20 * np.sin(ROW / 40) - rolling(rng, 4, 8)
    land = Land(np.clip(line * rng.uniform(1.2, 3), 0, 25) + rolling(rng, 1.5, 40))
    scattered_houses(land, rng, 40, line < 20)
    scattered_trees(land, rng, 150, line < -5)
    return land


LANDS: dict[str, Callable[[Random], Land]] = {
    "quarry": quarry,
    "hill town": hill_town,
    "closed wood": closed_wood,
    "open wood": open_wood,
    "hall of 150 m": wide_hall,
    "embankment": embankment,
    "valley and bridge": valley_bridge,
    "quay": quay,
    "village on 35 %": steep_village,
    "vineyard": vineyard,
    "cliff": cliff,
}


def matched(surface: Heights, rng: Random) -> Heights:
    """Return a surface as matching sees it."""
    soft = ndimage.gaussian_filter(surface, BLUR_PX) + rolling(rng, NOISE_M, 1.5 * CELL_M)
    holes = rolling(rng, 1, 3 * CELL_M)
    return np.where(holes > np.quantile(holes, 1 - VOIDS), np.nan, soft)


def written(surface: Heights, path: Path) -> Path:
    layout = {"driver": "GTiff", "count": 1, "dtype": "float32", "nodata": -9999}
    move = rasterio.transform.from_origin(5e5, 5e6, CELL_M, CELL_M)
    rows, cols = surface.shape
    with rasterio.open(
        path, "w", **layout, crs="EPSG:32631", height=rows, width=cols, transform=move
    ) as file:
        file.write(np.nan_to_num(surface, nan=-9999).astype(np.float32), 1)
    return path


def made(who: str, surface: Path, folder: Path) -> tuple[Heights, NDArray[np.uint8] | None]:
    """Return somebody's terrain, and our mask of where it comes from."""
    folder.mkdir()
    command = peers_terrain.command(who, surface, folder, 1)
    subprocess.run(command, check=True, capture_output=True)
    mask = folder / "terrain_mask.tif"
    return peers_terrain.band(folder / "dtm.tif").astype(float), (
        np.nan_to_num(peers_terrain.band(mask)).astype(np.uint8) if mask.exists() else None
    )


def figures(land: Land, terrain: Heights, mask: NDArray[np.uint8] | None) -> tuple[float, ...]:
    """Return RMSE, bias, and the share of bridge or water that is marked, NaN where none is."""
    off = np.where(terrain > peers_terrain.LEAST_M, terrain - land.ground, np.nan)[~land.water]
    marked = np.nan
    for what, value in ((land.bridge, BRIDGE), (land.water, WATER)):
        inner = ndimage.binary_erosion(what, iterations=3)
        if mask is not None and inner.any():
            marked = float((mask[inner] == value).mean())
    return float(np.sqrt(np.nanmean(off**2))), float(np.nanmean(off)), marked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--land", choices=list(LANDS), action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="run Bulldozer and CSF as well")
    args = parser.parse_args()
    everybody = [peers_terrain.OURS]
    if args.peers:
        peers_terrain.install()
        everybody += [*peers_terrain.BULLDOZER, peers_terrain.CSF]
    print("RMSE (bias, marked), metres, means over seeds\n", file=sys.stderr)
    print("| land | " + " | ".join(everybody) + " |\n|---" + "|---" * len(everybody) + "|")
    for name in args.land or LANDS:
        for how in ("exact", "matched"):
            cells = []
            for who in everybody:
                rows = []
                for seed in range(args.seeds):
                    land = LANDS[name](np.random.default_rng(seed))
                    seen = land.surface
                    if how == "matched":
                        seen = matched(seen, np.random.default_rng(1000 + seed))
                    with tempfile.TemporaryDirectory() as scratch:
                        surface = written(seen, Path(scratch) / "surface.tif")
                        rows.append(figures(land, *made(who, surface, Path(scratch) / "made")))
                rmse, bias, marked = np.mean(rows, axis=0)
                told = f", {marked:.2f}" if np.isfinite(marked) else ""
                cells.append(f"{rmse:.3f} ({bias:+.2f}{told})")
            print(f"| {name}, {how} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
