"""Record the findings of comparisons, and hold two records against each other: what a change must not move.

python tests/findings_equal.py record OUT.json [report.json ...]    # the required outcomes, and reports of models
python tests/findings_equal.py compare BEFORE.json AFTER.json
"""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent


def rows(findings: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return status and value of each finding under its run and check."""
    return {f"{f['run']} {f['check']}": {"status": str(f["status"]), "value": f["value"]} for f in findings}


class Recorder:
    """Plugin of pytest that keeps the findings of every comparison, in the order of the calls within one test."""

    def __init__(self) -> None:
        self.record: dict[str, Any] = {}

    def pytest_runtest_setup(self, item: Any) -> None:
        """Put a comparison that remembers in the place of the module's own."""
        compare, calls = item.module.compare, iter(range(1000))

        def remembering(*args: Any, **options: Any) -> Any:
            result = compare(*args, **options)
            findings = [
                {"run": f.run, "check": f.check, "status": f.status.value, "value": f.value} for f in result.findings
            ]
            self.record[f"{item.name} {next(calls)}"] = rows(findings)
            return result

        item.compare, item.module.compare = compare, remembering

    def pytest_runtest_teardown(self, item: Any) -> None:
        """Give the module its own comparison back."""
        item.module.compare = item.compare


def record(out: str, reports: list[str]) -> int:
    """Write the findings of the required outcomes and of these reports."""
    import pytest

    recorder = Recorder()
    file = str(TESTS / "diagnostics" / "test_required_outcomes.py")
    status = pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", file], plugins=[recorder])
    for path in reports:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        recorder.record[Path(path).parent.name] = rows(report["findings"])
    Path(out).write_text(json.dumps(recorder.record, indent=1, default=float) + "\n", encoding="utf-8")
    return int(status)


def same(one: Any, other: Any) -> bool:
    """Say whether two values are equal; not a number is equal to itself."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    return bool(one == other)


def compare(before: str, after: str) -> int:
    """Print every difference in check, status and value; 1 where there is one."""
    old, new = (json.loads(Path(path).read_text(encoding="utf-8")) for path in (before, after))
    differences = []
    for case in sorted(old.keys() | new.keys()):
        mine, other = old.get(case, {}), new.get(case, {})
        for key in sorted(mine.keys() | other.keys()):
            a, b = mine.get(key), other.get(key)
            if a is None or b is None or a["status"] != b["status"] or not same(a["value"], b["value"]):
                differences.append(f"{case}: {key}: {a} -> {b}")
    print("\n".join(differences))  # noqa: T201
    total = sum(len(findings) for findings in old.values())
    print(f"{len(differences)} of {total} findings differ, in {len(old)} comparisons before, {len(new)} after")  # noqa: T201
    return bool(differences)


if __name__ == "__main__":
    os.environ.setdefault("JAX_ENABLE_X64", "0")
    what, *rest = sys.argv[1:] or [""]
    if what == "record" and rest:
        sys.exit(record(rest[0], rest[1:]))
    if what == "compare" and len(rest) == 2:
        sys.exit(compare(*rest))
    sys.exit(__doc__)
