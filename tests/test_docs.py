"""What the pages promise is there: links, commands, versions, and every public name on an API page."""

import doctest
import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import sgdvi

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/api/*.md")], key=lambda page: page.as_posix()
)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        found = page.parent / target
        # the docs build copies the notebooks beside the pages
        copied = ROOT / "notebooks" / f"{Path(target).name}.py"
        assert found.exists() or ("notebooks/" in target and copied.exists()), f"{page.name}: {target}"


def test_paths_in_the_guides_exist() -> None:
    for page in (ROOT / "docs/extending.md", ROOT / "CONTRIBUTING.md"):
        for path in re.findall(r"`((?:sgdvi|tests|models|docs)/[\w./]+)`", page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


@pytest.mark.parametrize("name", [name for name in sgdvi.__all__ if name in sgdvi._CONTENTS])
def test_every_public_name_has_its_place_in_the_api_pages(name: str) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/api/*.md"))
    assert re.search(rf"^\.\. auto\w+:: (sgdvi\.)?{name}$", text, re.MULTILINE), f"no API page shows sgdvi.{name}"


# Examples that compile for more than two seconds each: several laws, a run, a search
SLOW = ("sgdvi.laws.identities", "sgdvi.laws.spread", "sgdvi.noise_balance.call", "sgdvi.quotient.model")
SLOW += ("sgdvi.loss", "sgdvi.sweeping", "sgdvi.variational.tuning")


def run_examples(names: set[str]) -> None:
    results = [doctest.testmod(sys.modules[name]) for name in names]
    assert sum(result.attempted for result in results) > 0
    assert not any(result.failed for result in results)


def test_examples_in_docstrings() -> None:
    run_examples({getattr(sgdvi, name).__module__ for name in sgdvi._CONTENTS} - set(SLOW))


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_longer_examples_in_docstrings(name: str) -> None:
    importlib.import_module(name)
    run_examples({name})


@pytest.mark.slow
def test_examples_on_the_page_of_the_laws() -> None:
    blocks = re.findall(r"```python\n(>>>.*?)```", (ROOT / "docs/laws.md").read_text(encoding="utf-8"), re.DOTALL)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "laws.md", "docs/laws.md", 0))
    results = runner.summarize()
    assert results.attempted >= 30
    assert not results.failed


def test_readme_has_two_commands_of_one_line() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.startswith("    ") and "-m venv" in line]
    assert len(commands) == 2
    assert commands[0].endswith("sgdvi compare diabetes")
    assert commands[1].endswith("pytest")


def test_citation_and_version_agree_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"] == sgdvi.__version__
    assert citation["license"] == project["license"]
    assert citation["preferred-citation"]["start"] == "065303"
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_notebooks_are_text_in_percent_format() -> None:
    assert not [*ROOT.glob("notebooks/*.ipynb")], "store notebooks as jupytext text"
    for notebook in ROOT.glob("notebooks/*.py"):
        assert "# %% [markdown]" in notebook.read_text(encoding="utf-8")
