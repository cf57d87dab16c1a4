"""Hierarchies in the forms in which people write them: eight schools, radon in counties, batting averages."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

import sgdvi

# Rubin (1981): effects of coaching in eight schools, and their standard errors.
EFFECTS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
ERRORS = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
# Efron and Morris (1975): hits in the first 45 times at bat of 18 players of 1970.
HITS = np.array([18, 17, 16, 15, 14, 14, 13, 12, 11, 11, 10, 10, 10, 10, 10, 9, 8, 7])
AT_BAT = 45


def _of_schools() -> tuple[Any, Any]:
    return numpyro.sample("mu", dist.Normal(0, 5)), numpyro.sample("tau", dist.HalfCauchy(5))


def schools_centred(school: Any, error: Any, y: Any = None) -> None:
    """One site per school, with mean and scale as parents."""
    mu, tau = _of_schools()
    theta = numpyro.sample("theta", dist.Normal(mu, tau).expand([8]).to_event(1))
    with numpyro.plate("data", len(y)):
        numpyro.sample("y", dist.Normal(theta[school], error), obs=y)


def schools_noncentred(school: Any, error: Any, y: Any = None) -> None:
    """Standard normal sites, times the scale."""
    mu, tau = _of_schools()
    raw = numpyro.sample("raw", dist.Normal(0, 1).expand([8]).to_event(1))
    with numpyro.plate("data", len(y)):
        numpyro.sample("y", dist.Normal(mu + tau * raw[school], error), obs=y)


def schools_in_rows(error: Any, y: Any = None) -> None:
    """As textbooks have it: the latent stands in the data plate."""
    mu, tau = _of_schools()
    with numpyro.plate("data", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, error), obs=y)


def schools(form: str) -> sgdvi.Problem:
    """Eight schools: "centred", "non-centred" (both by the number of the school), "rows" or "integrated"."""
    of_mu = {"mu": lambda ds: ds["mu"], "tau": lambda ds: ds["tau"]}
    if form in ("rows", "integrated"):
        model: Any = schools_in_rows if form == "rows" else sgdvi.integrate_rows(schools_in_rows, ["theta"])
        return sgdvi.Problem(f"schools-{form}", model, (ERRORS, EFFECTS), of_mu)
    model = {"centred": schools_centred, "non-centred": schools_noncentred}[form]
    return sgdvi.Problem(f"schools-{form}", model, (np.arange(8), ERRORS, EFFECTS), of_mu)


def radon(centred: bool) -> sgdvi.Problem:
    """Houses in 12 counties, simulated: an intercept per county and the floor of the measurement."""
    rng = np.random.default_rng(3)
    counties = 12
    county = rng.integers(counties, size=300)
    floor = rng.integers(2, size=300).astype(float)
    y = 1.5 + rng.normal(0, 0.4, counties)[county] - 0.7 * floor + rng.normal(0, 0.75, 300)

    def model(county: Any, floor: Any, y: Any = None) -> None:
        mu, on_floor = numpyro.sample("mu", dist.Normal(0, 5)), numpyro.sample("on_floor", dist.Normal(0, 5))
        between = numpyro.sample("between", dist.HalfNormal(1))
        within = numpyro.sample("within", dist.HalfNormal(1))
        with numpyro.plate("counties", counties):
            if centred:
                level = numpyro.sample("level", dist.Normal(mu, between))
            else:
                level = mu + between * numpyro.sample("raw", dist.Normal(0, 1))
        with numpyro.plate("data", len(county)):
            numpyro.sample("y", dist.Normal(level[county] + on_floor * floor, within), obs=y)

    names = ("mu", "on_floor", "between", "within")
    functionals = {name: lambda ds, name=name: ds[name] for name in names}
    return sgdvi.Problem("radon", model, (county, floor, y), functionals)


def baseball(integrated: bool) -> sgdvi.Problem:
    """Batting averages: a chance per player, on the logit scale, in its row; integrated out, or by its number."""

    def of_players() -> tuple[Any, Any]:
        return numpyro.sample("mu", dist.Normal(-1, 1)), numpyro.sample("sigma", dist.HalfNormal(1))

    def in_rows(hits: Any = None) -> None:
        mu, sigma = of_players()
        with numpyro.plate("players", len(hits)):
            skill = numpyro.sample("skill", dist.Normal(mu, sigma))
            numpyro.sample("hits", dist.Binomial(AT_BAT, logits=skill), obs=hits)

    def by_number(player: Any, hits: Any = None) -> None:
        mu, sigma = of_players()
        raw = numpyro.sample("raw", dist.Normal(0, 1).expand([len(HITS)]).to_event(1))
        with numpyro.plate("players", len(hits)):
            numpyro.sample("hits", dist.Binomial(AT_BAT, logits=mu + sigma * raw[player]), obs=hits)

    functionals = {"mu": lambda ds: ds["mu"], "sigma": lambda ds: ds["sigma"]}
    if integrated:
        return sgdvi.Problem("baseball", sgdvi.integrate_rows(in_rows, ["skill"]), (jnp.asarray(HITS),), functionals)
    return sgdvi.Problem("baseball", by_number, (np.arange(len(HITS)), HITS), functionals)
