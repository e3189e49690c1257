"""Tables of README.md that benchmarks fill in, each between two markers."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def put_into_readme(name: str, table: str, path: Path = README) -> None:
    """Replace what stands between ``<!-- name: begin -->`` and ``<!-- name: end -->``."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = path.read_text().split(begin)
    path.write_text(f"{before}{begin}\n{table}\n{end}{rest.split(end)[1]}")
