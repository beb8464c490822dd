"""Towns that never were: heights, colours and classes known exactly, to train a segmenter on.

A plan of streets is laid over a hilly terrain; its blocks become detached houses, rows, perimeter
blocks with courtyards, towers, halls, parks, fields, woods or lakes. Roofs, crowns, cars, hedges,
walls, bridges, mounds and terraces stand on it. Sun, sky, shadows and a sensor make four bands of
it; `degraded` then does to heights and image what stereo matching and a terrain model made from
its result do to them. Everything follows from the seed.
"""

from __future__ import annotations

import numpy as np

from processes.semantics.blocks import BUILDERS
from processes.semantics.materials import lit, painted
from processes.semantics.place import Town
from processes.semantics.relief import bare
from processes.semantics.stack import VEGETATION
from processes.semantics.streets import streets
from processes.semantics.things import river, scatter


def town(seed: int, size: int = 320, cell_m: float = 0.5) -> Town:
    """Return the town of a seed, *size* cells wide."""
    rng = np.random.default_rng(seed)
    place = bare(rng, size, cell_m)
    blocks = streets(rng, place)
    if rng.random() < 0.07:
        river(rng, place)
    for centre, half, turn, style in blocks:
        BUILDERS[style](rng, place, centre, half, turn)
    scatter(rng, place)
    place.sun = float(rng.uniform(95, 265)), float(rng.uniform(25, 72))
    colours = painted(rng, place.material, place.tint, place.classes == VEGETATION)
    place.bands = lit(rng, colours, place.surface, cell_m, place.sun)
    return place
