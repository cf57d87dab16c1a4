"""Whether a stored run is the one that goes on, and what differs where it is not."""

import json
from collections.abc import Mapping
from typing import Any

from sgdvi._internal.check import require

# Kept to be read. A sampler whose law changes gets a version of its own; so do all, should their rows change.
_TOLD = ("settings", "version of sgdvi")
_HASHES = ("model", "data", "start", "functionals")
_ADVICE = "Restore it, or give another store."


def check_same_run(then: Mapping[str, Any], now: Mapping[str, Any], store: str) -> None:
    """Check that two fingerprints are of one run: that of a store, and that of the run which is to go on.

    ``algorithm`` is the hash of a step; the texts of ``settings`` only say what differs where that does.

    Raises
    ------
    InputError
        Names what differs: the model, the data, the key, a setting, a version.
    """
    if "algorithm" not in then:  # the first format had the hash of a step before that of the sites
        step, sites = then["model"].split()
        then = {**then, "algorithm": step, "model": f"{now['model'].split()[0]} {sites}"}
    # The first version of a sampler is not written.
    versions = {name: 1 for name in {*now, *then} if name.startswith("version of the sampler")}
    now, then = {**versions, **now}, {**versions, **then}
    for name in [*now, *(then.keys() - now.keys())]:
        if name in _TOLD or then.get(name) == now.get(name):
            continue
        if name == "algorithm":
            _name_setting(json.loads(then.get("settings", "{}")), json.loads(now["settings"]), store)
            name, got = "optimizer and algorithm", f"others than those of {store}"
        elif name in _HASHES:
            got = f"another {name} than that of {store}"
        else:
            got = f"{now.get(name)!r} ({then.get(name)!r} in {store})"
        require(False, f"a stored run goes on only with the {name} that it began with", got, _ADVICE)


def _name_setting(then: Mapping[str, Any], now: Mapping[str, Any], store: str) -> None:
    """Refuse the first setting that is known of both and differs."""
    for name in sorted(then.keys() & now.keys()):
        words = name.replace("_", " ")
        got = f"another {words}: {now[name]!r} ({then[name]!r} in {store})"
        same = then[name] == now[name] or None in (then[name], now[name]) or name.endswith("_note")
        require(same, f"a stored run goes on only with the {words} that it began with", got, _ADVICE)
