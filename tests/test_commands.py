"""Every command that a page shows is pasted and run: by default to its first draw, in slow tests to its end."""

import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
from pasting import ROOT, paste, stop_at_work, words_of
from sizes import FULL

from sgdvi import compare
from sgdvi.cli import cli
from sgdvi.comparison import Comparison

TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES = sorted([*TOP, *ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.py")])
TEXTS = [*ROOT.glob("sgdvi/**/*.py"), *ROOT.glob("sgdvi/**/*.html"), *ROOT.glob("models/*.py")]
# a line of a block, and code in a sentence
SHOWN = re.compile(r"(?:^|&& |`|^\$ )\s*(?:\.venv/bin/)?(sgdvi (?:[a-z]+) ?[^`\n]*)", re.MULTILINE)
BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Programs of developers: .ci/run and tests/packaging run them as they stand, here their files and markers must exist.
TOOLS = ("python", "python3.12", "python3", "pip", "pytest", "ruff", "mypy", "pre-commit", "sphinx-build", "bash", ".")
# Commands that are whole by their name alone; of the others it is a mention.
WHOLE = ("sgdvi models", "sgdvi doctor", "sgdvi reproduce")


def commands(text: str) -> list[str]:
    """Return the commands that a text shows whole; those with an ellipsis are none."""
    shown = [match.strip("`.,;: ") for match in SHOWN.findall(text.replace("\\\n", " "))]
    return [command for command in shown if "..." not in command and "{" not in command and "\\" not in command]


def on_pages() -> list[str]:
    """Return each command of the pages once, without its comment."""
    texts = [command for page in PAGES for command in commands(page.read_text(encoding="utf-8"))]
    each = {text.partition(" #")[0].strip() for text in texts}
    return sorted(text for text in each if len(text.split()) > 2 or text in WHOLE)


def lines(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks, without comments; of a console block those after the prompt."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = [block.splitlines() for block in BLOCK.findall(text)]
    asked = [[line[2:] for line in block if line.startswith("$ ")] or block for block in blocks]
    return [line.partition(" #")[0].strip() for block in asked for line in block if line.partition("#")[0].strip()]


def parse(command: str) -> None:
    name, *arguments = words_of(command)[1:]
    assert name in cli.commands, command
    if not arguments or set(arguments) & {"-h", "--help"}:
        return  # the command by its name
    cli.commands[name].make_context(name, arguments)  # parses, runs nothing


@pytest.fixture(scope="module")
def report() -> Comparison:
    """A comparison that a folder of a report holds."""
    rng = np.random.default_rng(0)
    return compare({name: {"a": rng.normal(size=(2, 100))} for name in ("SGD", "NUTS")}, reference="NUTS")


@pytest.mark.parametrize("command", on_pages())
def test_commands_of_the_pages_run_to_their_first_draw(command, report, tmp_path, monkeypatch):
    stop_at_work(monkeypatch)
    paste(command, tmp_path, monkeypatch, report)


# Runs that differ in nothing but their folder are made once.
WHOLE_LINES = {line: " ".join(words_of(line)) for line in on_pages()}
ONCE = {re.sub(r" --out \S+", "", text) if "compare" in text else text: line for line, text in WHOLE_LINES.items()}
# These go the way of another line to its end, with other data or fewer stages, or take more than 40 s: to their first
# draw they run above, `sgdvi reproduce` runs in tests/claims, the models of the zoo in tests/models.
AS_ANOTHER = {
    "sgdvi balance attention", "sgdvi balance relu", "sgdvi compare MODEL --remedies --references NUTS",
    "sgdvi compare diabetes --against stan.nc", "sgdvi compare diabetes --against stan.nc --reference NUTS",
    "sgdvi compare diabetes --depth 0", "sgdvi compare docs/classes.py", "sgdvi compare food", "sgdvi compare logistic",
    "sgdvi compare mine.py --out report-of-mine", "sgdvi compare relu --remedies --references NUTS --nuts-draws 400",
    "sgdvi compare small-n", "sgdvi compare weak-signal --batch-size 1 --temperature 0.9Tc", "sgdvi forecast mine.py",
    "sgdvi forecast kidscore.py", "sgdvi phases diabetes --out phases.pdf", "sgdvi reproduce",
    "sgdvi reproduce --quick", "sgdvi sweep MODEL",
}  # fmt: skip
TO_THEIR_END = [line for line in ONCE.values() if FULL or line not in AS_ANOTHER]


def test_lines_that_go_the_way_of_another_are_on_the_pages() -> None:
    assert AS_ANOTHER <= set(ONCE.values())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", TO_THEIR_END)
def test_commands_of_the_pages_run_to_their_end(command, report, tmp_path, monkeypatch):
    assert paste(command, tmp_path, monkeypatch, report)


def test_lines_for_a_shell_are_commands_of_ours_or_tools_whose_files_are_there():
    markers = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for page in PAGES:
        for line in lines(page):
            for part in re.split(r" (?:&&|\|\|) ", line):
                program, *words = shlex.split(re.sub(r"^[A-Z_]+=\S+ ", "", part), comments=True)  # without a setting
                program = program.removeprefix(".venv/bin/").strip("()")
                assert program in ("sgdvi", *TOOLS), f"{page.name}: {line}"
                if program == "sgdvi":
                    continue
                files = [word for word in words if re.fullmatch(r"[.\w/]+\.pyi?|\.ci/run", word)]
                assert all((ROOT / file).is_file() for file in files), f"{page.name}: {line}"
                if program == "pytest" and "-m" in words:
                    assert f'"{words[words.index("-m") + 1]}: ' in markers, f"{page.name}: {line}"


def test_commands_that_the_program_tells_of_are_taken() -> None:
    wrong = []
    for path in TEXTS:
        for command in commands(path.read_text(encoding="utf-8")):
            try:
                parse(command)
            except (click.UsageError, ValueError) as error:
                wrong.append(f"{path.name}: {command}: {error}")
    assert not wrong


def test_the_test_sees_commands_and_what_is_wrong_with_them(report, tmp_path, monkeypatch) -> None:
    assert len(on_pages()) > 30
    assert commands("say `sgdvi compare mine.py --depth 0`.") == ["sgdvi compare mine.py --depth 0"]
    assert commands("$ sgdvi forecast x.py\nout") == ["sgdvi forecast x.py"]
    assert commands("sgdvi law \\\n  diabetes") == ["sgdvi law    diabetes"]
    with pytest.raises(click.UsageError):
        parse("sgdvi compare diabetes --nothing")
    stop_at_work(monkeypatch)
    for wrong in ("sgdvi compare diabetes --temperature 0.1 --learning-rate 0.1", "sgdvi compare logistic --depth 1"):
        with pytest.raises(AssertionError, match=wrong):
            paste(wrong, tmp_path, monkeypatch, report)
