"""Held-out scenes: towns built from a seed, seen through RPC cameras, with their exact truth.

    python tests/benchmarks/towns.py --out DIR                       five towns, a few minutes
    python tests/benchmarks/towns.py --out DIR --kind flat --seed 7 --size 1800 --views 2
    python tests/benchmarks/accuracy.py --scene DIR/flat             the figures of one

A scene's folder is laid out as those in tests/data/scenes: `stereo.json` and the images it names,
`dem.tif`, and `truth/`. Its streets, houses, trees, sensor and light come from another generator
than the scenes that the product was tuned on, and share nothing with what trains the segmenter
but a noise function: what holds on both is likely to hold on a town that nobody has seen.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from town_built import park, put_up
from town_camera import Camera, camera, hidden, image, lit
from town_files import written
from town_ground import CELL_M, ROAD, Lattice, bare, brightness
from town_plan import Car, Style
from town_streets import laid_out

HOUSES = {"houses": 4.0, "rows": 0.8, "park": 0.8, "field": 0.6}


@dataclass(frozen=True)
class Sitting:
    """A town and how it was taken."""

    name: str
    style: Style
    seed: int
    size_px: int = 1000
    gsd_m: float = 0.5
    base_m: float = 120.0
    origin: tuple[float, float] = (431_000.0, 5_290_000.0)
    epsg: int = 32631
    along_deg: tuple[float, ...] = (9.0, -9.0)
    across_deg: tuple[float, ...] = (3.0, 5.0)
    flight_deg: float = 193.0
    sun: tuple[float, float] = (152.0, 50.0)
    sun_drift_deg: float = 0.0
    """The sun's way between two images."""
    bias: tuple[tuple[float, float], ...] = ()
    """Rows and columns by which the published models of the second, third image are off."""
    noise: float = 1.0
    blur_px: float = 0.4
    moving_cars: int = 0
    margin_m: float = 70.0
    """How far the town goes on beyond the images: towers lean, and their shadows are long."""

    @property
    def extent_m(self) -> float:
        """How wide the town is: what images see, turned by the flight, and a margin."""
        turn = np.radians(self.flight_deg % 90)
        wide = self.size_px * self.gsd_m * (np.cos(turn) + np.sin(turn)) + 2 * self.margin_m
        return float(np.ceil(wide / 2) * 2)


SITTINGS = {
    "flat": Sitting(
        "flat",
        Style({"houses": 3, "rows": 1.4, "halls": 0.7, "park": 0.6, "dense": 0.5, "towers": 0.3}),
        seed=71, size_px=1800, along_deg=(10.5, -8.0), across_deg=(4.0, 6.5), sun=(158.0, 47.0),
        base_m=62.0, origin=(612_000.0, 5_650_000.0),
    ),
    "dense": Sitting(
        "dense",
        Style({"dense": 5, "towers": 1.3, "park": 0.5, "rows": 0.3}, block_m=(52, 105),
              road_m=(9, 16), main_road_m=23.0, district_m=300.0, flat=0.5,
              dense_m=(12.0, 26.0)),
        seed=72, size_px=1800, along_deg=(7.5, -7.5), across_deg=(-4.0, -2.5), sun=(150.0, 55.0),
        base_m=48.0, origin=(448_000.0, 5_411_000.0), bias=((1.2, -1.6),),
    ),
    "hilly": Sitting(
        "hilly",
        Style({"houses": 4, "rows": 0.7, "park": 0.8, "field": 1.0, "wood": 0.6}, hip=0.45,
              hills={"std_m": 16.0, "wave_m": 420.0, "east": 0.04, "north": -0.03},
              road_m=(6, 8.5), main_road_m=11.0, garden_trees=1.5),
        seed=73, size_px=1200, along_deg=(12.5, -9.0), across_deg=(2.0, -3.0), sun=(146.0, 42.0),
        flight_deg=190.0, base_m=340.0, origin=(505_000.0, 5_060_000.0), noise=1.3,
    ),
    "suburb": Sitting(
        "suburb",
        Style({"houses": 3, "rows": 2.0, "towers": 0.6, "halls": 0.6, "park": 0.5, "dense": 0.6},
              flat=0.3, hip=0.25, river_m=26.0, garden_trees=0.8,
              hills={"std_m": 4.0, "wave_m": 500.0, "east": 0.01, "north": 0.008}),
        seed=74, size_px=1100, along_deg=(16.0, -17.0), across_deg=(6.0, 10.0),
        sun=(168.0, 58.0), flight_deg=196.0, base_m=95.0, origin=(380_000.0, 4_820_000.0),
        bias=((-2.4, 3.1),), moving_cars=60, sun_drift_deg=0.4,
    ),
    "tri": Sitting(
        "tri",
        Style({"dense": 2.5, "houses": 1.5, "rows": 1.0, "towers": 0.8, "park": 0.6},
              hills={"std_m": 9.0, "wave_m": 380.0, "east": -0.03, "north": 0.02}, flat=0.35,
              dense_m=(10.0, 20.0)),
        seed=75, size_px=1000, along_deg=(11.0, -11.0, 0.5), across_deg=(5.0, 2.0, 4.0),
        sun=(140.0, 38.0), flight_deg=188.0, base_m=210.0, origin=(560_000.0, 4_900_000.0),
        bias=((0.8, 1.9), (-0.5, -0.9)), blur_px=0.5,
    ),
}  # fmt: skip
VIEWS = ("left", "right", "nadir")


