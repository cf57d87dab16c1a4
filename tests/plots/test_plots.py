"""The figures: what they show is read off their artists; what they look like was seen."""

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from sgdvi import InputError, Moments, SGDStationary, fluctuation_maxima, phase_diagram, stationary_law
from sgdvi._internal.style.palette import LIGHT
from sgdvi.plots import COLORS, plot_fluctuations, plot_law, plot_law_panels, plot_phase_diagram, save_figure, set_style

M = Moments.linear(1.0, 1.0)
# one batch size, so that one set of programs serves all
LAW = SGDStationary(M, 0.1)


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(scope="module")
def diagram():
    return phase_diagram(M, np.linspace(0.1, 3, 12), np.linspace(0.02, 0.55, 16))


def lines(ax) -> dict:
    return {line.get_label(): line for line in ax.get_lines()}


def test_density_is_the_law(ax):
    assert plot_law(LAW, ax=ax) is ax
    line = lines(ax)["exact law"]
    v, height = line.get_data()
    assert line.get_color() == LIGHT.ink
    seen = np.isfinite(height)
    assert height[seen] == pytest.approx(np.exp(LAW.log_prob(v[seen])))
    assert "units" in ax.get_xlabel()
    assert ax.get_ylabel()


def test_cdf_and_tail(ax):
    plot_law({"one": LAW, "two": SGDStationary(M, 0.2)}, "cdf", ax=ax)
    v, mass = lines(ax)["two"].get_data()
    assert mass == pytest.approx(np.asarray(SGDStationary(M, 0.2).cdf(v)))
    other = Figure().subplots()
    plot_law({"one": LAW}, "tail", ax=other)
    guide = other.get_lines()[1]
    x, y = guide.get_data()
    assert np.polyfit(np.log10(x), y, 1)[0] == pytest.approx(-3.5)
    x, y = other.get_lines()[0].get_data()
    assert y == pytest.approx(np.asarray(LAW.log_prob(x)) / np.log(10))
    assert "3.5" in other.get_lines()[0].get_label()
    assert other.get_xscale() == "log"


def test_a_density_that_ends_has_no_power_law_drawn(ax):
    x = np.array([1.0, 1.5, 2.0])
    plot_law(stationary_law(Moments.from_data(x, 1.5 * x - 0.4 / x), 0.01), "tail", ax=ax)
    (line,) = ax.lines
    assert "no power-law tail" in line.get_label()
    heights = line.get_ydata()
    assert np.nanmax(line.get_xdata()[np.isfinite(heights)]) <= 1.5
    assert -25 < ax.get_ylim()[0] < np.nanmax(heights) < ax.get_ylim()[1]


def test_atoms_are_arrows(ax):
    plot_law(stationary_law(M, 0.1, zero_mass=0.25), ax=ax)
    assert "exact law: mass 0.25 at 0" in lines(ax)
    collapsed = plot_law_panels(stationary_law(M, 1.0))
    assert "no density" in [text.get_text() for text in collapsed.axes[2].texts]


def test_a_law_that_is_about_to_collapse_is_drawn_on_the_scale_of_the_data(ax):
    plot_law(SGDStationary(M, (1 - 1e-8) / 3), ax=ax)
    assert ax.get_xlim()[1] > 1
    assert 0 < ax.get_ylim()[1] < 1


def test_the_left_side_is_drawn_on_the_left(ax):
    plot_law(SGDStationary(M.mirror(), 0.1, sign=-1), ax=ax)
    v, height = lines(ax)["exact law"].get_data()
    assert v[np.nanargmax(height)] == pytest.approx(float(LAW.mode) * -1, abs=0.01)


def test_phase_diagram(ax, diagram):
    assert plot_phase_diagram(diagram, ax=ax, points={"a run": (1.0, 0.1)}) is ax
    shown = lines(ax)
    noise, heat = shown["Tc: above it SGD collapses"].get_data()
    assert heat == pytest.approx(1 / (2 + noise**2))
    assert shown["Tc/3: above it the density diverges at 0"].get_ydata() == pytest.approx(heat / 3)
    assert shown["a run"].get_xydata().tolist() == [[1.0, 0.1]]
    assert {"IIIb", "IIb", "IIa", "Ia", "Ib"} <= {text.get_text() for text in ax.texts}
    border = np.concatenate([line.get_xydata() for line in ax.get_lines() if line.get_color() == "#a6361c"])
    border = border[np.isfinite(border).all(axis=1)]
    at = np.argmin(abs(border[:, 0] - 1))
    assert border[at, 1] == pytest.approx((4 + np.sqrt(42)) / 52, abs=0.01)


def test_fluctuations(ax):
    plot_fluctuations(M, np.linspace(0.01, 0.33, 60), ax=ax)
    labels = list(lines(ax))
    assert "Var[v], largest at 0.61 Tc" in labels
    assert "Var[u] of one factor, largest at 0.75 Tc" in labels
    tops = [line.get_xdata() for line in ax.get_lines() if line.get_marker() == "o"]
    assert tops[0] == pytest.approx(fluctuation_maxima(M))


def test_no_setting_of_the_user_is_changed():
    before = dict(matplotlib.rcParams)
    plot_law_panels(LAW, "title")
    assert dict(matplotlib.rcParams) == before


def test_a_new_figure_is_pyplots():
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    ax = plot_law(LAW)
    assert plt.fignum_exists(ax.figure.number)
    plt.close(ax.figure)


def small_figure() -> Figure:
    figure = Figure(figsize=(2, 2))
    plot_law(LAW, ax=figure.subplots())
    return figure


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_figure_gives_the_same_bytes(tmp_path, kind):
    first, second = (save_figure(small_figure(), tmp_path / f"{name}.{kind}") for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{kind}", f"b.{kind}"]


@pytest.mark.parametrize(
    ("name", "words"), [("a.gif", "must end in"), ("a", "must end in"), ("nowhere/a.png", "folder"), (".png", "end in")]
)
def test_paths_that_cannot_be(tmp_path, name, words):
    with pytest.raises(InputError, match=words):
        save_figure(Figure(), tmp_path / name)


def test_bad_input(ax):
    with pytest.raises(InputError, match="kind"):
        plot_law(LAW, "histogram", ax=ax)
    with pytest.raises(InputError, match="1 to 6 laws"):
        plot_law({}, ax=ax)
    with pytest.raises(InputError, match="scalars"):
        plot_law(SGDStationary(M, np.array([0.1, 0.2])), ax=ax)


def test_style_for_ones_own_figures():
    with matplotlib.rc_context():
        set_style()
        line = Figure().subplots().plot([0, 1])[0]
        assert line.get_color() == COLORS["SGD"]
        assert matplotlib.rcParams["figure.facecolor"] == "white"
        assert not matplotlib.rcParams["axes.spines.top"]
    assert COLORS["exact law"] == LIGHT.ink
