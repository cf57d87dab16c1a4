"""Which plates stand over the rows of the data, and what a model is told that has none or latent sites in them."""

from sgdvi._internal.check import InputError, message, require
from sgdvi._internal.tree import Arguments, leading_sizes
from sgdvi.samplers.targets.plates import Description, Site

# the largest difference between rows and plate that is taken for lagged values
_MOST_LAGS = 10
_PATH = (
    "Some of such rows are no minibatch: they have no likelihood of their own. Run NUTS or variational inference on "
    "all of them; SGD can run on many independent series, one row each."
)


class LatentRows(InputError):
    """A latent site with one value per row, which `sgdvi.integrate_rows` can take out of the model.

    Attributes
    ----------
    site
        Its name.
    """

    def __init__(self, text: str, site: str) -> None:
        super().__init__(text)
        self.site = site


def data_plates(model: Description, arguments: Arguments) -> tuple[int, frozenset[str]]:
    """Return the number of rows and the names of the plates over them, among those around observed sites.

    Raises
    ------
    InputError
        If there are none; it says whether a plate is missing or the rows are not independent. If there are several
        numbers of rows.
    """
    observed = {name: site for name, site in model.sites.items() if site.kind == "observed"}
    around = {plate for site in observed.values() for plate in site.plates}
    leading = leading_sizes(arguments)
    over_rows = {name: model.sizes[name] for name in sorted(around) if model.sizes.get(name) in leading}
    if not over_rows:
        raise InputError(_no_rows(model, observed, around, leading))
    sizes = set(over_rows.values())
    advice = "Minibatches need one number of rows: keep other arrays out of the model's arguments."
    require(len(sizes) == 1, "all data plates must have the same size", over_rows, advice)
    return sizes.pop(), frozenset(over_rows)


def _no_rows(model: Description, observed: dict[str, Site], around: set[str], leading: set[int]) -> str:
    """Say why a model has no data plate: dependent rows, or a plate that is missing."""
    independent = "the rows of the data must be conditionally independent given the parameters"
    plates = ", ".join(f"{name!r} of size {model.sizes.get(name, 'unknown')}" for name in sorted(around)) or "none"
    if model.scans and around:
        advice = (
            "Write the series as rows, in one plate outside any scan: with time on the second axis of y, observe "
            "y[:, 1:] given y[:, :-1] as one event, dist.Normal(...).to_event(1)."
        )
        return message("the data plate must stand outside numpyro's scan", f"the plates {plates} inside it", advice)
    if model.scans:
        return message(independent, "a scan along the data (a time series or a hidden Markov model)", _PATH)
    for name, site in model.sites.items():
        if site.kind in ("latent", "observed") and leading & set(site.event):
            got = f"one draw of {site.law} over all of them at the site {name!r}"
            return message(independent, got, _PATH)
    for name, site in observed.items():
        shape = site.shape[: len(site.shape) - len(site.event)]
        rows = max(leading, default=0)
        if site.law == "Unit":
            advice = (
                "Put the terms of single rows, unsummed, into a plate over the rows. Terms that are no sum over rows, "
                "as those of a time series, are no minibatch: run NUTS or variational inference on them."
            )
            return message(
                "the model must have a data plate over the rows", f"numpyro.factor({name!r}) outside any", advice
            )
        size = next(iter([*(model.sizes.get(plate, 0) for plate in site.plates), *shape[:1]]), 0)
        lags = rows - size
        if 0 < lags <= _MOST_LAGS < rows:
            advice = (
                f"For an autoregression pass the lagged values as arguments of their own, such as y[{lags}:] and "
                f"y[:-{lags}], in a plate over their rows. Rows that depend on each other through latent states or "
                "errors are no minibatch: run NUTS or variational inference."
            )
            return message(
                independent, f"{size} values of {name!r} for {rows} rows: a series with {lags} lag(s)", advice
            )
    got = f"plates around observed sites: {plates}; leading sizes of the arguments: {sorted(leading) or 'none'}"
    advice = (
        'Where rows are independent given the parameters observe inside `with numpyro.plate("data", len(x)):` and pass '
        "x and y to the model as arguments; a time series or a field has no minibatches."
    )
    return message("the model must have a data plate over the rows of its arguments", got, advice)


def latent_with_rows(name: str, site: Site, rows: int, got: str) -> InputError:
    """Say of a latent site that has rows what can be done about it."""
    if rows not in site.event:
        rule = f"the latent site {name!r} must not have one value per row: a minibatch cannot move those of absent rows"
        advice = (
            f"Integrate it out: sgdvi.integrate_rows(model, sites=[{name!r}]) draws it afterwards; or sample all its "
            "values outside the data plate and pick them by the number of the row, an argument."
        )
        return LatentRows(message(rule, got, advice), name)
    rule = "the rows of the data must be conditionally independent given the parameters"
    return InputError(message(rule, f"one draw of {site.law} along them at the latent site {name!r}", _PATH))
