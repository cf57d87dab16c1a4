"""``sgdvi law``: one exact law in numbers and in a figure."""

from typing import TYPE_CHECKING, Any

import click

from sgdvi.cli._answer import print_json
from sgdvi.cli._source import Request, check_out, data_options, output_options, read_request

if TYPE_CHECKING:
    from sgdvi.cli._law_record import Shown

DEFAULT_TEMPERATURE = "0.2Tc"
MOST_DEPTHS = 6
INFINITE = float("inf")


@click.command("law", short_help="Print and draw an exact stationary law of SGD.")
@data_options
@click.option("--depth", metavar="D", help="Depth; 0 is regression, inf the limit.  [default: the model's, else 1]")
@click.option("--width", type=int, help="Width d.  [default: the model's, else 1]")
@click.option("--ratio", type=float, metavar="R", help="Width over depth, d/D, instead of --width; for depth inf.")
@click.option("--depths", metavar="LIST", help="Compare depths at the same temperature: 0,1,2,inf.")
@click.option("--second-order", is_flag=True, help="Depth 1: correct the drift for the size of --learning-rate.")
@click.option("--metastable", is_flag=True, help="Depth 2 and above with decay: the bulk that stands before zero.")
@output_options("density, cdf and tail")
def command(**options: Any) -> None:
    """Print the exact stationary law of SGD: regime, mean, spread, modes, moments, quantiles, tail, bias.

    The data are those of MODEL (`sgdvi models` lists them), or five --moments, or a line with --slope and --noise.
    Without --temperature or --learning-rate the temperature is 0.2 Tc.
    """
    from sgdvi.cli._cache import compilation_cache

    with compilation_cache(True, lambda text: click.echo(text, err=True)):
        _run(**options)


def _run(
    depth: str | None,
    width: int | None,
    ratio: float | None,
    depths: str | None,
    second_order: bool,
    metastable: bool,
    out: str | None,
    as_json: bool,
    **data: Any,
) -> None:
    from sgdvi._internal.check import positive, require
    from sgdvi.cli._law_record import describe
    from sgdvi.cli._law_text import comparison, text
    from sgdvi.laws.multiples import parse_temperature

    check_out(out)
    own = None if depth is None else _depth("--depth", depth)
    require(width is None or ratio is None, "--width and --ratio exclude each other", "both")
    request = read_request(**data, depth=None if own == INFINITE else own, width=width)
    network, heat = request.source.network, request.temperature
    if heat is None:
        heat = parse_temperature(DEFAULT_TEMPERATURE, request.critical)
    if own is None:
        own = network.depth if network is not None else 1
    share = None if ratio is None else positive("ratio", ratio)
    units = width if width is not None else network.width if network is not None else 1
    others = [] if depths is None else sorted({_depth("--depths", part) for part in depths.split(",")} - {own})
    require(len(others) < MOST_DEPTHS, f"there may be up to {MOST_DEPTHS} depths with that of the law", 1 + len(others))
    flags = second_order + metastable + (depths is not None and second_order)
    require(flags < 2, "--second-order goes with neither --depths nor --metastable", "both")
    made = {d: _make(request, heat, d, _width(d, units, share), share, metastable) for d in [own, *others]}
    shown = [made[d] for d in sorted(made)]
    first = made[own]
    if second_order:
        first = _second_order(request, heat, own)
        shown.insert(0, first)
    records = {one.name: describe(one, request, heat) for one in shown}
    if as_json:
        rest = {} if len(shown) == 1 else {"compared": [records[one.name] for one in shown]}
        print_json(records[first.name] | rest)
    else:
        click.echo(text(records[first.name], request.critical))
        if len(shown) > 1:
            click.echo(comparison(records))
    if out is not None:
        from sgdvi.plots import plot_law_panels, save_figure

        laws = {one.name: one.law for one in [first, *(one for one in shown if one is not first)]}
        named = laws if len(shown) > 1 else {"exact law": first.law}
        click.echo(save_figure(plot_law_panels(named, f"{request.source.title}; T = {heat:.4g}"), out), err=as_json)


