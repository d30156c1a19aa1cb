"""Text files and tables, as people and their spreadsheets save them."""

import codecs
from collections.abc import Iterator
import contextlib
import csv
import dataclasses
import io
import os
import pathlib
import re

from tflm import errors

_BYTE_ORDER_MARKS = (  # UTF-32 comes before UTF-16, whose mark it starts with.
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXT = (  # First bytes, what such a file is, and what to do.
    (b"PK\x03\x04", "a spreadsheet or an archive", "save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file", "save it as CSV"),
    (
        b"\x89HDF",
        "an HDF5 file",
        "give the CSV file beside it (CollectedData_*.csv of DeepLabCut)",
    ),
    (b"\x1f\x8b", "compressed", "unpack it"),
)
_SEPARATORS = re.compile("[,;\t]")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_CHARACTERS = re.compile(r"[^\x00-\x08\x0e-\x1f]*")


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table."""

    number: int  # In the file, from 1.
    cells: list[str]  # Without blanks around them.


@contextlib.contextmanager
def naming(
    path: str | os.PathLike, remedy: str, problem: str = "cannot be read"
) -> Iterator[None]:
    """Makes whatever a parser raises on one file that file's one line.

    Parsers raise more than they document. This is the one place where that
    becomes an error of the file.

    Args:
        path: of the file.
        remedy: what to do about it.
        problem: what is wrong, to which the parser's reason is added.

    Raises:
        RawDataError: instead of any exception that is not yet one.
    """
    try:
        yield
    except errors.UserError:
        raise
    except Exception as error:
        why = getattr(error, "strerror", None)
        if not why:
            why = " ".join(f"{type(error).__name__}: {error}".split())
        raise errors.RawDataError(
            f"{path} {problem} ({why}); {remedy}"
        ) from error


def read_text(path: str | os.PathLike, remedy: str, flag: str = "") -> str:
    """Reads a text file: UTF-8, UTF-16 or UTF-32, else Windows-1252.

    Args:
        path: of the file.
        remedy: for a file that cannot be opened.
        flag: that gave the path, for the same message, such as "--boxes=".

    Raises:
        RawDataError: if the file is missing or is no text.
    """
    with naming(f"{flag}{path}", remedy):
        encoded = pathlib.Path(path).read_bytes()
    if not encoded.strip():
        raise errors.RawDataError(f"{path} is empty; save it again")
    for start, kind, what_to_do in _NO_TEXT:
        if encoded.startswith(start):
            raise errors.RawDataError(f"{path} is {kind}; {what_to_do}")
    with naming(path, "save it as UTF-8 text", "is no text"):
        text = encoded.decode(_encoding(encoded))
    place = _CHARACTERS.match(text).end()
    if place < len(text):
        number = text.count("\n", 0, place) + 1
        raise errors.RawDataError(
            f"{path}, line {number}: {text[place]!r} is no character of a"
            " text; the file is damaged or of another kind: save it again as"
            " UTF-8 text"
        )
    return text


def _encoding(encoded: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if encoded.startswith(mark):
            return encoding
    even, odd = encoded[::2].count(0), encoded[1::2].count(0)
    # UTF-16 without a mark: every other byte of Latin letters is zero.
    if max(even, odd) > len(encoded) // 4 and min(even, odd) == 0:
        return "utf-16-be" if even else "utf-16-le"
    try:
        encoded.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"  # "CSV" of Excel in the Americas and Western Europe.
    return "utf-8"


def read_rows(path: str | os.PathLike, text: str) -> list[Row]:
    """Reads a table whose cells are separated by commas, semicolons or tabs.

    The first of these that the first line has is the separator. With
    semicolons or tabs, numbers may have a decimal comma. Lines and last
    columns that are empty are left out.

    Args:
        path: of the file, for messages.
        text: what it holds.

    Raises:
        RawDataError: if a quote is not closed.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    found = _SEPARATORS.search(first)
    is_for_excel = first.lower().startswith("sep=")  # Which does not show it.
    separator = found[0] if found else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows, number = [], 1
    unclosed = 'close the quote (") that starts there, or remove it'
    while True:
        with naming(f"{path}, line {number}", unclosed, "is no table"):
            cells = next(reader, None)
        if cells is None:
            break
        cells = [cell.strip() for cell in cells]
        if any("\n" in cell or "\r" in cell for cell in cells):
            raise errors.RawDataError(
                f"{path}, line {number}: a cell goes on in the next line;"
                f" {unclosed}"
            )
        if separator != ",":
            cells = [
                cell.replace(",", ".")
                if _DECIMAL_COMMA.fullmatch(cell)
                else cell
                for cell in cells
            ]
        if any(cells):
            rows.append(Row(number, cells))
        number = reader.line_num + 1
    if is_for_excel:
        del rows[0]
    width = _width(rows[0].cells) if rows else 0
    for row in rows:
        del row.cells[max(width, _width(row.cells)) :]
    return rows


def _width(cells: list[str]) -> int:
    """How many cells there are up to the last that is not empty."""
    return max((i for i, cell in enumerate(cells, start=1) if cell), default=0)
