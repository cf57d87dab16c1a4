"""What docs/extending.md shows works: each of its files and lines is put into a copy of the package and used."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A block that begins with the path of its file
BLOCK = re.compile(r"^```python\n# (sgdvi/[\w/]+\.pyi?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

LAW = """
m = sgdvi.Moments.linear(slope=1.0, noise=1.0)
law, limit = sgdvi.SGDStationary(m, 1e-4, depth=0), sgdvi.SmallTemperatureLaw(m, 1e-4)
assert abs(float(law.variance / limit.variance) - 1) < 1e-3
others = set(sgdvi.testing.CHECKS) - {"shapes", "cdf", "icdf"}
assert sgdvi.testing.check_distribution(limit, key=jax.random.key(0), skip=others).passed
"""
SAMPLER = """
problem = sgdvi.zoo.load("small-n")
sampler = sgdvi.SignSGD(problem.model, 0.01, batch_size=4)
tree = sgdvi.sample(sampler, problem.data, key=jax.random.key(0), num_steps=50, num_chains=2, progress=False)
moved = np.diff(tree["posterior"]["u"].values, axis=1)
assert np.allclose(np.abs(moved), 0.01, rtol=1e-3), moved
"""
CHECK = """
rng = np.random.default_rng(0)
still = {"v": rng.normal(size=(4, 500))}
moving = {"v": rng.normal(size=(4, 500)) + np.where(np.arange(500) < 250, 0, 2)}
make = sgdvi.draws.make_tree
runs = {"SGD": make(moving, kind="sgd"), "NUTS": make(still, kind="nuts")}
comparison = sgdvi.compare(runs, reference="NUTS")
found = {f.run: f for f in comparison.findings if f.check == "stationarity.halves"}
assert found["SGD"].status == "fail" and "moves by" in found["SGD"].meaning, found
checks = [f.check for f in comparison.findings if f.run == "SGD"]
assert checks.index("stationarity.halves") == checks.index("phase.collapse") + 1, checks
"""


def added(package: Path, part: str) -> None:
    """Put the files and lines that the section of the page shows into a copy of the package."""
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {part}\n")[1].split("\n## ")[0]
    blocks = BLOCK.findall(section)
    assert [len(text.splitlines()) == 1 for _, text in blocks] == [False, True], "one file and one line"
    for path, text in blocks:
        file = package.parent / path
        if not file.exists():
            file.write_text(text, encoding="utf-8")
        elif file.suffix == ".pyi":
            file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")
        else:
            before = file.read_text(encoding="utf-8")
            file.write_text(before.replace("\n)\n", f"\n{text})\n", 1), encoding="utf-8")


@pytest.mark.slow
def test_one_file_and_one_line_for_each(tmp_path: Path) -> None:
    package = tmp_path / "sgdvi"
    shutil.copytree(ROOT / "sgdvi", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "models", package / "models", ignore=shutil.ignore_patterns("__pycache__"))
    # Together, in one process: what is costly is to import the copy.
    for part in ("A law", "A sampler", "A check"):
        added(package, part)
    code = f"import jax, numpy as np, sgdvi\nassert sgdvi.__file__.startswith({str(tmp_path)!r})\n{LAW}{SAMPLER}{CHECK}"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
