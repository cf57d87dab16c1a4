"""Where the report comes from: command, versions, methods and references."""

from sgdvi.comparison import Comparison
from sgdvi.report._render import render
from sgdvi.report.context import Context
from sgdvi.report.section import Section

_METHODS = (
    "SGD is run on the negative log joint divided by the number of rows, minibatches drawn at every step; its "
    "iterates are taken as draws [2]. Exact stationary laws of SGD are those of the stochastic gradient flow [1]. "
    "NUTS and variational inference are those of NumPyro [3], in unconstrained coordinates. R-hat and effective "
    "sample sizes are rank-normalised [4], computed by ArviZ. Laws are compared by quadrature where both are known, "
    "else by draws with the null level of the distance beside it."
)
_REFERENCES = (
    "L. Ziyin, H. Li, M. Ueda. Noise balance and stationary distribution of stochastic gradient descent. "
    "Phys. Rev. E 111, 065303 (2025). arXiv:2308.06671.",
    "S. Mandt, M. D. Hoffman, D. M. Blei. Stochastic gradient descent as approximate Bayesian inference. "
    "JMLR 18 (134), 1-35 (2017).",
    "D. Phan, N. Pradhan, M. Jankowiak. Composable effects for flexible and accelerated probabilistic programming in "
    "NumPyro. arXiv:1912.11554 (2019).",
    "A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner. Rank-normalization, folding, and localization: an "
    "improved R-hat for assessing convergence of MCMC. Bayesian Analysis 16 (2), 667-718 (2021).",
)


def section(comparison: Comparison, context: Context) -> Section:
    """Return the last part of the page."""
    html = render(
        "provenance",
        command=context.command,
        call=context.call,
        environment=list(context.environment.items()),
        methods=_METHODS,
        references=_REFERENCES,
    )
    return Section("provenance", "Provenance", html)
