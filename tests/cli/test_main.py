"""The command line: exit statuses, one-line messages, what is printed and what is left on disk."""

import contextlib
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sgdvi import zoo
from sgdvi._internal.check import InputError
from sgdvi.cli import main
from sgdvi.comparison import Verdict
from sgdvi.diagnostics import Status
from sgdvi.draws import load, make_tree
from sgdvi.experiment import conduct

MEAN = """
import numpy as np
import numpyro
import numpyro.distributions as dist
from sgdvi import Problem

def model(y):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    with numpyro.plate("data", len(y)):
        numpyro.sample("y", dist.Normal(mu, 1), obs=y)

def problem():
    return Problem(name="mean", model=model, data=(np.arange(9.0) - 3,), functionals={"mu": lambda ds: ds.mu})
"""

MODEL = """
import numpy as np
from sgdvi import linear_problem

def problem(depth=1):
    x = {x}
    y = {y}
    return linear_problem("mine", x, y, depth=depth, noise_sd=1.0)
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SGDVI_CACHE", "off")


def refused(capsys, *arguments: str) -> str:
    """Return the one line that bad input gets, after checking its form and the exit status."""
    assert main(["compare", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.strip().splitlines()
    message = lines[-1]
    assert len([line for line in lines if line.startswith("sgdvi: ")]) == 1
    assert message.startswith("sgdvi: ")
    assert "Traceback" not in err
    return message


def model_file(tmp_path, x: str, y: str) -> str:
    path = tmp_path / "mine.py"
    path.write_text(MODEL.format(x=x, y=y))
    return str(path)


def test_an_unknown_model_gets_the_closest_names(capsys):
    assert "diabetes" in refused(capsys, "diabtes")


def test_a_missing_model_is_asked_for(capsys):
    assert "MODEL" in refused(capsys)


def test_an_unknown_option_is_named(capsys):
    assert "--batchsize" in refused(capsys, "diabetes", "--batchsize", "3")


@pytest.mark.parametrize(
    ("x", "y", "part"),
    [
        ("[1.0, np.nan, 2.0, 3.0]", "[1.0, 2.0, 3.0, 4.0]", "finite"),
        ("[1.0, 2.0, 3.0, 4.0]", "[1.0, 2.0, np.inf, 4.0]", "finite"),
        ("[1.0, 2.0]", "[1.0, 2.0]", "3 rows"),
        ("[1.0, 2.0, 3.0]", "[1.0, 2.0, 3.0, 4.0]", "3"),
        ("[2.0, 2.0, 2.0, 2.0]", "[1.0, 2.0, 3.0, 4.0]", "constant"),
    ],
    ids=["nan", "inf", "two rows", "lengths", "constant x"],
)
def test_bad_data_are_refused(capsys, tmp_path, x, y, part):
    assert part in refused(capsys, model_file(tmp_path, x, y))


def test_a_model_file_that_does_not_import_is_named_with_its_error(capsys, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import nothing_of_this_name\n")
    line = refused(capsys, str(path))
    assert "ModuleNotFoundError" in line
    assert "broken.py" in line


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--learning-rate", "0"], "learning_rate must be a finite number above 0"),
        (["--learning-rate", "nan"], "learning_rate must be a number"),
        (["--learning-rate", "-0.1"], "learning_rate"),
        (["--learning-rate", "fast"], "--learning-rate"),
        (["--batch-size", "0"], "batch_size must be a whole number of at least 1"),
        (["--weight-decay", "-1"], "weight_decay must be a finite number of at least 0"),
        (["--temperature", "warm"], "temperature"),
        (["--temperature", "-0.5Tc"], "temperature"),
        (["--temperature", "0.1", "--learning-rate", "0.1"], "exclude each other"),
        (["--chains", "0"], "chains"),
        (["--steps", "0"], "steps"),
        (["--seed", "-1"], "seed"),
        (["--depth", "-1"], "depth"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_settings_out_of_range_are_refused(capsys, arguments, part):
    assert part in refused(capsys, "small-n", *arguments)


def test_options_that_a_model_does_not_have_are_refused(capsys):
    assert "depth" in refused(capsys, "logistic", "--depth", "1")
    assert "no exact law" in refused(capsys, "logistic", "--temperature", "0.1")


def test_references_are_named_in_a_list(capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(conduct, "run", lambda *args, **kwargs: asked.append(kwargs["references"]) or Answer("pass"))
    assert main(["compare", "small-n", "--references", "NUTS,low-rank", "--quiet"]) == 0
    assert main(["compare", "small-n", "--quiet"]) == 0
    assert asked == [["NUTS", "low-rank"], conduct.REFERENCES]
    capsys.readouterr()
    monkeypatch.undo()
    assert "a reference is one of NUTS, mean-field VI" in refused(capsys, "small-n", "--references", "NUTS,advi")


def test_a_folder_that_cannot_be_written_is_refused_before_anything_runs(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "writable" in refused(capsys, "small-n", "--out", str(tmp_path / "file" / "folder"))


def test_a_second_report_needs_overwrite(capsys, tmp_path):
    folder = tmp_path / "sgdvi-small-n-depth1"
    folder.mkdir()
    (folder / "report.html").write_text("old")
    assert "--overwrite" in refused(capsys, "small-n")
    assert (folder / "report.html").read_text() == "old"


@pytest.fixture(scope="module")
def runs() -> dict:
    """Results of what `quick` has run, each with what it told of its stages."""
    return {}


@pytest.fixture
def quick(monkeypatch, runs):
    """Leave the references out: they are tested on their own, and take most of the time. Run what is the same once."""
    whole = conduct.run

    def run(model, *, on_stage=None, **options):
        if isinstance(model, str):  # a call that a page shows
            return whole(model, **options)
        name = model.name, options["num_steps"], options["num_chains"]
        if name not in runs:
            told = []
            result = whole(model, on_stage=lambda *words: told.append(words), **options | {"references": ()})
            runs[name] = result, told
        result, told = runs[name]
        for words in told:
            on_stage(*words)
        return result

    monkeypatch.setattr(conduct, "run", run)


def test_compare_ends_with_the_path_of_a_report(capsys, tmp_path, quick, monkeypatch):
    (tmp_path / "mean.py").write_text(MEAN)
    arguments = ["compare", "mean.py", "--steps", "400", "--chains", "2", "--out", "here"]
    monkeypatch.setattr(sys, "argv", ["sgdvi", *arguments])
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.strip().splitlines()[-1] == os.path.join("here", "report.html")
    assert "SGD: 2 chains" in err
    folder = tmp_path / "here"
    assert sorted(path.name for path in folder.iterdir()) == ["draws.nc", "report.html", "report.json"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "sgdvi compare mean.py --steps 400 --chains 2 --out here" in page
    record = json.loads((tmp_path / "here/report.json").read_text(encoding="utf-8"))
    scope: dict = {}
    exec(record["experiment"]["call"].split("\nresult.save")[0], scope)  # what the page shows works when pasted
    assert scope["result"].problem.name == "mean"
    assert load(folder)["SGD"]["posterior"].sizes["chain"] == 2


class Answer:
    """A result without a run."""

    def __init__(self, status: Status) -> None:
        self.verdict = Verdict("It is so.", status)
        self.comparison = self

    def __str__(self) -> str:
        return "a summary"

    def save(self, folder: str, overwrite: bool) -> str:
        return f"{folder}/report.html"


@pytest.mark.parametrize(
    ("status", "fail_on", "code"),
    [
        (Status.FAIL, None, 0),
        (Status.FAIL, "fail", 3),
        (Status.FAIL, "warn", 3),
        (Status.WARN, "fail", 0),
        (Status.WARN, "warn", 3),
        (Status.PASS, "warn", 0),
    ],
)
def test_fail_on_turns_a_verdict_into_status_3(monkeypatch, capsys, status, fail_on, code):
    monkeypatch.setattr(conduct, "run", lambda *args, **kwargs: Answer(status))
    assert main(["compare", "small-n", *(["--fail-on", fail_on] if fail_on else [])]) == code
    assert capsys.readouterr().out.endswith("report.html\n")


def test_a_dash_prints_the_record_and_nothing_else(capsys, tmp_path, quick):
    (tmp_path / "mean.py").write_text(MEAN)
    assert main(["compare", "mean.py", "--steps", "400", "--chains", "2", "--out", "here", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    printed, written = json.loads(out), json.loads((tmp_path / "here/report.json").read_text(encoding="utf-8"))
    assert printed["verdict"] == written["verdict"]
    assert printed["findings"] == written["findings"]
    assert "SGD: 2 chains" in err


def test_quiet_prints_only_the_path(monkeypatch, capsys):
    monkeypatch.setattr(conduct, "run", lambda *args, **kwargs: Answer(Status.PASS))
    assert main(["compare", "small-n", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("sgdvi-small-n-depth1/report.html\n", "")


def test_a_fault_of_ours_is_status_1_and_shows_where(monkeypatch, capsys):
    monkeypatch.setattr(conduct, "run", lambda *args, **kwargs: 1 / 0)
    assert main(["compare", "small-n"]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err
    assert "please report" in err


def test_an_interruption_keeps_what_ran_and_is_status_130(monkeypatch, capsys, tmp_path):
    tree = make_tree({"u": np.zeros((2, 8))}, kind="sgd")

    def interrupted(*args, **kwargs):
        raise conduct.Interrupted({"SGD": tree, "exact law": SimpleNamespace(log_prob=None)})

    monkeypatch.setattr(conduct, "run", interrupted)
    assert main(["compare", "small-n", "--out", "here"]) == 130
    assert "the draws of SGD are in" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["draws.nc"]
    # an earlier report keeps its own draws
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "report.html").write_text('<meta name="generator" content="sgdvi">')
    assert main(["compare", "small-n", "--out", "old", "--overwrite"]) == 130
    assert f"are in {os.path.join('old', 'unfinished')}" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "old").iterdir()) == ["report.html", "unfinished"]
    monkeypatch.setattr(conduct, "run", lambda *a, **k: (_ for _ in ()).throw(conduct.Interrupted({})))
    assert main(["compare", "small-n", "--out", "there"]) == 130
    assert "nothing was written" in capsys.readouterr().err


def test_an_interruption_inside_the_garbage_collector_is_not_lost(monkeypatch, capsys):
    def run(*args, on_stage, **kwargs):
        collect = gc.callbacks
        collect.append(interrupted := lambda *args: signal.default_int_handler(signal.SIGINT, None))
        try:
            gc.collect()
        finally:
            collect.remove(interrupted)
        try:
            on_stage("NUTS", "the next stage")
        except KeyboardInterrupt as error:
            raise conduct.Interrupted({}) from error

    monkeypatch.setattr(conduct, "run", run)
    assert main(["compare", "small-n"]) == 130
    err = capsys.readouterr().err
    assert "interrupted" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_ctrl_c_in_a_real_run_leaves_no_half_report(tmp_path):
    # a shell that runs the tests in the background has them, and all below them, ignore Ctrl-C
    code = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from sgdvi._internal.check import InputError
from sgdvi.cli import main
sys.exit(main(["compare", "small-n", "--steps", "400", "--chains", "2"]))
"""
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip().startswith("NUTS"):
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert [path.name for path in (tmp_path / "sgdvi-small-n-depth1").iterdir()] == ["draws.nc"]