def scene(sitting: Sitting, out: Path) -> None:
    """Write the scene of a sitting into a folder."""
    rng = np.random.default_rng(sitting.seed)
    size_m = sitting.extent_m
    place = bare(rng, size_m, sitting.base_m, sitting.style.hills)
    plan = laid_out(rng, sitting.style, size_m)
    eaves = put_up(rng, place, plan)
    bright = brightness(rng, place)
    cameras = views_of(sitting, place)
    walls = (
        np.array([0, *(b.wall for b in plan.buildings)], np.uint8),
        np.array([0.0, *(b.turn for b in plan.buildings)], np.float32),
    )
    images, shadow = {}, None
    for number, (name, view) in enumerate(cameras.items()):
        light = lit(place, sitting.sun[0] + number * sitting.sun_drift_deg, sitting.sun[1])
        if shadow is None:
            shadow = light.direct[1::3, 1::3] <= 0
        images[name] = image(
            rng, view, *with_traffic(rng, sitting, place, bright), light, walls,
            blur_px=sitting.blur_px, noise=sitting.noise,
        )  # fmt: skip
    unseen = {name: hidden(view, place.surface, 3) for name, view in cameras.items()}
    assert shadow is not None
    written(out, sitting, place, plan, eaves, cameras, images, unseen, shadow)


def views_of(sitting: Sitting, place: Lattice) -> dict[str, Camera]:
    """Return the cameras by name; all look at the middle of the town."""
    middle = place.size_m / 2
    height = float(np.median(place.ground))
    size = (sitting.size_px, sitting.size_px)
    return {
        name: camera((middle, middle, height), sitting.flight_deg, along, across,
                     sitting.gsd_m, size)
        for name, along, across in zip(
            VIEWS, sitting.along_deg, sitting.across_deg, strict=False
        )
    }  # fmt: skip


def with_traffic(
    rng: np.random.Generator, sitting: Sitting, place: Lattice, bright: NDArray[np.float32]
) -> tuple[Lattice, NDArray[np.float32]]:
    """Return the town and how bright its cells are; each image has other cars that drive."""
    if not sitting.moving_cars:
        return place, bright
    busy = replace(
        place,
        surface=place.surface.copy(),
        classes=place.classes.copy(),
        paint=place.paint.copy(),
        tint=place.tint.copy(),
    )
    roads = np.argwhere(place.classes[::30, ::30] == ROAD) * 30
    for row, col in roads[rng.integers(len(roads), size=sitting.moving_cars)]:
        x, y = (col + 0.5) * CELL_M, place.size_m - (row + 0.5) * CELL_M
        paint = str(rng.choice(["white car", "dark car", "red car"]))
        turn = float(rng.uniform(0, 2 * np.pi))
        park(busy, Car(float(x), float(y), turn, (4.4, 1.8, 1.5), paint))
    return busy, np.where(busy.paint != place.paint, np.float32(1.0), bright)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", choices=list(SITTINGS), action="append")
    parser.add_argument("--seed", type=int, help="another town of the kind")
    parser.add_argument("--size", type=int, help="rows and columns of each image")
    parser.add_argument("--gsd", type=float)
    parser.add_argument("--views", type=int, choices=(2, 3))
    parser.add_argument("--name", help="of the folder; the kind without it")
    args = parser.parse_args()
    for kind in args.kind or SITTINGS:
        sitting = SITTINGS[kind]
        changes = {"seed": args.seed, "size_px": args.size, "gsd_m": args.gsd}
        sitting = replace(sitting, **{k: v for k, v in changes.items() if v is not None})
        if args.views == 3 and len(sitting.along_deg) == 2:
            middle = sum(sitting.along_deg) / 2, sum(sitting.across_deg) / 2
            sitting = replace(
                sitting,
                along_deg=(*sitting.along_deg, middle[0]),
                across_deg=(*sitting.across_deg, middle[1]),
            )
        elif args.views == 2:
            sitting = replace(
                sitting, along_deg=sitting.along_deg[:2], across_deg=sitting.across_deg[:2]
            )
        began = time.perf_counter()
        scene(sitting, args.out / (args.name or kind))
        print(f"{args.name or kind}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
