"""`sgdvi.check`: draws of any tool, without a model; what is wrong with a run is said with and without a reference."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sgdvi
from sgdvi import InputError
from sgdvi.cli import main
from sgdvi.comparison import Comparison
from sgdvi.diagnostics import Status
from sgdvi.draws import make_tree
from sgdvi.experiment.any_draws import functionals_in
from sgdvi.experiment.summaries import summaries_of

SHAPE = (4, 300)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(8)


def statuses(comparison: Comparison, run: str = "draws") -> Mapping[str, Status]:
    return {finding.check: finding.status for finding in comparison.findings if finding.run == run}


def trap(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return draws with one thing wrong."""
    draws = rng.normal(size=SHAPE)
    if kind == "nan":
        draws[1, 7] = np.nan
    elif kind == "stuck":
        draws[:] = 0.5
    elif kind == "apart":
        draws += 3 * np.arange(4)[:, None]
    elif kind == "copies":
        draws[1] = draws[0]
    elif kind == "narrowing":
        draws *= np.linspace(2, 0.2, SHAPE[1])
    elif kind == "drift":
        draws += np.linspace(0, 6, SHAPE[1])
    return draws


def test_without_a_reference_the_run_alone_is_judged(rng: np.random.Generator) -> None:
    result = sgdvi.check(trap("", rng))
    verdict = result.verdict
    assert verdict.status is Status.UNKNOWN
    assert verdict.answers["arrive"].status is Status.PASS
    assert verdict.answers["same"].status is Status.UNKNOWN
    assert verdict.sentence.startswith(
        "draws ran, moved and mixed, as far as its chains show. Cannot tell: there is no"
    )
    assert (
        "Of its own law, on the worst functional, means are known to 0.028 sd and intervals"
        in verdict.answers["use"].sentence
    )
    assert set(verdict.uses) == set()


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("nan", "draws.finite"),
        ("stuck", "draws.distinct"),
        ("apart", "mixing.rhat"),
        ("copies", "chains.copies"),
        ("narrowing", "stationarity.spread"),
        ("drift", "mixing.ess"),
    ],
)
def test_what_is_wrong_is_said_without_a_reference(rng: np.random.Generator, kind: str, check: str) -> None:
    result = sgdvi.check({"mu": trap(kind, rng)})
    assert statuses(result)[check] is Status.FAIL
    verdict = result.verdict
    assert verdict.answers["arrive"].status is Status.FAIL
    if kind != "nan":  # three chains are left
        assert verdict.status is Status.FAIL
        assert verdict.sentence.startswith("No: draws")
        assert "Nothing of its own law is known" in verdict.answers["use"].sentence


def test_a_reference_answers_all_questions(rng: np.random.Generator) -> None:
    draws = {"mu": trap("", rng)}
    same = sgdvi.check(draws, {"mu": trap("", rng)})
    assert same.verdict.answers["same"].status in (Status.PASS, Status.WARN), same.verdict.sentence
    assert same.reference == "reference"
    other = sgdvi.check(draws, {"mu": 2 * trap("", rng)})
    assert other.verdict.status is Status.FAIL
    with pytest.raises(InputError, match="must have a variable of one name; got mu and nu"):
        sgdvi.check(draws, {"nu": trap("", rng)})


def test_one_chain_is_judged_and_one_draw_refused(rng: np.random.Generator) -> None:
    alone = sgdvi.check(trap("", rng)[:1])
    assert "worst of" not in sgdvi.check({"a": trap("", rng)[:1], "b": trap("", rng)[:1]}).verdict.sentence
    assert any(reason.startswith("One chain only") for reason in alone.verdict.reasons)
    with pytest.raises(InputError, match="'draws' must have at least 2 draws in each chain; got 1"):
        sgdvi.check(np.zeros((1, 1)))
    with pytest.raises(InputError, match="draws must be given"):
        sgdvi.check(None)


def test_what_one_run_holds_at_one_value_is_no_failure(rng: np.random.Generator) -> None:
    factor = np.zeros((*SHAPE, 2, 2))
    factor[..., 0, 0], factor[..., 1, 0] = 1.0, trap("", rng)
    factor[..., 1, 1] = rng.normal(size=SHAPE)
    result = sgdvi.check({"L": factor})
    assert list(result.functionals) == ["L[1, 0]", "L[1, 1]"]
    assert statuses(result)["draws.distinct"] is Status.PASS
    said = next(finding for finding in result.findings if finding.check == "draws.distinct")
    assert "2 coordinates of the parameters never moved" in said.meaning


