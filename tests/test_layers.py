"""Imports point down: a module may import its own level or a lower one, and few modules know ArviZ."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEVELS = [
    {"_types", "_batches", "_check", "_host", "_json", "_status", "_tree"},
    {"moments", "laws", "symmetry", "linear", "loss", "problem", "models", "step_size"},
    {"samplers", "quotient", "draws", "predictions", "store", "inputs"},
    {"variational", "remedies", "diagnostics", "comparison"},
    {"report", "plots", "zoo", "cite", "testing", "experiment", "noise_balance", "sweeping"},
    {"cli", "__main__"},
]
# only these modules know labelled arrays; arviz_stats.base works on plain ones
LABELS = {"arviz", "arviz_base", "arviz_stats", "arviz_plots", "xarray"}
LABELLED = {"draws", "inputs", "comparison", "report"}
# Comparison.to_html renders itself: the one call upwards, made when it is used and not at import
UPWARDS = {("comparison", "report")}
FILES = [*sorted(ROOT.glob("sgdvi/**/*.py")), *sorted(ROOT.glob("models/*.py"))]


def part(module: str) -> str:
    return module.split(".")[1]


def level(name: str) -> int:
    return next(number for number, names in enumerate(LEVELS) if name in names)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from sgdvi import zoo` means the module sgdvi.zoo, `from sgdvi.zoo import load` the module sgdvi.zoo
            yield from (f"sgdvi.{a.name}" for a in node.names) if node.module == "sgdvi" else (str(node.module),)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    here = path.relative_to(ROOT).with_suffix("").parts
    name = "models" if here[0] == "models" else here[1]
    if name == "__init__":
        return  # the table of contents names every level
    for module in imported(path):
        top = module.split(".")[0]
        assert top != "models", f"{path}: import sgdvi.models, not models"
        assert top not in LABELS or module == "arviz_stats.base" or name in LABELLED, f"{path} imports {module}"
        if top == "sgdvi" and module not in {"sgdvi", "sgdvi.__version__"}:
            assert (name, part(module)) in UPWARDS or level(part(module)) <= level(name), f"{name} imports {module}"
            assert part(module) != "models" or name in {"zoo", "models"}, f"{name} imports {module}: use sgdvi.zoo"
