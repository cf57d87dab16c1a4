"""Every command that a page or a program text shows is one that the command line takes: it is pasted and parsed."""

import re
import shlex
from pathlib import Path

import click
import pytest

from sgdvi.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.py")]
TEXTS = [*ROOT.glob("sgdvi/**/*.py"), *ROOT.glob("sgdvi/**/*.html"), *ROOT.glob("models/*.py")]
# a line of a block, and code in a sentence
SHOWN = re.compile(r"(?:^|&& |`)\s*(?:\.venv/bin/)?(sgdvi (?:[a-z]+) ?[^`\n]*)", re.MULTILINE)
PLACEHOLDERS = {
    "MODEL": "diabetes",
    "FOLDER": "here",
    "DIR": "here",
    "FILE": "x.nc",
    "T": "0.5Tc",
    "R": "1",
    "N": "100",
}
PLACEHOLDERS |= {"VERDICT": "fail", "DRAWS": "x.nc", "NAME": "NUTS", "ID": "T17", "GAMMA": "0.1"}


def commands(text: str) -> list[str]:
    """Return the commands that a text shows whole; those with an ellipsis are none."""
    found = [match.rstrip("`.,;: ") for match in SHOWN.findall(text)]
    return [command for command in found if "..." not in command and "{" not in command and "\\" not in command]


def parse(command: str) -> None:
    words = shlex.split(command.replace("[", "").replace("]", ""), comments=True)[1:]
    words = [PLACEHOLDERS.get(word, word) for word in words if word != "|"]
    for stop in (">", ">>", "||", "&&", ";"):
        words = words[: words.index(stop)] if stop in words else words
    name, *arguments = words
    assert name in cli.commands, command
    if not arguments or set(arguments) & {"-h", "--help"}:
        return  # the command by its name
    cli.commands[name].make_context(name, arguments)  # parses, runs nothing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_the_pages_are_taken(page: Path) -> None:
    for command in commands(page.read_text(encoding="utf-8")):
        try:
            parse(command)
        except click.UsageError as error:
            pytest.fail(f"{command}: {error.format_message()}")


def test_commands_that_the_program_tells_of_are_taken() -> None:
    wrong = []
    for path in TEXTS:
        for command in commands(path.read_text(encoding="utf-8")):
            try:
                parse(command)
            except (click.UsageError, ValueError) as error:
                wrong.append(f"{path.name}: {command}: {error}")
    assert not wrong


def test_the_test_sees_commands_and_what_is_wrong_with_them() -> None:
    assert sum(len(commands(page.read_text(encoding="utf-8"))) for page in PAGES) > 40
    assert commands("say `sgdvi compare mine.py --depth 0`.") == ["sgdvi compare mine.py --depth 0"]
    with pytest.raises(click.UsageError):
        parse("sgdvi compare diabetes --nothing")