def test_texts_and_variables_without_a_number_are_left_out(rng: np.random.Generator) -> None:
    tree = make_tree({"mu": trap("", rng), "empty": np.full(SHAPE, np.nan), "sigma": np.ones(SHAPE)}, kind="nuts")
    tree["posterior"] = tree["posterior"].to_dataset().assign(note=(("chain", "draw"), np.full(SHAPE, "x")))
    result = sgdvi.check(tree)
    assert list(result.functionals) == ["mu"]
    assert result.verdict.answers["arrive"].status is Status.PASS, result.verdict.sentence
    lost = make_tree({"mu": trap("", rng), "b": np.full(SHAPE, np.nan)}, kind="sgd")  # a layer that has diverged
    for asked in (None, {"mu": lambda draws: draws.mu}):
        assert statuses(sgdvi.check(lost, None, asked))["draws.finite"] is Status.FAIL


def test_many_parameters_are_summarised(rng: np.random.Generator) -> None:
    weights = rng.normal(size=(2, 5, 30, 20)).astype(np.float32)
    tree = make_tree({"w": weights, "dead": np.zeros((2, 5, 50)), "b": rng.normal(size=(2, 5))}, kind="sgd")
    chosen = summaries_of({"net": tree})
    assert list(chosen)[0] == "rms(w)"
    assert len(chosen) == 101
    posterior = tree["posterior"].to_dataset()
    np.testing.assert_allclose(chosen["rms(w)"](posterior), np.sqrt((weights**2).mean((2, 3))), rtol=1e-6)
    name = list(chosen)[50]
    place = tuple(map(int, name.removeprefix("w[").rstrip("]").split(", ")))
    np.testing.assert_array_equal(chosen[name](posterior), weights[(..., *place)])
    assert list(summaries_of({"net": make_tree({"b": rng.normal(size=(2, 5, 3))}, kind="x")})) == ["b"]


def test_functionals_come_from_a_file_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "asked.py"
    for text, words in (
        ("functionals = {'twice': lambda draws: 2 * draws.mu}\n", ""),
        ("functional = {}\n", "must have a dictionary of functions; got NoneType"),
        ("functionals = {'mu': 3}\n", "must have a dictionary of functions; got dict"),
        ("import nothing_of_this_name\n", r"must import; got ModuleNotFoundError.*\(line 1\)"),
    ):
        path.write_text(text)
        if not words:
            assert functionals_in(path)["twice"](make_tree({"mu": np.ones((1, 2))}, kind="x")["posterior"]).sum() == 4
            continue
        with pytest.raises(InputError, match=words):
            functionals_in(path)


