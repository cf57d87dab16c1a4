"""What a user installs: wheel from sdist and editable install carry the models, outside the checkout."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROBE = """
from pathlib import Path
import sgdvi, sgdvi.models
import sgdvi.report
assert sgdvi.report.read_record
for name in sgdvi.__all__:
    getattr(sgdvi, name)
names = sgdvi.zoo.list()
assert "diabetes" in names, names
problem = sgdvi.zoo.load("diabetes")
assert len(problem.data[0]) == 442, len(problem.data[0])
for folder in ("templates", "assets"):
    assert any((Path(sgdvi.report.__file__).parent / folder).iterdir()), folder
print(Path(sgdvi.__file__).parent, Path(sgdvi.models.__file__).parent)
"""

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(900)]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from the sdist; return the folder that holds both."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an empty environment; return the folder of its programs."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    return folder / ("Scripts" if sys.platform == "win32" else "bin")


def test_wheel_holds_every_package_and_no_tests(built: Path) -> None:
    names = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    sources = [*ROOT.glob("sgdvi/**/*.py*"), *ROOT.glob("models/*.py"), *ROOT.glob("models/data/*")]
    sources += ROOT.glob("sgdvi/**/data/*")
    wanted = {
        str(p.relative_to(ROOT)).replace("models/", "sgdvi/models/", 1)
        for p in sources
        if p.suffix != ".pyc" and p.is_file()
    }
    assert "sgdvi/__init__.pyi" in wanted
    assert not {name for name in wanted if name not in names}
    assert "sgdvi/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "docs", "notebooks", "models"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_sdist_holds_tests_docs_and_notebooks(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    patterns = ("*.md", "tests/**/*.py", "docs/*.md", "docs/*.py", "docs/_static/*", "notebooks/*.py", "models/*.py")
    wanted = {path.relative_to(ROOT).as_posix() for pattern in patterns for path in ROOT.glob(pattern)}
    assert not wanted - names
    assert not [name for name in names if "__pycache__" in name or name.startswith("docs/_build")]


def test_wheel_works_outside_the_checkout(built: Path, venv: Path, tmp_path: Path) -> None:
    run(venv / "pip", "install", "--quiet", next(built.glob("*.whl")), cwd=tmp_path)
    where = run(venv / "python", "-c", PROBE, cwd=tmp_path)
    assert str(ROOT) not in where
    assert "diabetes" in run(venv / "sgdvi", "models", cwd=tmp_path)
    assert "usage" in run(venv / "sgdvi", "--help", cwd=tmp_path).lower()
    run(venv / "pip", "check", cwd=tmp_path)


def test_editable_install_works_outside_the_checkout(built: Path, venv: Path, tmp_path: Path) -> None:
    # from the unpacked sdist, so that the checkout gets no build leftovers
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(tmp_path.glob("sgdvi-*"))
    assert (source / "sgdvi/__init__.pyi").exists()
    run(venv / "pip", "install", "--quiet", "--editable", source, cwd=tmp_path)
    package, models = run(venv / "python", "-c", PROBE, cwd=venv).split()
    assert Path(package) == source / "sgdvi"
    assert Path(models) == source / "models"