def test_models_lists_the_zoo_and_prints_a_template(capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^{name} ", out, flags=re.MULTILINE) for name in zoo.list())
    assert main(["models", "--template"]) == 0
    assert capsys.readouterr().out == zoo.template()


def test_doctor_says_what_is_whole_of_a_store(capsys, tmp_path):
    made = Path(__file__).parent.parent / "samplers" / "data" / "store-0.1.0.dev0.zarr"
    assert main(["doctor", str(made)]) == 0
    assert "300 of 300 draws" in capsys.readouterr().out
    store = shutil.copytree(made, tmp_path / "a.zarr")
    (store / "posterior" / "u" / "c" / "0" / "0").unlink()
    assert main(["doctor", str(store)]) == 1
    out = capsys.readouterr().out
    assert "DAMAGED     posterior/u/c/0/0, which is missing" in out
    assert "0 of 300 draws" in out
    assert main(["doctor", str(tmp_path)]) == 2
    assert "must be a store" in capsys.readouterr().err


def test_doctor_says_what_works(capsys, monkeypatch):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("jax", "numpyro", "devices", "cache"))
    assert out.count("\nok ") == 3
    monkeypatch.setattr(sys.modules["sgdvi.cli.doctor"], "_figures", lambda: 1 / 0)
    assert main(["doctor"]) == 1
    assert "FAILS       figures: ZeroDivisionError" in capsys.readouterr().out