@pytest.fixture
def files(rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for chain in range(4):
        np.savez(f"sgd-{chain}.npz", mu=rng.normal(size=SHAPE[1]))
    np.savez("wide.npz", mu=2 * rng.normal(size=SHAPE))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["check", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command_writes_a_report_that_is_rendered_again(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chains = [f"sgd-{chain}.npz" for chain in range(4)]
    status, out, err = run(capsys, *chains, "--json", "x.json")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "sgdvi-check-sgd/report.html"
    assert out.startswith("sgd ran, moved and mixed")
    page = (files / "sgdvi-check-sgd" / "report.html").read_bytes()
    assert b"4 chains of 300 draws" in page
    assert main(["report", "sgdvi-check-sgd", "--out", "again.html"]) == 0
    assert (files / "again.html").read_bytes() == page
    assert (files / "x.json").exists()
    capsys.readouterr()
    assert "must not have a report already" in run(capsys, *chains)[2]
    status, out, _ = run(capsys, *chains, "--reference", "wide.npz", "--fail-on", "fail", "--quiet", "--overwrite")
    assert (status, out) == (3, "sgdvi-check-sgd/report.html\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument 'DRAWS...'"),
        (["none.npz"], "must exist"),
        (["sgd-0.npz", "--reference", "none.nc"], "must exist"),
        (["sgd-0.npz", "--functionals", "none.py"], "the file of functionals must exist"),
        (["sgd-0.npz", "--fail-on", "pass"], "--fail-on"),
        (["empty"], "'empty' must be a Zarr store, or a folder of .csv, .npz, .pt or .safetensors files; got an empty"),
    ],
)
def test_bad_input_is_one_line(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    (files / "empty").mkdir()
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert words in err
    assert not list(files.glob("sgdvi-check-*"))


@pytest.mark.filterwarnings("default")
def test_chains_that_were_padded_are_cut_with_one_line(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for chain in range(4):
        values = np.random.default_rng(chain).normal(size=SHAPE[1])
        values[290 + 3 * chain :] = np.nan
        Path(f"{chain}.csv").write_text("\n".join(["mu", *map(str, values), ""]).replace("nan", "NA"))
    status, _, err = run(capsys, *(f"{chain}.csv" for chain in range(4)), "--quiet")
    assert status == 0
    assert err == "sgdvi: The run 'draws' has chains of 290 to 299 draws, padded with nan: all are cut to 290.\n"


def test_runs_are_named_after_their_files(files: Path) -> None:
    given: Any = ["sgd-0.npz", "sgd-1.npz"]
    result = sgdvi.check(given, given, {"mu": lambda draws: draws.mu})
    assert list(result.runs) == ["sgd", "sgd (reference)"]
    assert statuses(result, "sgd")["draws.reference"] is Status.FAIL


def network(rng: np.random.Generator, shift: float = 0.0) -> dict[str, np.ndarray]:
    """Return weights and the probabilities that they give at 40 test points."""
    x = np.random.default_rng(0).normal(size=(3, 40))
    weights = rng.normal(size=(*SHAPE, 3)).astype(np.float32)
    one = 1 / (1 + np.exp(-(weights + np.float32(shift)) @ x))
    return {"w": weights, "p": np.stack([1 - one, one], axis=-1)}


def test_predictions_are_asked_for_in_place_of_weights(rng: np.random.Generator) -> None:
    mine, its = network(rng), network(rng)
    mine["w"] += np.arange(4, dtype=np.float32)[:, None, None]  # a symmetry that predictions do not have
    its["w"] += np.arange(4, dtype=np.float32)[:, None, None]
    result = sgdvi.check(mine, its, predictions="p")
    assert result.verdict.status in (Status.PASS, Status.WARN), result.verdict.sentence
    assert {name.partition("[")[0] for name in result.functionals} == {"p"}
    assert statuses(result)["memory.parameters"] is Status.WARN
    assert "though not in the functionals" in next(
        finding.meaning for finding in result.findings if finding.check == "memory.parameters"
    )
    alone = sgdvi.check({"p": mine["p"]}, predictions="p")
    assert alone.verdict.answers["arrive"].status is Status.PASS
    lost = mine["p"].copy()
    lost[2, 9, 7] = np.nan
    broken = sgdvi.check(mine | {"p": lost}, predictions="p")
    assert statuses(broken)["draws.finite"] is Status.FAIL
    for wrong, words in (("q", "must have a variable 'q'; got p and w"), ("p", "of the same test points in all runs")):
        with pytest.raises(InputError, match=words):
            sgdvi.check(mine, its | {"p": its["p"][:, :, :9]}, predictions=wrong)


def test_predictions_are_compared_point_by_point_by_the_command(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("net.npz", **network(rng))
    np.savez("far.npz", **network(rng, shift=3.0))
    Path("seen.txt").write_text("1\n" * 40)
    monkeypatch.setattr("sgdvi.experiment.written.write_html", lambda record, path, context: path.write_text(""))
    status, out, _ = run(
        capsys, "net.npz", "--reference", "far.npz", "--predictions", "p", "--observed", "seen.txt", "--out", "x"
    )
    assert status == 0
    assert "of the 40 test points are not predicted by net as by far" in " ".join(out.split())
    record = json.loads((tmp_path / "x" / "report.json").read_text())
    assert record["predictions"]["points"] == 40
    assert record["predictions"]["runs"]["net"]["numbers"]["log_score"] < 0
    net = next(line for line in out.splitlines() if line.startswith("net ")).split()
    assert net[-1] == "no"  # the predictions' column of the first screen
    for arguments, words in (
        (["--observed", "seen.txt"], "must come with --predictions"),
        (["--predictions", "p", "--observed", "none.npy"], "No such file"),
        (["--predictions", "p", "--observed", "net.npz"], "must hold one number for each test point"),
    ):
        status, _, err = run(capsys, "net.npz", "--out", "y", *arguments)
        assert status == 2
        assert words in err
