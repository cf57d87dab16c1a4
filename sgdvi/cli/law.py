"""``sgdvi law``: one exact law in numbers and in a figure."""

import json
from math import log10
from typing import Any

import click

from sgdvi.cli._source import Source, find_source, find_temperature, run_options, source_options

DEFAULT_TEMPERATURE = "0.2Tc"
MOST_DEPTHS = 6
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@click.command(short_help="Print and draw an exact stationary law of SGD.")
@source_options
@click.option("--depth", type=int, help="Depth D; 0 is regression.  [default: the model's, else 1]")
@click.option("--width", type=int, help="Width d.  [default: the model's, else 1]")
@run_options
@click.option("--weight-decay", type=float, metavar="GAMMA", help="Of the loss.  [default: the model's prior, else 0]")
@click.option("--depths", metavar="LIST", help="Compare depths at the same temperature: 0,1,2,5.")
@click.option("--out", type=click.Path(), metavar="FILE", help="Draw density, cdf and tail: .png, .svg or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def law(**options: Any) -> None:
    """Print the exact stationary law of SGD: regime, mean, spread, modes, quantiles, tail, bias.

    The data are those of MODEL (`sgdvi models` lists them), or five --moments, or a line with --slope and --noise.
    Without --temperature or --learning-rate the temperature is 0.2 Tc.
    """
    from sgdvi.cli._cache import compilation_cache

    with compilation_cache(True, lambda text: click.echo(text, err=True)):
        _run(**options)


def _run(
    model: str | None,
    moments: tuple[float, ...] | None,
    slope: float | None,
    noise: float | None,
    depth: int | None,
    width: int | None,
    temperature: str | None,
    learning_rate: float | None,
    batch_size: int | None,
    weight_decay: float | None,
    depths: str | None,
    out: str | None,
    as_json: bool,
) -> None:
    from sgdvi._check import require
    from sgdvi._json import plain
    from sgdvi.laws import critical_temperature
    from sgdvi.laws.temperatures import parse_temperature
    from sgdvi.plots.canvas import check_figure_path

    if out is not None:
        check_figure_path(out)
    source = find_source(model, moments, slope, noise, depth=depth, width=width)
    # A temperature in units of Tc is in those of depth 1 at every depth, so that depths can be compared.
    critical = float(critical_temperature(source.moments, 1, source.decay(weight_decay, 1)))
    given = find_temperature(source, temperature, learning_rate, batch_size, critical)
    heat = parse_temperature(DEFAULT_TEMPERATURE, critical) if given is None else given
    if depth is None:
        depth = source.network.depth if source.network is not None else 1
    if width is None:
        width = source.network.width if source.network is not None else 1
    wanted = [depth, *(other for other in _depths(depths) if other != depth)]
    require(len(wanted) <= MOST_DEPTHS, f"there may be up to {MOST_DEPTHS} depths with that of the law", len(wanted))
    made = {d: _make(source, heat, d, width, weight_decay) for d in wanted}
    records = {d: _describe(source, made[d], d, width, heat, source.decay(weight_decay, d)) for d in wanted}
    ordered = sorted(wanted)
    if as_json:
        others = {"depths": [records[d] for d in ordered]} if depths else {}
        click.echo(json.dumps(plain(records[depth] | others), indent=2, ensure_ascii=False))
    else:
        click.echo(_text(records[depth], critical))
        if depths:
            click.echo(_comparison([records[d] for d in ordered]))
    if out is not None:
        from sgdvi.plots import plot_law_panels, save_figure

        names = {d: f"depth {d}" if depths else "exact law" for d in wanted}
        figure = plot_law_panels({names[d]: made[d] for d in wanted}, f"{source.title}; T = {heat:.4g}")
        click.echo(save_figure(figure, out), err=as_json)


def _depths(text: str | None) -> list[int]:
    from sgdvi._check import InputError, message

    parts = [part.strip() for part in text.split(",")] if text is not None else []
    if not all(part.isdecimal() for part in parts):
        rule = "--depths must be whole numbers of at least 0, with commas between"
        raise InputError(message(rule, repr(text), "Write 0,1,2,5."))
    return sorted({int(part) for part in parts})


def _make(source: Source, temperature: float, depth: int, width: int, weight_decay: float | None) -> Any:
    from sgdvi.laws import stationary_law

    return stationary_law(source.moments, temperature, depth, width, source.decay(weight_decay, depth))


def _describe(source: Source, law: Any, depth: int, width: int, temperature: float, decay: float) -> dict[str, Any]:
    """Everything that is printed, by name."""
    import numpy as np

    from sgdvi.laws import critical_temperature, nonzero_mode, phase

    m = source.moments
    side = 1.0 if float(m.beta2) >= 0 else -1.0
    label = phase(m, temperature, depth, decay)
    atoms = [(0.0, float(law.zero_mass)), (float(law.point), float(law.point_mass))]
    atoms = [(place, mass) for place, mass in atoms if mass > 0]
    proper = sum(mass for _, mass in atoms) < 1
    modes: list[float] = []
    if proper:
        away = side * float(nonzero_mode(m if side > 0 else m.mirror(), temperature, decay)) if depth == 1 else np.nan
        modes = [float(law.mode)] + ([away] if label.regime == "II" and np.isfinite(away) else [])
    slope = float(m.minimizer)
    return {
        "data": source.title,
        "moments": {name: float(value) for name, value in vars(m).items()},
        "depth": depth,
        "width": width,
        "weight_decay": decay,
        "temperature": temperature,
        "critical_temperature": float(critical_temperature(m, depth, decay)),
        "phase": str(label),
        "meaning": _meaning(label, depth, proper, float(law.zero_mass)),
        "least_squares": slope,
        "atoms": [{"at": place, "mass": mass} for place, mass in atoms],
        "mean": float(law.mean),
        "sd": float(np.sqrt(law.variance)),
        "bias": float(law.mean) - slope,
        "modes": modes,
        "quantiles": dict(zip((f"{q:g}" for q in LEVELS), map(float, law.icdf(np.array(LEVELS))), strict=True)),
        "tail_exponent": float(law.tail_exponent) if proper else None,
    }  # fmt: skip


def _meaning(label: Any, depth: int, proper: bool, zero_mass: float) -> str:
    """The regime in words."""
    if not proper and zero_mass < 1:
        return "no gradient noise at the least-squares slope: SGD stops there"
    if depth > 1 and not proper:
        return "SGD ends at zero: at depth 2 and above any weight decay makes zero attract in the end"
    if depth != 1:
        return "no transition at this depth: the law is proper at every temperature"
    away = f"; {'it has a mode' if label.has_mode else 'there is no mode'} away from zero" if proper else ""
    return f"{label}: {label.meaning}{away}"


def _text(record: dict[str, Any], critical: float) -> str:
    """The record for a person."""
    from sgdvi.cli._layout import line, num, table

    m, heat = record["moments"], record["temperature"]
    share = f" = {num(heat / critical, 3)} Tc" if 0 < critical < float("inf") else ""
    unit = f"   (Tc = {num(critical)} at depth 1)" if share else ""
    alphas = ", ".join(num(m[name]) for name in ("alpha1", "alpha2", "alpha3"))
    network = f"depth {record['depth']}, width {record['width']}, weight decay {num(record['weight_decay'])}"
    lines = [
        f"sgdvi law: {record['data']}",
        "",
        line("moments", f"α = ({alphas}), β = ({num(m['beta1'])}, {num(m['beta2'])})"),
        line("network", network),
        line("temperature", f"{num(heat)}{share}{unit}"),
        line("regime", record["meaning"]),
        "",
    ]
    ends = [f"v = {num(atom['at'])} with probability {num(atom['mass'])}" for atom in record["atoms"]]
    if record["tail_exponent"] is None:
        return "\n".join([*lines, line("law", ", ".join(ends))])
    # As many digits as tell the quantiles apart.
    values = list(record["quantiles"].values())
    largest = max(map(abs, values))
    spread = (values[-1] - values[0]) / largest if largest else 1.0
    digits = 3 + int(min(max(-log10(spread), 0.0), 3.0)) if spread > 0 else 6
    quantiles = table(
        [f"{100 * float(q):g} %" for q in record["quantiles"]],
        [[num(v if abs(v) > 1e-14 * largest else 0.0, digits) for v in values]],
    )
    return "\n".join(
        [
            *lines,
            line("mean", f"{num(record['mean'])}, least squares {num(record['least_squares'])}, "
                         f"bias {num(record['bias'], 3)}"),
            line("sd", num(record["sd"])),
            line("modes" if len(record["modes"]) > 1 else "mode", _modes(record)),
            line("tail", _tail(record)),
            "",
            "  quantiles",
            quantiles,
        ]
    )  # fmt: skip


def _modes(record: dict[str, Any]) -> str:
    from sgdvi.cli._layout import num

    diverges = record["phase"].rstrip("ab") == "II"
    return ", ".join("0, where the density is infinite" if diverges and v == 0 else num(v) for v in record["modes"])


def _tail(record: dict[str, Any]) -> str:
    from sgdvi.cli._layout import num

    exponent = record["tail_exponent"]
    if exponent == float("inf"):
        return "falls faster than any power: all moments exist"
    return f"p ~ |v|^−{num(exponent, 3)}: E|v|^k exists for k < {num(exponent - 1, 3)}"


def _comparison(records: list[dict[str, Any]]) -> str:
    """One row per depth."""
    from sgdvi.cli._layout import num, table

    rows = [
        [str(r["depth"]), num(r["mean"]), num(r["sd"]), num(r["modes"][-1]) if r["modes"] else "–",
         num(r["quantiles"]["0.5"]), "–" if r["tail_exponent"] is None else f"−{num(r['tail_exponent'], 3)}"]
        for r in records
    ]  # fmt: skip
    head = ("depth", "mean", "sd", "mode", "median", "tail power")
    return f"\n  depths at this temperature\n{table(head, rows)}"
