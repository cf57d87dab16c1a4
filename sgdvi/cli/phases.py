"""``sgdvi phases``: the phase diagram of depth 1, temperature against noise."""

from typing import Any

import click

from sgdvi.cli._answer import print_json
from sgdvi.cli._source import Source, check_out, data_options, output_options, read_request

# Rows of the table, in units of the data's own noise; top of the temperature axis, in units of the highest Tc.
LEVELS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
HOTTEST = 1.15


@click.command("phases", short_help="Print and draw a phase diagram: temperature against noise.")
@data_options
@click.option("--noise-max", type=float, metavar="S", help="Largest noise.  [default: three times the data's own]")
@click.option("--temperature-max", type=float, metavar="T", help="Highest temperature.  [default: 1.15 times every Tc]")
@click.option("--points", type=int, default=200, show_default=True, help="Laws along each axis.")
@click.option("--log", is_flag=True, help="Logarithmic axes, where runs far below Tc can be seen.")
@output_options("the diagram")
def command(**options: Any) -> None:
    """Print and draw in which regime SGD is at depth 1, over temperature and noise.

    The noise of the data, their residuals about the least-squares line, is scaled; x and the line stay as they are. The
    data are those of MODEL (`sgdvi models` lists them), or five --moments (noise in units of their own), or a line with
    --slope and --noise. --temperature, or --learning-rate with --batch-size, marks a run.

    Regimes: III, the density vanishes at zero; II, it diverges there; I, SGD has collapsed to zero. b: there is a mode
    away from zero; a: there is none.
    """
    from sgdvi.cli._cache import compilation_cache

    with compilation_cache(True, lambda text: click.echo(text, err=True)):
        _run(**options)


def _run(
    noise_max: float | None,
    temperature_max: float | None,
    points: int,
    log: bool,
    out: str | None,
    as_json: bool,
    **data: Any,
) -> None:
    from sgdvi._internal.check import positive, require, whole
    from sgdvi.laws import critical_temperature, phase_diagram

    check_out(out)
    points = whole("points", points, least=2)
    request = read_request(**data)
    source, critical, heat, decay = request.source, request.critical, request.temperature, request.decay(1)
    own = 1.0 if source.noise_sd is None else source.noise_sd
    require(own > 0, "the data must have noise that can be scaled", f"noise {own:g}", "Give a noise above 0.")
    # Where there is almost no noise, Tc is as high as it gets.
    quiet = float(critical_temperature(source.moments.scale_noise(0.0), 1, decay))
    advice = "The weight decay is above beta2." if decay > 0 else "Without a slope SGD collapses at every temperature."
    require(quiet > 0, "there must be a transition to draw", f"Tc = {quiet:g}", advice)
    widest = 3 * own if noise_max is None else positive("noise_max", noise_max)
    # Nearly noiseless data may have a Tc so high that the rest of the diagram would be a line.
    highest = max(min(quiet, 3 * critical) if critical > 0 else quiet, heat or 0.0)
    hottest = HOTTEST * highest if temperature_max is None else positive("temperature_max", temperature_max)
    coldest = min(critical, heat or critical) / 30
    diagram = phase_diagram(
        source.moments,
        _axis(min(own, widest) / 30, widest, points, log),
        _axis(min(coldest, hottest / 30), hottest, points, log),
        noise_sd=own,
        weight_decay=decay,
    )
    record = _describe(source, diagram, own, decay, heat)
    if as_json:
        print_json(record)
    else:
        click.echo(_text(record))
    if out is not None:
        from sgdvi._internal.style.canvas import panels
        from sgdvi.plots import plot_phase_diagram, save_figure

        name = "this run" if heat is not None else "these data, at Tc"
        mark = {name: (own, heat if heat is not None else critical)}
        with panels(1, (5.6, 4.4)) as (figure, axes):
            plot_phase_diagram(diagram, ax=axes[0], points=mark, log=log)
        click.echo(save_figure(figure, out), err=as_json)


def _axis(low: float, high: float, points: int, log: bool) -> Any:
    import numpy as np

    return np.geomspace(low, high, points) if log else np.linspace(high / points, high, points)


def _describe(source: Source, diagram: Any, own: float, decay: float, heat: float | None) -> dict[str, Any]:
    """Everything that is printed, by name."""
    import numpy as np

    from sgdvi.laws import critical_temperature, fluctuation_maxima, phase

    levels = own * np.array(LEVELS)
    rows = []
    for level in levels[(levels >= diagram.noise[0]) & (levels <= diagram.noise[-1])]:
        intervals = diagram.intervals(level)
        rows.append(
            {
                "noise": level,
                "critical_temperature": float(critical_temperature(diagram.at_noise(level), 1, decay)),
                "phases": [str(interval.phase) for interval in intervals],
                "borders": [interval.lower for interval in intervals[1:]],
            }
        )
    m, critical = source.moments, float(critical_temperature(source.moments, 1, decay))
    return {
        "data": source.title,
        "noise": own,
        "noise_unit": "the data's own" if source.noise_sd is None else "y",
        "weight_decay": decay,
        "critical_temperature": critical,
        "largest_variance_at": list(fluctuation_maxima(m, "v", weight_decay=decay)),
        "largest_factor_variance_at": list(fluctuation_maxima(m, "u", weight_decay=decay)),
        "run": None if heat is None else {"temperature": heat, "phase": str(phase(m, heat, 1, decay))},
        "rows": rows,
    }


def _text(record: dict[str, Any]) -> str:
    """The record for a person."""
    from sgdvi.cli._layout import indented_table, line, num

    critical = record["critical_temperature"]

    def places(temperatures: list[float]) -> str:
        return " and ".join(f"{num(t / critical, 2)} Tc" for t in temperatures) or "nowhere"

    lines = [f"sgdvi phases: {record['data']}", ""]
    lines.append(line("noise", f"{num(record['noise'])} (sd about the line, units of {record['noise_unit']})"))
    lines.append(line("weight decay", num(record["weight_decay"])))
    lines.append(line("collapse", f"Tc = {num(critical)}, Tc/3 = {num(critical / 3)}"))
    lines.append(line("fluctuation", f"Var[v] is largest at {places(record['largest_variance_at'])}, "
                                     f"Var[u] at {places(record['largest_factor_variance_at'])}"))  # fmt: skip
    if record["run"]:
        heat = record["run"]["temperature"]
        lines.append(line("this run", f"T = {num(heat)} = {num(heat / critical, 3)} Tc: {record['run']['phase']}"))
    rows = []
    for row in record["rows"]:
        steps = [row["phases"][0]]
        for border, phase in zip(row["borders"], row["phases"][1:], strict=True):
            steps += [f"{num(border, 3)}", phase]
        mark = "*" if row["noise"] == record["noise"] else ""
        rows.append([num(row["noise"], 3) + mark, num(row["critical_temperature"]), "  ".join(steps)])
    head = ("noise", "Tc", "regimes and the temperatures between them")
    return "\n".join([*lines, "", indented_table(head, rows, left=1), "  * these data"])
