"""`sgdvi law` and `sgdvi phases`: what they print, draw and refuse."""

import json
import subprocess
import sys

import numpy as np
import pytest

from sgdvi import (
    InfiniteDepthLaw,
    MetastableLaw,
    Moments,
    SecondOrderLaw,
    SGDStationary,
    fluctuation_maxima,
    phase,
)
from sgdvi.cli import main

LINE = ["--slope", "1", "--noise", "1"]
RATE = ["--learning-rate", "0.1", "--batch-size", "4"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SGDVI_CACHE", "off")


def printed(capsys, *arguments: str) -> str:
    assert main([*arguments]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments: str) -> str:
    """Return the one line that bad input gets, after checking its form and the exit status."""
    assert main([*arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("sgdvi: ")
    return err


def test_a_law_in_words(capsys):
    out = printed(capsys, "law", *LINE, "--temperature", "0.5Tc")
    assert "IIb: the stationary law is proper" in " ".join(out.split())
    law = SGDStationary(Moments.linear(1.0, 1.0), 1 / 6)
    assert f"{float(law.mean):.4g}, least squares 1" in out
    assert f"{float(law.variance) ** 0.5:.4g}" in out
    assert "0, where the density is infinite, 0.689" in out
    assert "E|v|^k exists for 0 < k < 2.5" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_law_as_json_and_picture(capsys, tmp_path):
    record = json.loads(printed(capsys, "law", *LINE, "--temperature", "0.1", "--json", "--out", "law.svg"))
    law = SGDStationary(Moments.linear(1.0, 1.0), 0.1)
    assert record["mean"] == pytest.approx(float(law.mean))
    assert record["bias"] == pytest.approx(float(law.mean) - 1)
    assert record["quantiles"]["0.95"] == pytest.approx(float(law.icdf(0.95)))
    assert record["modes"] == pytest.approx([float(law.mode)])
    assert (record["phase"], record["tail_exponent"], record["critical_temperature"]) == ("IIIb", 3.5, 1 / 3)
    assert (tmp_path / "law.svg").read_text().startswith("<?xml")


@pytest.mark.slow
def test_depths_side_by_side(capsys):
    out = printed(capsys, "law", *LINE, "--temperature", "0.3Tc", "--depth", "2", "--depths", "4,inf", "--ratio", "2")
    rows = [line.split() for line in out.splitlines()[-3:]]
    assert [row[-1] for row in rows] == ["2", "4", "∞"]
    assert [row[4] for row in rows] == ["−4", "−4.4", "−5"]
    limit = InfiniteDepthLaw(Moments.linear(1.0, 1.0), 0.1, ratio=2.0)
    assert rows[2][:2] == [f"{float(limit.mean):.4g}", f"{float(limit.variance) ** 0.5:.4g}"]


def test_the_limit_of_depth_and_the_way_to_it(capsys):
    limit = ["law", *LINE, "--temperature", "0.1", "--ratio", "0.5", "--depth", "inf", "--json"]
    record = json.loads(printed(capsys, *limit))
    law = InfiniteDepthLaw(Moments.linear(1.0, 1.0), 0.1, ratio=0.5)
    assert (record["law"], record["depth"], record["width"]) == ("infinite depth", "inf", "inf")
    assert (record["ratio"], record["tail_exponent"]) == (0.5, 5.0)
    assert record["mean"] == pytest.approx(float(law.mean))
    assert record["modes"] == pytest.approx([float(law.mode)])
    assert record["raw_moments"]["3"] == pytest.approx(float(law.moment(3)))
    assert record["raw_moments"]["4"] == "inf"
    mirrored = json.loads(printed(capsys, "law", "--slope", "-1", *limit[3:]))
    assert mirrored["mean"] == pytest.approx(-float(law.mean))
    assert mirrored["support"] == ["-inf", 0.0]
    way = json.loads(printed(capsys, *limit, "--depths", "20,200"))["compared"]
    assert [row["width"] for row in way] == [10, 100, "inf"]
    gaps = [abs(row["mean"] - float(law.mean)) for row in way]
    assert gaps[0] > 4 * gaps[1] > 0
    assert gaps[2] == pytest.approx(0.0, abs=1e-15)


def test_a_metastable_bulk(capsys):
    arguments = ["law", *LINE, "--depth", "3", "--weight-decay", "0.05", "--temperature", "0.1"]
    assert "--metastable shows the bulk" in " ".join(printed(capsys, *arguments).split())
    out = printed(capsys, *arguments[:-2], *RATE, "--metastable")
    law = MetastableLaw(Moments.linear(1.0, 1.0), 0.025, depth=3, weight_decay=0.05)
    assert f"{float(law.barrier):.4g} nats high" in out
    decades = [float(law.log_lifetime) / np.log(10), float(law.log_lifetime) / np.log(10) + 1]
    assert f"10^{decades[0]:.4g} of the flow's time, or 10^{decades[1]:.4g} steps" in out
    record = json.loads(printed(capsys, *arguments, "--metastable", "--json"))
    law = MetastableLaw(Moments.linear(1.0, 1.0), 0.1, depth=3, weight_decay=0.05)
    bulk = {"edge": law.edge, "barrier": law.barrier, "log_lifetime": law.log_lifetime}
    assert {name: record["bulk"][name] for name in bulk} == pytest.approx({k: float(v) for k, v in bulk.items()})
    assert record["bulk"]["log_steps"] is None
    # the decay of a model's own prior, which a stationary law of this depth leaves out
    own = json.loads(printed(capsys, "law", "small-n", "--depth", "2", "--metastable", "--json"))
    assert own["weight_decay"] > 0


@pytest.mark.slow
def test_the_second_order_law_beside_the_first(capsys):
    out = printed(capsys, "law", *LINE, *RATE, "--second-order")
    m = Moments.linear(1.0, 1.0)
    corrected, first = SecondOrderLaw(m, 0.025, batch_size=4), SGDStationary(m, 0.025)
    rows = {line.split("  ")[-1]: line.split() for line in out.splitlines()[-2:]}
    assert rows["second order"][0] == f"{float(corrected.mean):.4g}"
    assert rows["depth 1"][0] == f"{float(first.mean):.4g}"
    assert "collapse at T = 0.1429" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    record = json.loads(printed(capsys, "law", *LINE, *RATE, "--second-order", "--json"))
    assert record["second_order"] == {"learning_rate": 0.1, "batch_size": 4, "critical_temperature": 1 / 7}
    assert [row["law"] for row in record["compared"]] == ["second order", "stationary"]


def test_which_moments_exist_is_said(capsys):
    record = json.loads(printed(capsys, "law", *LINE, "--temperature", "0.1", "--json"))
    law = SGDStationary(Moments.linear(1.0, 1.0), 0.1)
    assert record["raw_moments"]["1"] == pytest.approx(record["mean"])
    assert record["raw_moments"]["2"] == pytest.approx(float(law.moment(2)))
    assert record["raw_moments"]["3"] == record["raw_moments"]["4"] == "inf"
    assert record["tail"] == "density ~ |v|^-3.5: E|v|^k exists for 0 < k < 2.5"
    assert "E[v³] and E[v⁴] do not exist" in printed(capsys, "law", *LINE, "--temperature", "0.1")
    # constant x²: a gamma law, all of whose moments exist
    record = json.loads(printed(capsys, "law", "--moments", *"00111", "--temperature", "0.1", "--json"))
    assert record["tail_exponent"] == "inf"
    assert "every k" in record["tail"]
    shape, rate = 4.5, 5.0
    assert record["raw_moments"]["4"] == pytest.approx(shape * (shape + 1) * (shape + 2) * (shape + 3) / rate**4)
    mirrored = json.loads(printed(capsys, "law", "--moments", *"001", "1", "-1", "--temperature", "0.1", "--json"))
    assert mirrored["raw_moments"]["3"] < 0 < mirrored["raw_moments"]["2"]


def test_data_without_noise_somewhere(capsys):
    x = np.array([-2.0, -1.0, 0.5, 1.0, 3.0])
    for c, words in ((0.3, "below v = 1.2, where"), (-0.3, "above v = 1.2, where")):
        m = Moments.from_data(x, 1.2 * x - c / x)
        moments = [repr(float(leaf)) for leaf in (m.alpha1, m.alpha2, m.alpha3, m.beta1, m.beta2)]
        out = printed(capsys, "law", "--moments", *moments, "--temperature", "0.05")
        assert words in " ".join(out.split())


def test_the_other_side_and_collapse(capsys):
    moments = [f"{x:g}" for x in (2, -2, 3, 1, -1)]
    record = json.loads(printed(capsys, "law", "--moments", *moments, "--temperature", "0.5Tc", "--json"))
    assert record["mean"] < 0
    assert record["modes"][1] == pytest.approx(-0.689, abs=1e-3)
    out = printed(capsys, "law", *LINE, "--temperature", "2Tc")
    assert "v = 0 with probability 1" in out
    assert "Ia" in out
    flat = printed(capsys, "law", "--slope", "0", "--noise", "1", "--depth", "0", "--temperature", "0.1")
    assert "infinite" not in flat
    assert "v = 1 with probability 1" in printed(capsys, "law", "--slope", "1", "--noise", "0")


def test_a_model_has_its_own_decay_and_temperature(capsys):
    rate = ["--learning-rate", "0.1", "--batch-size", "4", "--json"]
    record = json.loads(printed(capsys, "law", "small-n", *rate))
    assert record["weight_decay"] > 0
    from sgdvi import zoo

    assert record["temperature"] == pytest.approx(zoo.load("small-n").exact.temperature(0.1, 4))
    assert json.loads(printed(capsys, "law", *LINE, *rate))["temperature"] == pytest.approx(0.025)


def test_phases_in_words_and_as_json(capsys, tmp_path):
    arguments = ["phases", *LINE, "--temperature", "0.1", "--points", "12"]
    out = printed(capsys, *arguments, "--out", "phases.png")
    assert "Var[v] is largest at 0.61 Tc, Var[u] at 0.75 Tc" in out
    assert "T = 0.1 = 0.3 Tc: IIIb" in out
    assert any(
        line.split() == ["1*", "0.3333", *"IIIb 0.111 IIb 0.202 IIa 0.333 Ia".split()] for line in out.splitlines()
    )
    assert max(map(len, out.splitlines())) <= 80
    assert (tmp_path / "phases.png").stat().st_size > 10_000
    record = json.loads(printed(capsys, *arguments, "--json"))
    assert record["largest_variance_at"] == pytest.approx(list(fluctuation_maxima(Moments.linear(1.0, 1.0))))
    for row in record["rows"]:
        m = Moments.linear(1.0, row["noise"])
        edges = np.array([0.0, *row["borders"], 2 * row["borders"][-1]])
        assert phase(m, (edges[1:] + edges[:-1]) / 2).tolist() == row["phases"]


def test_phases_of_a_model_scale_its_residuals(capsys):
    record = json.loads(printed(capsys, "phases", "small-n", "--weight-decay", "0", "--json"))
    from sgdvi import zoo

    network = zoo.load("small-n").exact
    own = next(row for row in record["rows"] if row["noise"] == record["noise"])
    assert own["critical_temperature"] == pytest.approx(float(network.moments.beta2 / network.moments.alpha3))
    x, y, slope = network.x, network.y, float(network.moments.minimizer)
    assert record["noise"] == pytest.approx(np.sqrt(np.mean((y - slope * x) ** 2)))
    double = Moments.from_data(x, slope * x + 2 * (y - slope * x))
    other = next(row for row in record["rows"] if np.isclose(row["noise"], 2 * record["noise"]))
    assert other["critical_temperature"] == pytest.approx(float(double.beta2 / double.alpha3))


@pytest.mark.parametrize("command", ["law", "phases"])
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "the data must be given"),
        (["diabetes", *LINE], "exclude each other"),
        (["--slope", "1", "--noise", "1", "--moments", *"12311"], "exclude each other"),
        (["--noise", "1"], "the data must be given"),
        (["diabetes", "--noise", "1"], "--noise goes with --slope"),
        (["--slope", "1"], "--slope goes with --noise"),
        (["--slope", "1", "--noise", "-1"], "noise must be a finite number of at least 0; got -1.0"),
        (["--slope", "nan", "--noise", "1"], "slope must be finite"),
        (["--moments", *"12311"], "covariance cannot exceed"),
        (["diabtes"], "diabetes"),
        (["logistic"], "exact law"),
        ([*LINE, "--temperature", "warm"], "temperature must be a number or a multiple of Tc; got 'warm'"),
        ([*LINE, "--temperature", "-1"], "temperature must be above 0"),
        ([*LINE, "--temperature", "0.1", "--learning-rate", "0.1"], "exclude each other"),
        ([*LINE, "--learning-rate", "0.1"], "go together"),
        ([*LINE, "--batch-size", "2"], "go together"),
        ([*LINE, "--learning-rate", "0", "--batch-size", "2"], "learning_rate must be"),
        ([*LINE, "--weight-decay", "-1"], "weight_decay must be"),
        ([*LINE, "--out", "a.gif"], "must end in .png, .svg or .pdf; got 'a.gif'"),
        ([*LINE, "--out", "nowhere/a.png"], "folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(capsys, command, arguments, part):
    assert part in refused(capsys, command, *arguments)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["law", *LINE, "--depth", "-1"], "depth must be a whole number of at least 0"),
        (["law", *LINE, "--width", "0"], "width must be a whole number of at least 1"),
        (["law", *LINE, "--depths", "1,x"], "--depths must be a whole number of at least 0 or inf"),
        (["law", *LINE, "--depths", "1,inf"], "depth inf needs --ratio"),
        (["law", *LINE, "--depth", "inf", "--ratio", "0"], "ratio must be a finite number above 0"),
        (["law", *LINE, "--ratio", "1", "--width", "2"], "--width and --ratio exclude each other"),
        (["law", *LINE, "--ratio", "0.3", "--depth", "2"], "a whole width; got 0.3 * 2 = 0.6"),
        (["law", *LINE, "--depth", "inf", "--ratio", "1", "--weight-decay", "0.1"], "without weight decay only"),
        (["law", "--slope", "0", "--noise", "1", "--temperature", "1", "--depth", "inf", "--ratio", "1"], "beta2"),
        (["law", *LINE, "--metastable", "--weight-decay", "0.1"], "needs a depth of 2 or more; got depth 1"),
        (["law", *LINE, "--metastable", "--depth", "2"], "needs a weight decay above 0"),
        (["law", *LINE, "--metastable", "--depth", "2", "--weight-decay", "9"], "temperature"),
        (["law", *LINE, "--second-order"], "needs --learning-rate and --batch-size"),
        (["law", *LINE, *RATE, "--second-order", "--depth", "0"], "needs depth 1; got depth 0"),
        (["law", *LINE, *RATE, "--second-order", "--depths", "2"], "goes with neither"),
        (["law", *LINE, "--learning-rate", "9", "--batch-size", "1", "--second-order"], "for a second-order law"),
        (["law", *LINE, "--depths", "0,2,3,4,5,6"], "up to 6 depths"),
        (["law", "--slope", "0", "--noise", "1"], "critical temperature"),
        (["law", *LINE, "--depth", "a"], "--depth"),
        (["phases", *LINE, "--points", "1"], "points must be a whole number of at least 2"),
        (["phases", "--slope", "0", "--noise", "1"], "transition"),
        (["phases", *LINE, "--weight-decay", "2"], "weight decay is above"),
        (["phases", *LINE, "--noise-max", "0"], "noise_max"),
        (["phases", *LINE, "--temperature-max", "-1"], "temperature_max"),
        (["phases", "--slope", "1", "--noise", "0"], "noise"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_of_one_command(capsys, arguments, part):
    assert part in refused(capsys, *arguments)


@pytest.mark.parametrize("command", ["law", "phases"])
def test_help_needs_no_heavy_import(command):
    code = f"import sys, sgdvi.cli; sgdvi.cli.main(['{command}', '--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--moments" in done.stdout
    assert set(done.stderr.split()).isdisjoint({"jax", "numpyro", "arviz", "matplotlib", "xarray", "scipy"})
