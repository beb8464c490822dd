"""Laws of the lattice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from processes.core.raster import Grid

coordinate = st.floats(-1e6, 1e6)
cell = st.sampled_from([0.1, 0.25, 0.5, 1.0, 30.0])


@given(coordinate, coordinate, st.floats(0.5, 500), st.floats(0.5, 500), cell)
def test_a_covering_grid_holds_its_bounds_and_wastes_less_than_a_cell(x, y, width, height, cell_m):
    grid = Grid.covering((x, y, x + width, y + height), cell_m, "EPSG:32631")
    xmin, ymin, xmax, ymax = grid.bounds
    slack = 1e-6 * cell_m + 1e-9 * max(abs(x), abs(y))
    assert xmin <= x + slack
    assert ymax >= y + height - slack
    assert -slack <= xmax - (x + width) <= cell_m + slack
    assert -slack <= y - ymin <= cell_m + slack


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_cells_and_coordinates_are_each_others_inverse(row, col):
    grid = Grid.covering((431000, 5290000, 431100, 5290080), 0.5, "EPSG:32631")
    assert np.allclose(grid.rowcol(*grid.xy(row, col)), (row, col), atol=1e-6)


def test_whole_numbers_are_cell_centres():
    grid = Grid.covering((0, 0, 10, 10), 0.5, "EPSG:32631")
    assert grid.xy(0, 0) == (0.25, 9.75)


def test_a_window_keeps_the_lattice():
    grid = Grid.covering((0, 0, 10, 10), 0.5, "EPSG:32631")
    part = grid.window(-2, 3, 4, 5)
    assert part.xy(2, 0) == grid.xy(0, 3)
    assert part.shape == (4, 5)
