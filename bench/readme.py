"""Tables of figures in README.md and bench/README.md, between markers of their own."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
PAGES = (HERE.parent / "README.md", HERE / "README.md")


def put(name: str, table: str, pages: tuple[Path, ...] = PAGES) -> None:
    """Replace what stands between the markers of `name`, on whichever page has them."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = next((page for page in pages if begin in page.read_text()), None)
    if page is None:
        raise ValueError(f"no page has the marker {begin}")
    before, rest = page.read_text().split(begin)
    page.write_text(f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}")
