"""The record of a law as a person reads it."""

from math import inf, isfinite, log, log10
from typing import Any

from sgdvi.cli._layout import indented_table, line, num

_ORDINALS = {"1": "E[v]", "2": "E[v²]", "3": "E[v³]", "4": "E[v⁴]"}


def text(record: dict[str, Any], critical: float) -> str:
    """All of one law; ``critical`` is the unit of temperatures."""
    m, heat = record["moments"], record["temperature"]
    share = f" = {num(heat / critical, 3)} Tc" if 0 < critical < inf else ""
    unit = f"   (Tc = {num(critical)} at depth 1)" if share else ""
    alphas = ", ".join(num(m[name]) for name in ("alpha1", "alpha2", "alpha3"))
    lines = [
        f"sgdvi law: {record['data']}",
        "",
        line("moments", f"α = ({alphas}), β = ({num(m['beta1'])}, {num(m['beta2'])})"),
        line("network", _network(record)),
        line("temperature", f"{num(heat)}{share}{unit}"),
        line("regime", record["meaning"]),
    ]
    if "bulk" in record:
        lines += _bulk(record["bulk"])
    if record["tail_exponent"] is None:
        ends = [f"v = {num(atom['at'])} with probability {num(atom['mass'])}" for atom in record["atoms"]]
        return "\n".join([*lines, "", line("law", ", ".join(ends))])
    if noiseless := _noiseless_end(record["support"]):
        lines.append(line("support", noiseless))
    mean = f"{num(record['mean'])}, least squares {num(record['least_squares'])}, bias {num(record['bias'], 3)}"
    return "\n".join(
        [
            *lines,
            "",
            line("mean", mean),
            line("sd", num(record["sd"])),
            line("modes" if len(record["modes"]) > 1 else "mode", _modes(record)),
            line("tail", record["tail"].replace("^-", "^−").replace("density", "p")),
            line("moments of v", _raw_moments(record["raw_moments"])),
            "",
            "  quantiles",
            _quantiles(record["quantiles"]),
        ]
    )


def comparison(records: dict[str, dict[str, Any]]) -> str:
    """One row for each law."""
    rows = []
    for name, r in records.items():
        power = "–" if r["tail_exponent"] is None else f"−{num(r['tail_exponent'], 3)}"
        mode = num(r["modes"][-1]) if r["modes"] else "–"
        rows.append([num(r["mean"]), num(r["sd"]), mode, num(r["quantiles"]["0.5"]), power, name])
    head = ("mean", "sd", "mode", "median", "tail power", "law")
    return f"\n  at this temperature\n{indented_table(head, rows, left=1)}"


def _network(record: dict[str, Any]) -> str:
    decay = f"weight decay {num(record['weight_decay'])}"
    if record["ratio"] is not None:
        return f"depth ∞, width / depth = {num(record['ratio'])}, {decay}"
    run = record.get("second_order")
    rate = f", learning rate {num(run['learning_rate'])}, batch size {run['batch_size']}" if run else ""
    return f"depth {record['depth']}, width {record['width']}, {decay}{rate}"


def _bulk(bulk: dict[str, Any]) -> list[str]:
    steps = "" if bulk["log_steps"] is None else f", or {_power(bulk['log_steps'])} steps"
    return [
        line("barrier", f"{num(bulk['barrier'])} nats high, at v = {num(bulk['edge'])}"),
        line("lifetime", f"{_power(bulk['log_lifetime'])} of the flow's time{steps}"),
    ]


def _power(log_value: float) -> str:
    """A positive number by its logarithm, which may be larger than any float."""
    decades = log_value / log(10)
    return num(10**decades) if decades < 6 else f"10^{num(decades, 4)}"


def _noiseless_end(support: list[float]) -> str:
    """Say where the support ends at a v without gradient noise; nothing for a half line or the line."""
    ends = [end for end in support if isfinite(end) and end != 0]
    if not ends:
        return ""
    side = "below" if ends[0] == support[1] else "above"
    return f"{side} v = {num(ends[0])}, where there is no gradient noise"


def _raw_moments(moments: dict[str, float]) -> str:
    there = [f"{_ORDINALS[k]} = {num(value)}" for k, value in moments.items() if isfinite(value)]
    gone = [_ORDINALS[k] for k, value in moments.items() if not isfinite(value)]
    verb = "does" if len(gone) == 1 else "do"
    return ", ".join(there) + (f"; {' and '.join(gone)} {verb} not exist" if gone else "")


def _quantiles(quantiles: dict[str, float]) -> str:
    """As many digits as tell the quantiles apart."""
    values = list(quantiles.values())
    largest = max(map(abs, values))
    relative_range = (values[-1] - values[0]) / largest if largest else 1.0
    digits = 3 + int(min(max(-log10(relative_range), 0.0), 3.0)) if relative_range > 0 else 6
    cells = [num(v if abs(v) > 1e-14 * largest else 0.0, digits) for v in values]
    return indented_table([f"{100 * float(q):g} %" for q in quantiles], [cells])


def _modes(record: dict[str, Any]) -> str:
    diverges = record["modes"][0] == 0 and record["depth"] == 1
    return ", ".join("0, where the density is infinite" if diverges and v == 0 else num(v) for v in record["modes"])
