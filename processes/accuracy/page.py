"""A report as one HTML page: figures, tables and pictures, with nothing to load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any

from processes.accuracy.plots import Plot

LABELS = {
    "bias_m": "bias",
    "median_m": "median",
    "rmse_m": "RMSE",
    "nmad_m": "NMAD",
    "le90_m": "LE90",
    "completeness_1m": "within 1 m",
    "void_share": "voids",
    "f1": "F1",
    "mean_iou": "mean IoU",
    "mean_c_iou": "mean C-IoU",
    "mean_polis_m": "PoLiS",
    "mae_union_m": "MAE over the union",
    "median_error_m": "median |error|",
    "within_1m": "within 1 m",
    "dx_m": "east",
    "dy_m": "north",
    "dz_m": "up",
    "predicted_completeness_1m": "within 1 m, predicted",
    "predicted_nmad_m": "NMAD, predicted",
    "predicted_rmse_m": "RMSE, predicted",
    "predicted_le90_m": "LE90, predicted",
    "level_error_m": "level, ±",
    "asprs_vertical": "ASPRS 2024",
    "citygml_lod_by_height": "CityGML level by height",
}
SIGNED = {"bias_m", "median_m", "dx_m", "dy_m", "dz_m"}
SHARES = {"completeness_1m", "predicted_completeness_1m", "precision", "recall", "f1", "within_1m"}

STYLE = """
:root { --ink: #1d2733; --quiet: #5d6b79; --line: #dfe4e9; --paper: #fff; --back: #f3f5f7;
  --accent: #2f6f9f; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ee; --quiet: #9aa7b4; --line: #33404d;
  --paper: #1b242d; --back: #131a21; --accent: #7db8e0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.05rem; margin: 0 0 .8rem; }
.lead { color: var(--quiet); margin: 0 0 1.6rem; max-width: 70ch; }
.tiles { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr));
  margin-bottom: 1.25rem; }
.tile, section, figure { background: var(--paper); border: 1px solid var(--line);
  border-radius: 10px; }
.tile { padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.45rem; line-height: 1.2; font-weight: 600;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.tile span { color: var(--quiet); font-size: .85rem; }
section { padding: 1.1rem 1.25rem; margin-bottom: 1.25rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
tr:last-child td, tr:last-child th { border-bottom: 0; }
thead th { color: var(--quiet); font-weight: 500; font-size: .85rem; }
th:first-child, td.text { text-align: left; }
tbody th { font-weight: 500; }
td.text { white-space: normal; overflow-wrap: anywhere; }
.plots { display: grid; gap: 1.25rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); }
figure { margin: 0; padding: 1.1rem 1.25rem; }
figure.wide { grid-column: 1 / -1; }
figure img { display: block; margin: 0 auto; max-width: 100%; height: auto; background: #fff;
  border-radius: 6px; }
figcaption { color: var(--quiet); font-size: .88rem; margin-top: .6rem; }
"""


def html_report(
    title: str,
    lead: str,
    tiles: Mapping[str, Any],
    tables: Mapping[str, Mapping[str, Any]],
    plots: Sequence[Plot] = (),
) -> str:
    """Return a whole page. Keys name numbers with their units, as in the JSON: `rmse_m`.

    *tiles* are the few numbers to see first. A table is either name → value, or row → (column →
    value) where the rows share their columns.
    """
    shown = "".join(
        f'<div class="tile"><b>{_shown(name, value)}</b><span>{_label(name)}</span></div>'
        for name, value in tiles.items()
    )
    body = "".join(
        f"<section><h2>{escape(name)}</h2>{_table(rows)}</section>"
        for name, rows in tables.items()
        if rows
    )
    pictures = "".join(_picture(plot) for plot in plots)
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>'
        f'<div class="tiles">{shown}</div>{body}<div class="plots">{pictures}</div>'
        "</main></body></html>\n"
    )


def _table(rows: Mapping[str, Any]) -> str:
    if all(isinstance(row, Mapping) for row in rows.values()):
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        head = "".join(f"<th>{_label(name)}</th>" for name in columns)
        body = "".join(
            f"<tr><th>{escape(name)}</th>"
            + "".join(_cell(column, row.get(column)) for column in columns)
            + "</tr>"
            for name, row in rows.items()
        )
        return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    body = "".join(f"<tr><th>{_label(name)}</th>{_cell(name, v)}</tr>" for name, v in rows.items())
    return f"<table><tbody>{body}</tbody></table>"


def _cell(name: str, value: Any) -> str:
    kind = ' class="text"' if isinstance(value, str) else ""
    return f"<td{kind}>{_shown(name, value)}</td>"


def _picture(plot: Plot) -> str:
    kind = ' class="wide"' if plot.wide else ""
    return (
        f'<figure{kind}><h2>{escape(plot.title)}</h2><img src="{plot.uri}" '
        f'alt="{escape(plot.title)}"><figcaption>{escape(plot.caption)}</figcaption></figure>'
    )


def _label(name: str) -> str:
    """Return a key in words, without the unit that its values are shown with."""
    if name in LABELS:
        return LABELS[name]
    for ending in ("_m2", "_m", "_deg", "_px", "_share"):
        if name.endswith(ending):
            name = name.removesuffix(ending)
            break
    return escape(name.replace("_", " "))


def _shown(name: str, value: Any) -> str:
    """Return a value with its unit, a dash where it is unknown."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if not isinstance(value, float):
        return escape(str(value))
    if name in SHARES or name.endswith("_share"):
        return f"{100 * value:.1f}\u202f%"
    for ending, unit, digits in (("_m2", "m²", 1), ("_deg", "°", 2), ("_px", "px", 2)):
        if name.endswith(ending):
            return f"{value:.{digits}f}\u202f{unit}"
    if name.endswith("_m"):
        sign = "+" if name in SIGNED and round(value, 2) > 0 else ""
        return f"{sign}{round(value, 2) + 0.0:.2f}\u202fm"
    return f"{value:.3f}"
