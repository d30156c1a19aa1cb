"""An evaluation as one page of HTML, to open, print, or send to someone.

All is in the one file: no script, no request, images as data: URIs. A content
security policy makes the browser hold the page to that.
"""

import base64
from collections.abc import Sequence
import dataclasses
import html
import json
import os
import pathlib

from PIL import Image

from tflm import configs
from tflm import files
from tflm.evaluation import scores
from tflm.evaluation import tables as tables_lib

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_LONGEST_NUMBER = 30  # Letters of a cell, with its interval.
_STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --paper: #fff;
  --faint: #5c5c5c; --line: #ccc; --shade: #f3f4f6; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8e8e8; --paper: #16181c; --faint: #a6a6a6;
    --line: #444; --shade: #23262c; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; color: var(--text);
  background: var(--paper); overflow-wrap: anywhere;
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 0.5rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 0.25rem; }
p { margin: 0.25rem 0 0.5rem; max-width: 50rem; }
.note, figcaption { color: var(--faint); font-size: 0.9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line);
  text-align: right; vertical-align: top; }
td { white-space: nowrap; }
thead th { background: var(--shade); }
tbody th { font-weight: normal; min-width: 6.5rem; }
th:first-child, .words { text-align: left; }
td.words { white-space: normal; min-width: 12rem; }
figure { margin: 1.5rem 0; }
figcaption { margin-bottom: 0.5rem; }
img { display: block; max-width: max(100%, 40rem); height: auto;
  background: #fff; }
summary { cursor: pointer; padding: 0.25rem 0; }
pre { margin: 0; font-size: 0.8rem; white-space: pre-wrap; }
@media print {
  :root { --text: #000; --paper: #fff; --faint: #333; --line: #999;
    --shade: #eee; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .wide { overflow: visible; }
  table { font-size: 8pt; }
  th, td, td.words, tbody th { padding: 0.1rem 0.3rem; min-width: 0;
    white-space: normal; }
  h2, h3, figcaption { break-after: avoid; }
  table, figure { break-inside: avoid; }
  img { max-width: 100%; max-height: 22cm; width: auto; }
}
"""


def write(
    path: str | os.PathLike,
    found: dict,
    config: configs.Config,
    tables: Sequence[tables_lib.Table],
    figures: Sequence[tuple[str, str, str | os.PathLike]],
    provenance: dict[str, str],
) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: of the page.
        found: what `metrics.json` holds; see `report`.
        config: of the run.
        tables: in the order they are shown.
        figures: likewise; of each the title, a caption and its PNG.
        provenance: where the numbers come from, as time, commit and seed, in
            words.
    """
    heading = f"Landmarks of {found['dataset']}"
    body = [
        f"<h1>{_text(heading)}</h1>",
        _paragraph(_what(found)),
        *_at_a_glance(found),
        "<h2>Numbers</h2>",
        *map(_table, tables),
        "<h2>Figures</h2>",
        *(_figure(*figure) for figure in figures),
        "<h2>How it was made</h2>",
        _details("Provenance", _pairs(provenance)),
        _details("Configuration", _pairs(_flat(dataclasses.asdict(config)))),
        _details("All numbers, as in metrics.json", _json(found)),
    ]
    page = "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width">',
            '<link rel="icon" href="data:,">',
            f"<title>{_text(heading)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )
    with files.replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _what(found: dict) -> str:
    landmarks = found["num_landmarks"]
    what = (
        f"a fully-connected code of {found['code_units']} numbers"
        if landmarks is None
        else f"{landmarks} landmarks"
    )
    return (
        f"{what[0].upper()}{what[1:]}, found without annotations in"
        f" {found['trained_on']}, after {found['step']:,} steps of training;"
        f" evaluated on {found['dataset']}."
    )


def _at_a_glance(found: dict) -> list[str]:
    """The few numbers that say whether the landmarks are any good."""
    rows = []
    if found["no_annotations"]:
        rows.append(["annotations", found["no_annotations"], ""])
    for error, words in tables_lib.ERRORS.items():
        if found[error]:
            of_error = found[error]
            rows.append(
                [
                    f"{words}, of keypoints from landmarks",
                    tables_lib.cell(of_error["no_bias"]),
                    f"{tables_lib.cell(of_error['mean_shape'])} by a constant",
                ]
            )
    if found["pck"]:
        distance = str(scores.HEADLINE_PX)
        constant = found["pck"]["mean_shape"][distance]["mean"]
        rows.append(
            [
                f"keypoints found within {distance} px, %",
                tables_lib.cell(found["pck"][distance]["mean"]),
                f"{tables_lib.cell(constant)} by a constant",
            ]
        )
    if consistency := found["consistency"]:
        rows.append(
            [
                "distance of landmarks after a known warp, px",
                tables_lib.cell(consistency["px"]),
                f"{tables_lib.cell(consistency['still_px'])} if they stayed"
                " where they are",
            ]
        )
    if health := found["health"]:
        rows.append(
            [
                "landmarks that do not move",
                f"{len(health['dead'])}",
                f"of {found['num_landmarks']}",
            ]
        )
        rows.append(
            [
                "pairs of landmarks that stay together",
                f"{len(health['duplicated'])}",
                "",
            ]
        )
    table = tables_lib.Table(
        "At a glance", ["", "these landmarks", "beside"], rows
    )
    return [_table(table, level=2), _paragraph(f"px: {found['pixel']}", True)]


def _table(table: tables_lib.Table, level: int = 3) -> str:
    heading = [f"<h{level}>{_text(table.title)}</h{level}>"]
    if table.note:
        heading.append(_paragraph(table.note, True))
    columns = zip(table.columns, *table.rows)
    # Words are read from the left, numbers compared from the right.
    classes = [
        " class=words" if max(map(len, column)) > _LONGEST_NUMBER else ""
        for column in columns
    ]
    head = "".join(
        f'<th scope="col"{of_column}>{_text(name)}</th>'
        for name, of_column in zip(table.columns, classes)
    )
    body = [
        f'<th scope="row">{_text(row[0])}</th>'
        + "".join(
            f"<td{of_column}>{_text(cell)}</td>"
            for cell, of_column in zip(row[1:], classes[1:])
        )
        for row in table.rows
    ]
    return "\n".join([*heading, _rows(body, head)])


def _rows(body: Sequence[str], head: str = "") -> str:
    """A table that scrolls by itself where it is too wide."""
    return "\n".join(
        [
            '<div class="wide" tabindex="0"><table>',
            *([f"<thead><tr>{head}</tr></thead>"] if head else []),
            "<tbody>",
            *(f"<tr>{row}</tr>" for row in body),
            "</tbody></table></div>",
        ]
    )


def _figure(title: str, caption: str, path: str | os.PathLike) -> str:
    data = pathlib.Path(path).read_bytes()
    with Image.open(path, formats=["PNG"]) as image:
        width, height = image.size
    encoded = base64.b64encode(data).decode("ascii")
    return "\n".join(
        [
            "<figure>",
            f"<h3>{_text(title)}</h3>",
            f"<figcaption>{_text(caption)}</figcaption>",
            '<div class="wide" tabindex="0">',
            f'<img alt="{_text(title)}" width="{width}" height="{height}"'
            f' src="data:image/png;base64,{encoded}">',
            "</div>",
            "</figure>",
        ]
    )


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{_text(summary)}</summary>\n{content}</details>"


def _pairs(pairs: dict[str, str]) -> str:
    return _rows(
        [
            f'<th scope="row">{_text(name)}</th>'
            f"<td class=words>{_text(value)}</td>"
            for name, value in pairs.items()
        ]
    )


def _json(value) -> str:
    text = json.dumps(files.nan_to_none(value), indent=1)
    return f"<pre>{_text(text)}</pre>\n"


def _flat(nested: dict, prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} as {"a.b": "1"}."""
    flat = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = str(value)
    return flat


def _paragraph(text: str, is_note: bool = False) -> str:
    return f"<p{' class=note' * is_note}>{_text(text)}</p>"


def _text(value: str) -> str:
    return html.escape(value, quote=True)
