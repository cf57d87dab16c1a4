"""CSV files of CmdStan and of R's posterior: what is in them is read, and what is wrong with them told in one line."""

from pathlib import Path

import numpy as np
import pytest

from sgdvi import InputError
from sgdvi.inputs import read_file

# What `write.csv` makes of draws_df, draws_array and draws_matrix of posterior 1.6, for two chains of two draws.
DATA_FRAME = """"","mu","theta[1]","theta[2]",".chain",".iteration",".draw"
"1",0.5,1,2,1,1,1
"2",0.6,1.1,2.1,1,2,2
"3",0.7,1.2,2.2,2,1,3
"4",NA,1.3,Inf,2,2,4
"""
ARRAY = """"","1.mu","2.mu","1.theta[1]","2.theta[1]","1.theta[2]","2.theta[2]"
"1",0.5,0.7,1,1.2,2,2.2
"2",0.6,NA,1.1,1.3,2.1,Inf
"""
MATRIX = """"","mu","theta[1]","theta[2]"
"1",0.5,1,2
"2",0.6,1.1,2.1
"""


def cmdstan(mu: float, *, save: bool, rows: int = 3, settings: str = "") -> str:
    """Return what CmdStan writes: 2 rows of warm-up where they are saved, `rows` draws, comments around them."""
    head = [
        "# stan_version_major = 2",
        "# method = sample (Default)",
        "#     num_samples = 3",
        "#     num_warmup = 2",
        f"#     save_warmup = {'true' if save else 'false (Default)'}",
        "#     thin = 1 (Default)",
        "#     algorithm = hmc (Default)",
        "#         engine = nuts (Default)",
        "#             max_depth = 3",
        *settings.splitlines(),
        "lp__,accept_stat__,stepsize__,treedepth__,n_leapfrog__,divergent__,energy__,mu,a.1.1,a.2.1,a.1.2,a.2.2",
    ]
    row = "-7.5,0.9,0.5,{depth},7,{diverged},8,{mu},11,21,12,22"
    warmup = [row.format(depth=1, diverged=1, mu=99)] * (2 if save else 0)
    adapted = ["# Adaptation terminated", "# Step size = 0.5", "# Diagonal elements of inverse mass matrix:", "# 1, 2"]
    draws = [row.format(depth=k + 1, diverged=k // 2, mu=mu + k) for k in range(rows)]
    return "\n".join([*head, *warmup, *adapted, *draws, "# ", "#  Elapsed Time: 0.01 seconds (Warm-up)", ""])


@pytest.mark.parametrize("save", [True, False])
def test_files_of_cmdstan_are_chains_without_their_warmup(tmp_path: Path, save: bool) -> None:
    paths = [tmp_path / f"out_{k}.csv" for k in (1, 2)]
    for path, mu in zip(paths, (0.0, 10.0), strict=True):
        path.write_text(cmdstan(mu, save=save))
    tree = read_file(paths)
    posterior, stats = tree["posterior"], tree["sample_stats"]
    np.testing.assert_array_equal(posterior["mu"], [[0, 1, 2], [10, 11, 12]])
    np.testing.assert_array_equal(posterior["a"][1, 2], [[11, 12], [21, 22]])
    assert set(posterior.data_vars) == {"mu", "a"}
    np.testing.assert_array_equal(stats["diverging"], [[False, False, True]] * 2)
    np.testing.assert_array_equal(stats["reached_max_treedepth"], [[False, False, True]] * 2)
    assert stats["lp"].values[0, 0] == -7.5
    assert posterior.attrs["kind"] == "nuts"
    assert posterior.attrs["inference_library"] == "Stan"  # whose log density leaves constants out
    # a folder of them is the same run
    assert read_file(tmp_path).identical(tree)


@pytest.mark.parametrize("lost", ["num_warmup", "Adaptation"])
def test_either_mark_tells_warmup_from_draws(tmp_path: Path, lost: str) -> None:
    lines = cmdstan(0.0, save=True).splitlines(keepends=True)
    (tmp_path / "out.csv").write_text("".join(line for line in lines if lost not in line))
    np.testing.assert_array_equal(read_file(tmp_path / "out.csv")["posterior"]["mu"], [[0, 1, 2]])


def test_fits_of_cmdstan_are_independent_draws_without_their_mean(tmp_path: Path) -> None:
    path = tmp_path / "fit.csv"
    path.write_text(
        "# method = variational\nlp__,log_p__,log_g__,mu\n# Stepsize adaptation\n0,0,0,5\n0,1,2,6\n0,1,2,7\n"
    )
    tree = read_file(path)
    np.testing.assert_array_equal(tree["posterior"]["mu"], [[6, 7]])
    assert tree["posterior"].attrs["independent"] == 1
    path.write_text("# method = optimize\nlp__,mu\n0,5\n")
    with pytest.raises(InputError, match="what an optimizer wrote"):
        read_file(path)


def test_log_likelihoods_of_rows_are_no_parameters(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("mu,log_lik[1],log_lik[2]\n1,-1,-2\n2,-3,-4\n")
    tree = read_file(tmp_path / "r.csv")
    assert list(tree["posterior"].data_vars) == ["mu"]
    np.testing.assert_array_equal(tree["log_likelihood"]["log_lik"], [[[-1, -2], [-3, -4]]])


@pytest.mark.parametrize(
    "text",
    [
        DATA_FRAME,
        ARRAY,
        DATA_FRAME.replace("\n", "\r\n"),
        DATA_FRAME.replace(",", "\t"),
        "\n".join([DATA_FRAME.splitlines()[0], *reversed(DATA_FRAME.splitlines()[1:]), ""]),
    ],
)
def test_frames_and_arrays_of_posterior_keep_their_chains(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.csv").write_bytes(text.encode())
    posterior = read_file(tmp_path / "r.csv")["posterior"]
    np.testing.assert_array_equal(posterior["mu"], [[0.5, 0.6], [0.7, np.nan]])
    np.testing.assert_array_equal(posterior["theta"], [[[1, 2], [1.1, 2.1]], [[1.2, 2.2], [1.3, np.inf]]])


def test_a_matrix_of_posterior_is_one_chain(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(MATRIX)
    (tmp_path / "table.csv").write_text(MATRIX.replace('"",', "", 1).replace(",", "\t"))  # as write.table does
    (tmp_path / "comma.csv").write_text(MATRIX.replace(",", ";").replace(".", ","))  # as write.csv2 does
    posterior = read_file(tmp_path / "r.csv")["posterior"]
    np.testing.assert_array_equal(posterior["theta"], [[[1, 2], [1.1, 2.1]]])
    for other in ("table.csv", "comma.csv"):
        assert read_file(tmp_path / other)["posterior"].identical(posterior)


@pytest.mark.parametrize(
    ("header", "shapes"),
    [
        ("theta.1.1,theta.1.2,theta.1.3", {"theta": (1, 3)}),
        ('"theta[1,1]","theta[2,1]","theta[1,2]","theta[2,2]"', {"theta": (2, 2)}),
        ('"w[0, 0]","w[0, 1]"', {"w": (1, 2)}),
        ("theta.1.,theta.2.", {"theta": (2,)}),
        ("beta.x,beta.y", {"beta.x": (), "beta.y": ()}),
        ("theta[1],theta[3]", {"theta[1]": (), "theta[3]": ()}),
        ("theta,theta.1", {"theta": (), "theta.1": ()}),
        ("iter__,mu", {"mu": ()}),
        ("0.weight,b", {"0.weight": (), "b": ()}),
        ("layer.0.weight,layer.1.weight", {"layer.0.weight": (), "layer.1.weight": ()}),
    ],
)
def test_names_with_places_are_put_together(tmp_path: Path, header: str, shapes: dict[str, tuple[int, ...]]) -> None:
    count = sum(int(np.prod(shape)) for shape in shapes.values()) + header.startswith("iter__")
    lines = "\n".join(",".join(str(10 * row + k) for k in range(count)) for row in range(2))
    (tmp_path / "x.csv").write_text(f"{header}\n{lines}\n")
    posterior = read_file(tmp_path / "x.csv")["posterior"]
    assert {str(name): values.shape[2:] for name, values in posterior.data_vars.items()} == shapes
    assert posterior[next(iter(shapes))].values.ravel()[0] == header.startswith("iter__")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty file"),
        ("a,b\n", "a line of names and nothing below"),
        ("1,2\n3,4\n", "no names but 1, 2"),
        ("a,b\n1,2\n3,x\n", "the text 'x' under 'b'"),
        ("a,b\n1,2\n3\n", "number of columns changed from 2 to 1"),
        ("a,a\n1,2\n3,4\n", "several columns named a"),
        (cmdstan(0.0, save=True, rows=0), "must hold all draws that it says; got 0 of 3"),
        (cmdstan(0.0, save=False, rows=2), "2 of 3: a run that was stopped"),
        (cmdstan(0.0, save=False).rpartition(",12,22")[0], "number of columns changed from 12 to 10"),
        (".chain,.iteration\n1,1\n1,2\n", "must have a column that is no count"),
        (DATA_FRAME + '"5",1,1,1,2,3,5\n', "chains of 2 and 3 draws. Cut all chains to 2 draws"),
        ("lp__\n1\n2\n", "must have a column that is no statistic"),
        ("\xff\x00", "must be a CSV file"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=words) as caught:
        read_file(tmp_path / "x.csv")
    assert "\n" not in str(caught.value)
    assert "; got " in str(caught.value)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("a,c\n1,2\n3,4\n", "must have the same variables; got b, c in only one of 1.csv and 2.csv"),
        ("a,b\n1,2\n", "chains of 1 and 2 draws"),
        ("a,b.1,b.2\n1,2,3\n4,5,6\n", "'b' must have the same shape in all files"),
    ],
)
def test_files_that_are_no_chains_of_one_run_are_told_apart(tmp_path: Path, other: str, words: str) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "2.csv").write_text(other)
    with pytest.raises(InputError, match=words):
        read_file([tmp_path / "1.csv", tmp_path / "2.csv"])
