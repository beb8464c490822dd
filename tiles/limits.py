"""How much may be asked of a raster at once: what one request may cost all the others.

titiler computes whatever it is asked, and GDAL takes an address or a path for a reference system,
which it then reads. So sizes and numbers are bounded here, and systems are codes.
"""

from __future__ import annotations

import re
from itertools import pairwise

from fastapi import HTTPException
from starlette.requests import Request

LARGEST = {
    "tilesize": 1024,
    "width": 2048,
    "height": 2048,
    "max_size": 2048,
    "buffer": 64,
    "padding": 64,
    "z": 24,
    "minzoom": 24,
    "maxzoom": 24,
    "p": 100,
}
"""Largest values of parameters that are numbers; the least is 0."""
MOST_TIMES = 16
"""How often a parameter may be given: bands, percentiles, classes."""
LONGEST = {"expression": 500, "histogram_bins": 4000, "colormap": 16_000, "color_formula": 500}
MOST_PARTS, MOST_BINS = 16, 1000
SYSTEMS = ("crs", "dst_crs", "coord_crs")
SYSTEM = re.compile(r"(EPSG|ESRI|OGC|IAU_2015):\w{1,16}", re.IGNORECASE)


def check(request: Request) -> None:
    """Raise HTTPException 400 for a request that asks for more than there is a limit for."""
    query = request.query_params
    names = query.keys()
    for name in names:
        if len(query.getlist(name)) > MOST_TIMES:
            raise HTTPException(400, f"{name} is given more than {MOST_TIMES} times")
        if any(len(text) > LONGEST.get(name, 1000) for text in query.getlist(name)):
            raise HTTPException(400, f"{name} is longer than {LONGEST.get(name, 1000)} letters")
    for name, most in LARGEST.items():
        for text in [*query.getlist(name), str(request.path_params.get(name, ""))]:
            _check_number(name, text, most)
    for name in SYSTEMS:
        for text in query.getlist(name):
            if not SYSTEM.fullmatch(text):
                raise HTTPException(400, f"{name}: name a reference system by its code: EPSG:3857")
    if query.get("expression", "").count(";") >= MOST_PARTS:
        raise HTTPException(400, f"expression: give {MOST_PARTS} bands at most")
    _check_histogram(query.get("histogram_bins", ""), query.get("histogram_range", ""))


def _check_number(name: str, text: str, most: float) -> None:
    try:
        if text and not 0 <= float(text) <= most:
            raise HTTPException(400, f"{name} is {text}: give 0 to {most}")
    except ValueError:
        return  # which the route itself refuses, with its reason


def _check_histogram(bins: str, sides: str) -> None:
    try:
        edges = [int(text) for text in bins.split(",") if text]
        low_high = [float(text) for text in sides.split(",") if text]
    except ValueError:
        return  # as above
    if len(edges) == 1 and not 1 <= edges[0] <= MOST_BINS:
        raise HTTPException(400, f"histogram_bins is {bins}: give 1 to {MOST_BINS}")
    if any(low >= high for low, high in [*pairwise(edges), *pairwise(low_high)]):
        raise HTTPException(400, "histogram_bins and histogram_range must increase")
