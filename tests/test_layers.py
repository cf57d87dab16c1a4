"""The house: imports point down between folders and never in a circle between files; few modules know ArviZ."""

import ast
import importlib
from collections.abc import Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A folder or file of sgdvi/ may import those of lower lines, not its neighbours.
LEVELS = [
    ["_internal"],
    ["laws", "draws"],
    ["problem", "inputs", "step_size"],
    ["symmetry", "variational", "models"],
    ["samplers", "diagnostics", "zoo"],
    ["quotient", "remedies", "noise_balance", "testing", "report"],
    ["comparison"],
    ["experiment"],
    ["plots"],
    ["cli"],
]
MOST_ENTRIES, MOST_LEVELS = 24, 10
# only these modules know labelled arrays; arviz_stats.base works on plain ones
LABELS = {"arviz", "arviz_base", "arviz_stats", "arviz_plots", "xarray"}
LABELLED = {"draws", "inputs", "comparison", "report"}


@cache
def modules() -> Mapping[str, Path]:
    """Return dotted name -> file of everything in sgdvi/ and models/."""
    found = {}
    for path in [*ROOT.glob("sgdvi/**/*.py"), *ROOT.glob("models/*.py")]:
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        parts = ["sgdvi", *parts] if parts[0] == "models" else parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imported(path: Path) -> frozenset[str]:
    """Return what a file imports, inside functions and for type checkers too: modules, by their full names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                found.add(module if module in modules() else str(node.module))
    return frozenset(found)


@cache
def arrows() -> Mapping[str, frozenset[str]]:
    """Return the graph of files: module -> modules of sgdvi that it imports."""
    graph = {}
    for name, path in modules().items():
        if name != "sgdvi":  # the table of contents
            graph[name] = imported(path) & modules().keys() - {name, "sgdvi"}
    return graph


def entry(module: str) -> str:
    return module.split(".")[1]


def level(name: str) -> int:
    assert any(name in names for names in LEVELS), f"sgdvi/{name} has no level: see LEVELS"
    return next(number for number, names in enumerate(LEVELS) if name in names)


def test_no_file_imports_itself_by_a_detour() -> None:
    try:
        TopologicalSorter(arrows()).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of files: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("name", sorted(modules().keys() - {"sgdvi"}))
def test_imports_point_down(name: str) -> None:
    for module in arrows()[name]:
        same = entry(module) == entry(name)
        assert same or level(entry(module)) < level(entry(name)), f"{name} imports {module}"
        assert entry(module) != "models" or entry(name) in {"zoo", "models"}, f"{name} imports {module}: use sgdvi.zoo"


@pytest.mark.parametrize("name", sorted(modules().keys() - {"sgdvi"}))
def test_few_modules_know_labelled_arrays(name: str) -> None:
    for module in imported(modules()[name]):
        top = module.split(".")[0]
        assert top != "models", f"{name}: import sgdvi.models, not models"
        assert top not in LABELS or module == "arviz_stats.base" or entry(name) in LABELLED, f"{name} imports {module}"


def test_the_house_is_small() -> None:
    apart = {"__init__.py", "__init__.pyi", "py.typed", "__pycache__"}
    entries = {path.name for path in (ROOT / "sgdvi").iterdir()} - apart
    assert len(entries) <= MOST_ENTRIES, sorted(entries)
    assert len(LEVELS) <= MOST_LEVELS


@pytest.mark.parametrize("package", sorted(n for n, path in modules().items() if path.name == "__init__.py"))
def test_no_exported_name_is_a_submodule(package: str) -> None:
    # after `import sgdvi.thing` the attribute `sgdvi.thing` is the module, whatever stood there before
    found = importlib.import_module(package)
    submodules = {name.removeprefix(f"{package}.") for name in modules() if name.startswith(f"{package}.")}
    public = getattr(found, "__all__", None) or [name for name in vars(found) if not name.startswith("_")]
    for name in submodules & set(public):
        value = getattr(found, name)
        assert getattr(value, "__name__", None) == f"{package}.{name}", f"{package} exports {name}, and is a module"
