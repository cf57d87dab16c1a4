"""``sgdvi balance``: tables of 80 columns, JSON, a figure, exit codes."""

import json
from pathlib import Path

import pytest

from sgdvi.cli import main

MODEL = '''"""A line through u and w, as a loss."""

import numpy as np

import sgdvi


def problem():
    rng = np.random.default_rng(0)
    x = rng.normal(size=30)
    y = x + rng.normal(size=30)
    loss = sgdvi.Loss(lambda p, batch: (p["u"] * p["w"] * batch[0] - batch[1]) ** 2, {"u": 1.5, "w": 0.4})
    return sgdvi.Problem("line", loss, (x, y), {"v": lambda ds: ds.u * ds.w})
'''


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGDVI_CACHE", "off")


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "line.py"
    path.write_text(MODEL)
    return str(path)


def test_text_and_figure(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "line.png"
    options = ["--learning-rate", "0.02", "--batch-size", "2", "--steps", "400", "--points", "24", "--out", str(figure)]
    assert main(["balance", model, *options]) == 0
    text = capsys.readouterr().out
    *lines, last = text.splitlines()
    assert last == str(figure)
    assert figure.stat().st_size > 10_000
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("line: 4 chains of SGD, 400 steps, learning rate 0.02, batch size 2, T = 0.01")
    assert any(line.startswith("u / w") for line in lines)
    assert "acts in 1 of 2 directions" in " ".join(" ".join(lines).split())


def test_json(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--learning-rate", "0.02", "--batch-size", "2", "--steps", "80", "--chains", "2", "--quiet"]
    assert main(["balance", model, "--json", *options]) == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert captured.err == ""
    assert record["run"]["chains"] == 2
    assert record["symmetries"][0]["exponents"] == {"u": 1.0, "w": -1.0}
    assert abs(record["symmetries"][0]["z"]) < 5


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "Give a learning rate: there is no posterior that SGD could be as wide as"),
        (["--learning-rate", "-1"], "learning_rate must be a finite number above 0"),
        (["--learning-rate", "0.1", "--steps", "3"], "steps must be a whole number of at least 8; got 3"),
        (["--learning-rate", "0.1", "--points", "2"], "points must be a whole number of at least 3"),
        (["--learning-rate", "0.1", "--out", "balance.txt"], "must end in .png"),
        (["--learning-rate", "9", "--steps", "80"], "at least one chain must stay finite"),
    ],
)
def test_bad_input_is_one_line(model: str, options: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", model, "--quiet", *options]) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.out == ""


def test_an_unknown_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", "no-such-model"]) == 2
    assert "a name of the zoo" in capsys.readouterr().err