def _depth(option: str, text: str) -> float:
    """A depth as it is written: a whole number, or inf."""
    from sgdvi._internal.check import InputError, message

    word = text.strip().lower()
    if word == "inf":
        return INFINITE
    if not word.isdecimal():
        several = option == "--depths"
        rule = f"{option} must be a whole number of at least 0 or inf{', with commas between' * several}"
        raise InputError(message(rule, repr(text), "Write 0,1,2,inf." * several))
    return int(word)


def _width(depth: float, units: int, ratio: float | None) -> int:
    """Width of a network; with a ratio it is a share of the depth, and regression has one unit."""
    from sgdvi._internal.check import require, whole

    if ratio is None or depth in (0, INFINITE):
        return whole("width", units if ratio is None else 1, least=1)
    scaled = ratio * depth
    advice = "Choose depths at which it is, or --width."
    fits = round(scaled) >= 1 and abs(scaled - round(scaled)) < 1e-9 * scaled
    require(fits, "--ratio times the depth must be a whole width", f"{ratio:g} * {depth} = {scaled:g}", advice)
    return round(scaled)


def _make(request: Request, heat: float, depth: float, width: int, ratio: float | None, metastable: bool) -> "Shown":
    """The law of one depth."""
    from sgdvi._internal.check import InputError, message, require
    from sgdvi.cli._law_record import Shown
    from sgdvi.laws import InfiniteDepthLaw, MetastableLaw, stationary_law

    m, decay = request.source.moments, request.decay(depth, metastable)
    side = 1 if float(m.beta2) >= 0 else -1
    if metastable:
        require(
            2 <= depth < INFINITE,
            "--metastable needs a depth of 2 or more",
            f"depth {depth:g}",
            "A shallower network has a law of its own; the limit of depth has one without decay only.",
        )
        require(
            decay > 0,
            "--metastable needs a weight decay above 0",
            f"{decay:g}",
            "Without decay the law is stationary: leave --metastable out.",
        )
        bulk = MetastableLaw(m, heat, depth=int(depth), width=width, weight_decay=decay, sign=side)
        return Shown("metastable", f"depth {depth}", depth, width, decay, bulk)
    if depth < INFINITE:
        law = stationary_law(m, heat, int(depth), width, decay)
        return Shown("stationary", f"depth {depth}", depth, width, decay, law)
    if ratio is None:
        raise InputError(message("depth inf needs --ratio, the width over the depth", "none", "Write --ratio 1."))
    require(
        decay == 0,
        "depth inf has a law without weight decay only",
        f"{decay:g}",
        "At depth 2 and above any decay makes zero attract in the end.",
    )
    deep = InfiniteDepthLaw(m, heat, ratio=ratio, sign=side)
    return Shown("infinite depth", "depth ∞", depth, width, 0.0, deep, ratio=ratio)


def _second_order(request: Request, heat: float, depth: float) -> "Shown":
    """The law of depth 1 with the drift corrected."""
    from sgdvi._internal.check import InputError, message, require
    from sgdvi.cli._law_record import Shown
    from sgdvi.laws import SecondOrderLaw

    require(depth == 1, "--second-order needs depth 1", f"depth {depth:g}", "No other depth has such a law.")
    if request.batch_size is None:
        advice = "The correction grows with the rate, not with the temperature."
        raise InputError(message("--second-order needs --learning-rate and --batch-size", "neither", advice))
    m, decay = request.source.moments, request.decay(1)
    side = 1 if float(m.beta2) >= 0 else -1
    corrected = SecondOrderLaw(m, heat, batch_size=request.batch_size, weight_decay=decay, sign=side)
    return Shown("second order", "second order", 1, 1, decay, corrected)
