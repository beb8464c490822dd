"""Two or more images and their sensor models to surface heights. Knows of no process."""

from numba.np import linalg


def _without_blas() -> None:
    """Load numba's array functions but not the BLAS of SciPy, 0.2 s of every start.

    No kernel here multiplies matrices; numba looks for a BLAS nevertheless, once, when it loads.
    """

    def no_blas() -> None:
        raise ImportError

    ensure_blas = linalg.ensure_blas
    linalg.ensure_blas = no_blas
    try:
        from numba.np import arraymath  # noqa: F401 – looks
    finally:
        linalg.ensure_blas = ensure_blas


_without_blas()
