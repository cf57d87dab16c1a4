"""Settings of the process and of its surroundings: the same answers, or one line."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hostile.counts import Counts, environment
from hostile.writers import COMPARE, MEAN
from sizes import FULL

TOLERANCE = 1e-12
# Name -> options of Python, variables of the environment, settings of JAX, and type of the draws; None: one line.
PROCESSES: dict[str, tuple[list[str], Mapping[str, str], Mapping[str, Any], str | None]] = {
    "plain": ([], {}, {}, "float32"),
    "without assertions": (["-O"], {}, {}, "float32"),
    "warnings as errors": (["-W", "error"], {}, {}, "float32"),
    "JAX_ENABLE_X64=1": ([], {"JAX_ENABLE_X64": "1"}, {}, "float64"),
    "JAX_ENABLE_X64=0": ([], {"JAX_ENABLE_X64": "0"}, {}, "float32"),
    "four devices": ([], {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}, {}, "float32"),
    "64 bits by the user": ([], {}, {"jax_enable_x64": True}, "float64"),
    "nan and inf are errors": ([], {}, {"jax_debug_nans": True, "jax_debug_infs": True}, "float32"),
    "strict types": ([], {}, {"jax_numpy_dtype_promotion": "strict"}, "float32"),
    "coarse products": ([], {}, {"jax_default_matmul_precision": "bfloat16"}, "float32"),
    "other random numbers": ([], {}, {"jax_default_prng_impl": "rbg", "jax_legacy_prng_key": "error"}, "float32"),
    "not compiled": ([], {}, {"jax_disable_jit": True}, "float32"),
    "strict shapes": ([], {}, {"jax_numpy_rank_promotion": "raise"}, None),
    "guarded transfers": ([], {}, {"jax_transfer_guard": "disallow"}, None),
}
# Near others of the list: left to the full campaign.
TWINS = {"plain", "JAX_ENABLE_X64=0", "64 bits by the user", "strict types", "coarse products"}
# Their draws are those of the plain process.
SAME_DRAWS = {"without assertions", "warnings as errors", "JAX_ENABLE_X64=0", "four devices", "nan and inf are errors"}


def answers(options: list[str], variables: Mapping[str, str], settings: Mapping[str, Any]) -> tuple[Any, str]:
    """Return what a process answers, or the last line of its error."""
    script = str(Path(__file__).with_name("answers.py"))
    done = subprocess.run(
        [sys.executable, *options, script, json.dumps(settings)],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=600,
    )
    lines = done.stderr.strip().splitlines()
    return (json.loads(done.stdout) if done.returncode == 0 else None), (lines[-1] if lines else "")


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [line for name in one for line in differences(one[name], other[name], f"{place}/{name}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for number, pair in pairs for line in differences(*pair, f"{place}/{number}")]
    if isinstance(one, float) and isinstance(other, float):
        same = one == other or (math.isnan(one) and math.isnan(other))
        return [] if same or abs(one - other) <= TOLERANCE * max(1.0, abs(one)) else [f"{place}: {one} {other}"]
    return [] if one == other else [f"{place}: {one} {other}"]


def outcome(name: str, plain: Any) -> tuple[str, list[str]]:
    *how, kind = PROCESSES[name]
    got, line = answers(*how)
    if got is None or kind is None:
        clear = got is None and kind is None and "InputError: " in line and "; got " in line
        return ("clear", []) if clear else ("raw", [line or "it was answered"])
    wanted = {**plain, "draws": plain["draws"] if name in SAME_DRAWS else got["draws"]}
    wrong = differences(wanted, got) + differences(kind, got["draws"]["type"], "/draws/type")
    return "silent" if wrong else "right", wrong


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_settings_of_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    counts, wrong = Counts(), []
    plain, line = answers([], {}, {})
    assert plain is not None, line
    assert plain["settings that were changed"] == []
    for name in (name for name in PROCESSES if FULL or name not in TWINS):
        came, lines = outcome(name, plain)
        counts[came] += 1
        wrong += [f"{name}: {came} {text}" for text in lines]
    with capsys.disabled():
        print("\n" + counts.report("settings of the process"))
    assert not wrong, "\n".join(wrong)


NO_NETWORK = """
import socket
class Refusing(socket.socket):
    def connect(self, address):
        raise OSError(101, "Network is unreachable")
    connect_ex = connect
