"""What a STAC Item says of where its product comes from: times, instruments, the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from typing import Any

from processes.core.process import GEOJSON, GEOPACKAGE, GEOPARQUET

TIFF = "image/tiff; application=geotiff"
TYPES = {"tif": TIFF, "tiff": TIFF, "jp2": "image/jp2", "parquet": GEOPARQUET, "gpkg": GEOPACKAGE}
"""Media types of sources by their endings; any other is an Item."""


@dataclass(frozen=True)
class Made:
    """How a product was made."""

    process_id: str
    title: str
    version: str
    created: datetime
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Inputs that are values, not files."""


@dataclass(frozen=True)
class Source:
    """An input: an image or an earlier product. *href* is None for one sent within the request."""

    id: str
    href: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    """STAC properties of its Item, where it has one."""


def shown_when(sources: Sequence[Source], made: Made) -> dict[str, str]:
    """Say what moment the product shows: that of its images, or, where they do not say, now."""
    dates = _dates(sources)
    shown = {"datetime": moment(dates[0] if dates else made.created)}
    if len(dates) > 1 and dates[0] != dates[-1]:
        shown |= {"start_datetime": moment(dates[0]), "end_datetime": moment(dates[-1])}
    return shown | {"created": moment(made.created), "updated": moment(made.created)}


def day_of(sources: Sequence[Source], made: Made) -> str:
    """Return the day that the product shows."""
    return moment((_dates(sources) or [made.created])[0])[:10]


def instruments(sources: Sequence[Source]) -> dict[str, Any]:
    """Return platform and constellation where all sources share them, and every instrument."""
    said: dict[str, Any] = {}
    for name in ("platform", "constellation", "mission"):
        values = [source.properties.get(name) for source in sources]
        if (
            values
            and isinstance(values[0], str)
            and values[0]
            and values.count(values[0]) == len(values)
        ):
            said[name] = values[0]
    lists = [source.properties.get("instruments") for source in sources]
    named = [
        name for one in lists if isinstance(one, list) for name in one if isinstance(name, str)
    ]
    return said | ({"instruments": list(dict.fromkeys(named))} if named else {})


def processing(made: Made, sources: Sequence[Source], facility: str | None) -> dict[str, Any]:
    """Return which process made a product of what, as the processing extension says it."""
    given = ", ".join(f"{name} {value}" for name, value in made.parameters.items() if plain(value))
    used = ", ".join(source.id for source in sources)
    lineage = f"Process {made.process_id} {made.version}"
    lineage += f" of {used}" if used else ""
    lineage += f" with {given}" if given else ""
    said = {
        "processing:level": "L3",
        "processing:lineage": lineage,
        "processing:software": {"orograph": version("orograph"), made.process_id: made.version},
        "processing:datetime": moment(made.created),
        "processing:version": made.version,
    }
    return said | ({"processing:facility": facility} if facility else {})


def derived_from(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Return links to the sources that have an address."""
    return [
        {
            "rel": "derived_from",
            "href": source.href,
            "type": TYPES.get(source.href.rsplit(".", 1)[-1].lower(), GEOJSON),
            "title": source.id,
        }
        for source in sources
        if source.href
    ]


def moment(time: datetime) -> str:
    """Return RFC 3339 in UTC."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain(value: Any) -> bool:
    """Return whether a value can be a property: a number or a text."""
    return isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value))


def _dates(sources: Sequence[Source]) -> list[datetime]:
    """Return when the sources were taken, earliest first."""
    names = ("start_datetime", "datetime", "end_datetime")
    texts = [source.properties.get(name) for source in sources for name in names]
    return sorted(date for text in texts if (date := _date(text)))


def _date(text: Any) -> datetime | None:
    """Return a time in UTC; None for what is none, as catalogues hold everything."""
    try:
        date = datetime.fromisoformat(text)
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None
