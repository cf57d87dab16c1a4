"""Write the tables of docs/performance.md that are made of docs/performance.json.

python tests/benchmarks/bench_growth.py --json docs/performance.json
python tests/benchmarks/bench_peers.py --posteriors PYTHON --json docs/performance.json
python docs/make_performance.py
"""

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TABLE = re.compile(r"(<!-- performance\.json: (\w+) -->\n\n).*?(<!-- end -->)", re.DOTALL)


def growth(parts: list[dict[str, Any]]) -> str:
    """Return the table of what grows: seconds at each size, and the largest power."""
    lines = ["| what grows | seconds of processor time at each size | largest power | GB |", "|---|---|---|---|"]
    for part in parts:
        cells = ", ".join(
            f"{size:g}: {seconds:.2g}" for size, seconds in zip(part["sizes"], part["seconds"], strict=True)
        )
        power = "all below 0.1 s" if part["power"] is None else f"{part['power']:.2f}"
        lines.append(f"| {part['what']} | {cells} | {power} | {part['gb']:.2g} |")
    return "\n".join(lines)


def peers(parts: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table of what one would use in place of the package: seconds of both, and their ratio."""
    lines = ["| what | beside | `sgdvi`, s | the other, s | the other / `sgdvi` |", "|---|---|---|---|---|"]
    for row in (row for rows in parts.values() for row in rows):
        mine, other = row["ours"], row["theirs"]
        lines.append(f"| {row['what']} | {row['beside']} | {mine:.2g} | {other:.2g} | {other / mine:.2g} |")
    return "\n".join(lines)


def rendered(page: str, figures: dict[str, Any]) -> str:
    """Return the page with its tables as the figures say."""
    make = {"growth": growth, "peers": peers}
    return TABLE.sub(lambda found: found[1] + make[found[2]](figures[found[2]]) + "\n\n" + found[3], page)


def main() -> None:
    """Write the page anew."""
    page, figures = HERE / "performance.md", json.loads((HERE / "performance.json").read_text(encoding="utf-8"))
    page.write_text(rendered(page.read_text(encoding="utf-8"), figures), encoding="utf-8")


if __name__ == "__main__":
    main()
