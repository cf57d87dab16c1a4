"""What to do next: each thing with a command that changes what has to change, and a folder of its own."""

import re
import shlex
from dataclasses import replace
from html import unescape

import pytest
from pasting import Reached, paste, stop_at_work

from sgdvi.diagnostics import Finding, Status
from sgdvi.report import Card, Context, render_page
from sgdvi.report.actions import MOST, actions

CALL = (
    "import sgdvi\n\nresult = sgdvi.run('toy', learning_rate=0.2, batch_size=4, num_steps=1000, seed=7)\nprint(result)"
)
FROM_SHELL = Context(
    problem=Card("toy"), command="sgdvi compare toy --steps=1000 --seed 7 --out x --overwrite", call=CALL
)


def failing(three, *checks: str, run: str = "SGD"):
    found = tuple(Finding(check, run, 1.0, 0.5, Status.FAIL, "It fails.") for check in checks)
    return replace(three[0], findings=found)


@pytest.mark.parametrize(
    ("check", "run", "line"),
    [
        ("mixing.ess", "SGD", "sgdvi compare toy --seed 7 --steps 4000 --out sgdvi-toy-longer"),
        ("mixing.rhat", "NUTS", "sgdvi compare toy --steps=1000 --seed 7 --nuts-draws 8000 --out sgdvi-toy-more-draws"),
        ("distance.w1", "SGD", "sgdvi compare toy --steps=1000 --seed 7 --remedies --out sgdvi-toy-remedies"),
        ("phase.collapse", "SGD", "sgdvi compare toy --steps=1000 --seed 7 --temperature 0.5Tc --out sgdvi-toy-cooler"),
        (
            "chains.overflow",
            "SGD",
            "sgdvi compare toy --steps=1000 --seed 7 --learning-rate 0.05 --out sgdvi-toy-smaller-step",
        ),
        ("hmc.depth", "SGD", "sgdvi compare toy --steps=1000 --seed 8 --out sgdvi-toy-again"),
    ],
)
def test_each_failure_has_its_command(three, check, run, line):
    assert actions(failing(three, check, run=run), FROM_SHELL)[0].command == line


def test_what_has_collapsed_is_not_run_longer(three):
    made = actions(failing(three, "phase.collapse", "mixing.rhat"), FROM_SHELL)
    assert not [action for action in made if "as long" in action.text]


@pytest.mark.parametrize(
    ("cause", "longer"), [("not moved", True), ("on its way", True), ("plateau", False), ("joint mode", False)]
)
def test_more_steps_are_for_chains_that_are_on_their_way(three, cause, longer):
    lost = Finding("arrival.posterior", "SGD", 9.0, 5.0, Status.FAIL, "Far.", details={"cause": cause})
    unmixed = Finding("mixing.rhat", "SGD", 1.5, 1.05, Status.FAIL if not longer else Status.PASS, "Apart.")
    made = actions(replace(three[0], findings=(lost, unmixed)), FROM_SHELL)
    assert any(action.command.endswith("-longer") for action in made) is longer


def test_from_python_the_call_is_changed(three):
    made = actions(failing(three, "mixing.ess"), replace(FROM_SHELL, command=""))
    assert "num_steps=4000" in made[0].command
    assert made[0].command.endswith(".save('sgdvi-toy-longer')")
    compile(made[0].command, "page", "exec")


def test_there_are_at_most_three_and_the_command_line_knows_every_option(three):
    from sgdvi.cli import cli

    every = ("phase.collapse", "mixing.rhat", "distance.w1", "kl.parameters")
    made = actions(failing(three, *every), FROM_SHELL)
    assert len(made) == MOST
    for action in made:
        _, name, *words = shlex.split(action.command)
        command = cli.commands[name]
        command.make_context(name, words)  # parses, runs nothing


def test_without_a_command_only_what_was_measured_is_left(three):
    assert actions(three[0], Context()) == []
    measured = replace(three[0].verdict, changes=("Recommended: reweight.", "Run longer."))
    assert [action.text for action in actions(replace(three[0], verdict=measured), Context())] == [measured.changes[0]]


@pytest.mark.parametrize(
    ("recommended", "command"),
    [
        ("completed SGD, which is within every limit.", "sgdvi compare toy --seed 7 --algorithms completed"),
        ("Mandt SGD. Near.", "sgdvi compare toy --seed 7 --algorithms mandt"),
        ("reweight.", ""),
    ],
)
def test_a_flavour_that_is_recommended_is_a_command(three, recommended, command):
    verdict = replace(three[0].verdict, changes=(f"Recommended: {recommended}",))
    first = actions(replace(three[0], verdict=verdict), FROM_SHELL)[0]
    assert first.text.endswith(recommended)
    assert first.command.partition(" --out")[0] == command


def test_every_command_of_a_page_is_pasted_back(three, undrawn, tmp_path, monkeypatch):
    stop_at_work(monkeypatch)
    call = "import sgdvi\n\nresult = sgdvi.run('small-n', learning_rate=0.2, batch_size=4, num_steps=1000, seed=7)"
    shell = Context(
        problem=Card("small-n"), command="sgdvi compare small-n --steps 1000 --out x --overwrite", call=call
    )
    seen = set()
    for check in ("mixing.ess", "distance.w1", "phase.collapse", "chains.overflow", "hmc.depth"):
        for context in (shell, replace(shell, command="")):
            page = render_page(failing(three, check), context)
            seen |= {unescape(text) for text in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)}
    shown = sorted(text for text in seen if not text.startswith("@"))  # and BibTeX
    assert len([text for text in shown if text.startswith("sgdvi ")]) >= 7
    for text in shown:
        if text.startswith("sgdvi "):
            paste(text, tmp_path, monkeypatch, three[0])
        else:
            with pytest.raises(Reached):
                exec(text, {})
