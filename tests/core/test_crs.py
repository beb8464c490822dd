"""Reference systems that a product may have, and where a place lies in them."""

from __future__ import annotations

import numpy as np
import pytest
from pyproj import Transformer

from processes.core.crs import for_arrays, metric_crs, utm_zone
from processes.core.errors import UnknownCrs


def test_one_point_is_an_array_as_many_are() -> None:
    to_plane = for_arrays(Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform)
    many = to_plane(np.array([3.0, 3.1]), np.array([45.0, 45.1]))
    one = to_plane(np.array([3.1]), np.array([45.1]))
    assert [v.shape for v in one] == [(1,), (1,)]
    assert [float(v[0]) for v in one] == [float(v[1]) for v in many]


def test_utm_zones() -> None:
    assert utm_zone(2.08, 47.8) == "EPSG:32631"
    assert utm_zone(31.1, -29.9) == "EPSG:32736"
    assert utm_zone(179.9, 1) == "EPSG:32660"
    assert utm_zone(-180, 1) == "EPSG:32601"


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:999999", "nonsense", "EPSG:2263"])
def test_a_reference_system_that_is_unknown_or_not_metric_is_refused(crs: str) -> None:
    with pytest.raises(UnknownCrs):
        metric_crs(crs)
