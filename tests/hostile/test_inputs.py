"""Every argument of every public callable with every bad value: one line that says what must hold, or it is right."""

import inspect
import os
import types
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hostile.bad_values import BAD, DEAR, FREE, NEVER, RESULTS, good_calls
from hostile.counts import Counts
from sizes import FULL

import sgdvi

LEAST_SHARE = 0.995


def find(name: str) -> Any:
    value: Any = sgdvi
    for part in name.split("."):
        value = getattr(value, part)
    return value


def public() -> list[str]:
    """Return the callables of the table of contents that are no modules, results or errors."""
    names = [name for name in sgdvi.__all__ if not isinstance(getattr(sgdvi, name), types.ModuleType)]
    return [name for name in names if callable(getattr(sgdvi, name)) and name not in RESULTS]


def calls(good: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield callable, argument, bad value and arguments; of a callable without an entry all required ones at once."""
    for name in [*public(), *(set(good) - set(public()))]:
        arguments = good.get(name)
        if arguments is None:
            required = [
                one.name
                for one in inspect.signature(find(name)).parameters.values()
                if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
            ]
            for value, make in BAD.items() if required else ():
                yield name, "all that are required", value, {one: make() for one in required}
            continue
        for argument in arguments:
            for value, make in BAD.items():
                if (name, argument, value) in DEAR:
                    continue
                yield name, argument, value, {**arguments, argument: make()}


def outcome(name: str, argument: str, value: str, arguments: dict[str, Any]) -> tuple[str, str]:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            find(name)(**arguments)
    except sgdvi.InputError as error:
        return ("clear", "") if str(error).strip() and "; got " in str(error) else ("raw", f"InputError: {error}")
    except Exception as error:
        return "raw", f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    if value in NEVER and f"{name}.{argument}" not in FREE:
        return "silent", "taken"
    return "right", ""


def campaign(some: slice = slice(None)) -> tuple[Counts, list[str]]:
    counts, wrong = Counts(), []
    # a long campaign can be read while it runs
    with open(os.environ.get("SGDVI_HOSTILE_LIST", os.devnull), "w", encoding="utf-8") as listing:
        for number, (name, argument, value, arguments) in enumerate(list(calls(good_calls()))[some]):
            found, why = outcome(name, argument, value, arguments)
            counts[found] += 1
            if number % 100 == 0:
                jax.clear_caches()
            if found in ("raw", "silent"):
                wrong.append(f"{name}({argument}={value}): {found} {why}")
                print(wrong[-1], file=listing, flush=True)
    return counts, wrong


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_argument_with_every_bad_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    counts, wrong = campaign(slice(None, None, 1 if FULL else 4))
    with capsys.disabled():
        print("\n" + counts.report("inputs"))
    assert len(BAD) >= 25
    assert sum(counts.values()) >= 3000
    assert counts["silent"] == 0, "\n".join(line for line in wrong if ": silent" in line)
    assert counts["raw"] <= (1 - LEAST_SHARE) * sum(counts.values()), "\n".join(wrong)


def test_some_arguments_with_some_bad_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    counts, wrong = campaign(slice(None, None, 97))
    assert sum(counts.values()) > 30
    assert not wrong