def test_version_and_bare_call(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sgdvi ")
    assert main([]) == 2
    assert "compare" in capsys.readouterr().err


def test_help_needs_no_heavy_import():
    code = "import sys, sgdvi.cli; sgdvi.cli.main(['compare', '--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "MODEL" in done.stdout
    loaded = set(done.stderr.split())
    assert loaded.isdisjoint({"jax", "numpyro", "arviz", "matplotlib", "xarray", "scipy"})


def test_overwrite_replaces_only_what_sgdvi_wrote(capsys, tmp_path):
    folder = tmp_path / "out"
    (folder / "report.html").mkdir(parents=True)
    (folder / "report.html" / "thesis.tex").write_text("x")
    for name in ("report.json", "draws.nc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("{}")
        line = refused(capsys, "small-n", "--out", str(tmp_path / name), "--overwrite")
        assert "only files that sgdvi wrote are replaced" in line
        assert (tmp_path / name / name).read_text() == "{}"
    assert "only files that sgdvi wrote" in refused(capsys, "small-n", "--out", str(folder), "--overwrite")
    assert (folder / "report.html" / "thesis.tex").read_text() == "x"
    assert "must be writable; got" in refused(capsys, "small-n", "--out", str(tmp_path / ("a" * 300)))
    with pytest.raises(InputError, match="must be a path"):
        conduct.check_folder("a\0b")


def test_one_run_at_a_time_writes_to_a_folder_and_clears_what_a_killed_one_left(capsys, tmp_path, quick):
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / ".sgdvi-part-abc").mkdir()
    (folder / ".sgdvi-part-abc" / "draws.nc").write_text("half")
    (folder / ".sgdvi-lock").write_text('{"host": "elsewhere", "pid": 1, "started": "", "since": "today"}')
    (tmp_path / "mean.py").write_text(MEAN)
    arguments = ["mean.py", "--steps", "400", "--chains", "2", "--out", "here"]
    assert "only one run at a time" in refused(capsys, *arguments)
    assert main(["compare", *arguments, "--break-lock"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["draws.nc", "report.html", "report.json"]
    assert main(["compare", *arguments, "--overwrite"]) == 0


def test_output_that_cannot_be_written_is_one_line(capsys, monkeypatch):
    line = "sgdvi: the system must take what is written; got No space left on device.\n"
    for command in (["models"], ["models", "--template"]):
        full = open("/dev/full", "w", encoding="utf-8")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", full)
            assert main(command) == 2
            sys.stdout.close()  # what it turned to
        with contextlib.suppress(OSError):
            full.close()
        assert capsys.readouterr().err == line

    def shell(arguments: str) -> subprocess.CompletedProcess:
        # with help, which needs no heavy import
        command = f"{sys.executable} -m sgdvi.cli {arguments}"
        return subprocess.run(command, shell=True, capture_output=True, text=True, cwd="/", check=False)

    done = shell("compare --help > /dev/full")
    assert (done.returncode, done.stderr) == (2, line)
    assert shell("compare --help | true").stderr == ""
    assert shell("compare --help <&- >&- 2>&-").returncode == 0
