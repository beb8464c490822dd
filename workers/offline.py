"""What computes has no network of its own: what may be fetched is fetched by `workers.reader`.

GDAL follows addresses that it finds in files, such as the reference system of a GeoJSON, into
whatever network this machine is in. It is given a proxy that leads nowhere. By the environment,
since rasterio and pyogrio each bring a GDAL of their own.
"""

from __future__ import annotations

import os

NOWHERE = "http://127.0.0.1:9"  # the port of what is discarded
OFFLINE = {"GDAL_HTTP_PROXY": NOWHERE, "GDAL_HTTPS_PROXY": NOWHERE, "NO_PROXY": "", "no_proxy": ""}
"""Of the environment of what computes."""


def go_offline() -> None:
    """Give this process that environment, and so its children; a second time changes nothing."""
    if OFFLINE.items() - os.environ.items():
        os.environ.update(OFFLINE)