socket.socket = Refusing
"""
# Name -> what stands around the command, variables (None: unset), and the statuses that are right.
SURROUNDINGS: dict[str, tuple[str, Mapping[str, str | None], set[int]]] = {
    "plain": ("{}", {}, {0}),
    "20 columns, ASCII, no colours": (
        "{}",
        {"COLUMNS": "20", "NO_COLOR": "1", "TERM": "dumb", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {0},
    ),
    "no assertions": ("{}", {"PYTHONOPTIMIZE": "1"}, {0}),
    "damaged cache": ("{}", {"SGDVI_CACHE": "damaged"}, {0}),
    "no home": ("{}", {"HOME": None, "SGDVI_CACHE": None, "XDG_CACHE_HOME": "/proc/none"}, {0}),
    "home not writable": ("{}", {"HOME": "/proc/none", "SGDVI_CACHE": None, "XDG_CACHE_HOME": None}, {0}),
    "cache not writable": ("{}", {"SGDVI_CACHE": "/sys"}, {0}),
    "no network": ("{}", {"PYTHONPATH": "no-network"}, {0}),
    "no input, no errors": ("{} <&- 2>&-", {}, {0}),
    "reader ends": ("{} | true; exit ${{PIPESTATUS[0]}}", {}, {0, 141}),
    "full device": ("{} > /dev/full", {}, {2}),
}

# Near others of the list: left to the full campaign.
SIBLINGS = {"no assertions", "home not writable", "cache not writable", "no input, no errors", "reader ends"}


def surrounded(name: str, folder: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run the comparison in one of the surroundings."""
    command, variables, _ = SURROUNDINGS[name]
    chosen: dict[str, str | None] = {**environment(), "SGDVI_CACHE": str(cache), **variables}
    if name == "damaged cache":
        chosen["SGDVI_CACHE"] = str(shutil.copytree(cache, folder / "damaged"))
        for file in (folder / "damaged").iterdir():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if name == "no network":
        (folder / "sitecustomize.py").write_text(NO_NETWORK)
        chosen["PYTHONPATH"] = os.pathsep.join([str(folder), environment()["PYTHONPATH"]])
    for variable in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        chosen[variable] = None
    (folder / "mean.py").write_text(MEAN)
    return subprocess.run(
        ["bash", "-c", command.format(COMPARE.replace("sgdvi", f"{sys.executable} -m sgdvi.cli", 1))],
        env={variable: value for variable, value in chosen.items() if value is not None},
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
    )


def findings(folder: Path) -> Any:
    return json.loads((folder / "page" / "report.json").read_text(encoding="utf-8"))["findings"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_surroundings_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts, wrong, wanted = Counts(), [], None
    chosen = {name: how for name, how in SURROUNDINGS.items() if FULL or name not in SIBLINGS}
    for number, (name, (_, _, statuses)) in enumerate(chosen.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = surrounded(name, folder, tmp_path / "cache")
        written = (folder / "page" / "report.json").exists()
        got = findings(folder) if written else None
        wanted = wanted or got
        problems = differences(wanted, got) if written or done.returncode == 0 else []
        silent = bool(problems)
        if done.returncode not in statuses or "Traceback" in done.stderr:
            problems.append(f"status {done.returncode}: {done.stderr[-500:]}")
        counts["silent" if silent else "raw" if problems else "right" if written else "clear"] += 1
        wrong += [f"{name}: {line}" for line in problems]
    with capsys.disabled():
        print("\n" + counts.report("surroundings of the command"))
    assert not wrong, "\n".join(wrong)
