"""The zoo: names, paths, the template, and bad model files in one line."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import sgdvi
from sgdvi import zoo

HEAD = "import numpy as np\nimport sgdvi\n"


def write(folder: Path, body: str) -> Path:
    path = folder / "mine.py"
    path.write_text(HEAD + body, encoding="utf-8")
    return path


def linear(data: str) -> str:
    return f"def problem():\n    x, y = {data}\n    return sgdvi.linear_problem('mine', x, y, noise_sd=1.0)\n"


def test_list_has_every_model_with_a_summary() -> None:
    assert set(zoo.list()) == {
        "attention",
        "deep-diagonal",
        "diabetes",
        "digits",
        "food",
        "investment",
        "logistic",
        "matrix-factorisation",
        "party",
        "relu",
        "small-n",
        "weak-signal",
    }
    for summary in zoo.list().values():
        assert summary.endswith(".")
        assert 30 < len(summary) <= 110


@pytest.mark.parametrize("name", ["weak-signal", "weak_signal"])
def test_dash_and_underscore_are_the_same(name: str) -> None:
    assert zoo.load(name).name == "weak-signal"


def test_options_reach_the_problem() -> None:
    problem = zoo.load("diabetes", depth=0, width=3, prior_sd=2.0)
    assert dict(problem.options) == {"depth": 0, "width": 3, "prior_sd": 2.0}
    assert problem.exact is not None
    assert problem.exact.depth == 0
    assert problem.with_options(depth=1).options["width"] == 3


@pytest.mark.parametrize(
    ("name", "closest"), [("diabets", "diabetes"), ("weak", "weak-signal"), ("smal_n", "small-n"), ("zzz", "logistic")]
)
def test_unknown_name_gets_suggestions(name: str, closest: str) -> None:
    with pytest.raises(sgdvi.InputError, match=closest) as caught:
        zoo.load(name)
    assert "\n" not in str(caught.value)


def test_unknown_option_names_the_options() -> None:
    with pytest.raises(sgdvi.InputError, match="has no option 'depht'.*Its options: depth, width, prior_sd"):
        zoo.load("diabetes", depht=2)


def test_template_is_a_model_that_sgd_can_run_on(tmp_path: Path, key: jax.Array) -> None:
    path = tmp_path / "my_model.py"
    path.write_text(zoo.template(), encoding="utf-8")
    problem = zoo.load(path, prior_sd=2.0)
    assert problem.options == {"prior_sd": 2.0}
    assert problem.exact is None
    sampler = sgdvi.SGD(problem.model, learning_rate=0.01, batch_size=10)
    tree = sgdvi.sample(sampler, problem.data, key=key, num_steps=200, num_chains=2, progress=False)
    for function in problem.functionals.values():
        assert np.isfinite(function(tree["posterior"].to_dataset()).values).all()


def test_a_file_of_ones_own_finds_data_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savetxt(tmp_path / "d.csv", np.column_stack([np.arange(5.0), np.arange(5.0) ** 2]), delimiter=",")
    read = "np.loadtxt(pathlib.Path(__file__).with_name('d.csv'), delimiter=',').T"
    write(tmp_path, "import pathlib\n" + linear(read))
    monkeypatch.chdir(tmp_path)
    problem = zoo.load("mine.py")
    assert problem.exact is not None
    assert problem.exact.num_data == 5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import no_such_module_here\n", "must import; got ModuleNotFoundError: No module named.*line 3"),
        ("def problem(:\n", "must import; got SyntaxError.*line 3"),
        ("import sys\nsys.exit(0)\n", "must import; got SystemExit: 0"),
        ("x = 1\n", r"must have a function problem\(\)"),
        ("problem = 3\n", r"must have a function problem\(\); got int"),
        ("def problem():\n    return 3\n", "must return a sgdvi.Problem; got a int"),
        ("def problem():\n    return 1 / 0\n", "must not fail; got ZeroDivisionError.*line 4"),
        (linear("[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]"), "x must be finite; got nan in row 2"),
        (linear("[1.0, 2.0, 3.0], [1.0, -np.inf, 3.0]"), "y must be finite; got -inf in row 1"),
        (linear("[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]"), "x must vary"),
        (linear("[1.0, 2.0], [1.0, 2.0]"), "at least 3 rows; got 2"),
        (linear("[1.0, 2.0, 3.0], [1.0, 2.0]"), "same length; got 3 and 2"),
    ],
)
def test_bad_files_are_told_in_one_line(tmp_path: Path, body: str, message: str) -> None:
    path = write(tmp_path, body)
    with pytest.raises(sgdvi.InputError, match=message) as caught:
        zoo.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


NUMPYRO = """
import numpyro
import numpyro.distributions as dist

def problem():
    def model(x, y):
        slope = numpyro.sample("slope", dist.Normal(0, 1))
        with numpyro.plate("data", len(x)):
            numpyro.sample("y", dist.Normal(slope * x, 1), obs=y)
    functionals = {FUNCTIONALS}
    return sgdvi.Problem("mine", model, DATA, functionals)
"""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("(np.array([1.0, np.nan, 2.0]), np.ones(3))", "argument 0 of the data of 'mine' must be finite.*row 1"),
        ("(np.ones(4), np.array([1.0, 2.0, 3.0, np.inf]))", "argument 1 .* must be finite; got inf in row 3"),
        ("(np.ones(2), np.ones(2))", "at least 3 rows; got 2"),
        ("(np.ones(3), np.ones(4))", r"must run with its data \(shapes \(3,\), \(4,\)\)"),
        ("(np.array(['a', 'b', 'c']), np.ones(3))", "must be numeric"),
        ("()", "at least one array"),
    ],
)
def test_data_of_a_model_of_ones_own_are_checked(tmp_path: Path, data: str, message: str) -> None:
    body = NUMPYRO.replace("DATA", data).replace("FUNCTIONALS", "'slope': lambda ds: ds['slope']")
    with pytest.raises(sgdvi.InputError, match=message) as caught:
        zoo.load(write(tmp_path, body))
    assert "\n" not in str(caught.value)


def test_a_model_without_functionals_is_refused(tmp_path: Path) -> None:
    body = NUMPYRO.replace("DATA", "(np.arange(4.0), np.ones(4))").replace("FUNCTIONALS", "")
    with pytest.raises(sgdvi.InputError, match="at least one functional"):
        zoo.load(write(tmp_path, body))


@pytest.mark.parametrize("path", ["nowhere/mine.py", "mine.py", "~/no/such/mine.py"])
def test_a_missing_file_is_told(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sgdvi.InputError, match="the model file must exist") as caught:
        zoo.load(path)
    assert re.search("mine.py", str(caught.value))


def test_a_file_that_is_not_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("hello")
    with pytest.raises(sgdvi.InputError, match=r"must be a Python file"):
        zoo.load(tmp_path / "mine.txt")


def test_data_files_by_name():
    table = zoo.table("diabetes")
    assert len(table) == 11
    assert table["progression"][:3].tolist() == [151, 75, 141]
    with pytest.raises(sgdvi.InputError, match="weak_signal"):
        zoo.table("../diabetes")
