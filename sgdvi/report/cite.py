"""What a comparison rests on: a methods paragraph ready to paste, and BibTeX of what was used and of nothing else."""

from dataclasses import dataclass
from typing import Any

from sgdvi.diagnostics.findings import Status
from sgdvi.diagnostics.record import Record
from sgdvi.diagnostics.table import TABLE


@dataclass(frozen=True)
class Reference:
    """A work: BibTeX key, type and fields, and the kinds of runs that rest on it; checks name theirs by its key."""

    key: str
    kind: str
    fields: dict[str, str]
    runs: tuple[str, ...] = ()

    def used(self, record: Record) -> bool:
        """Whether a comparison used it: a check that applied cites it, or a run of such a kind is among the runs."""
        applied = {finding.check for finding in record.findings if finding.status is not Status.NOT_APPLICABLE}
        made_by = {record.kinds.get(run) or run.lower() for run in record.runs}
        cited = any(check.id in applied and self.key in check.cites for check in TABLE)
        return cited or any(kind in each for kind in self.runs for each in made_by)

    @property
    def text(self) -> str:
        """The work as a line of a list of references."""
        fields = self.fields
        where = fields.get("journal") or fields.get("booktitle") or ""
        numbers = " ".join(filter(None, (fields.get("volume", ""), fields.get("pages", ""))))
        link = f"arXiv:{fields['eprint']}" if "eprint" in fields else ""
        parts = [fields["author"].replace(" and ", ", "), fields["title"], f"{where} {numbers}".strip(), link]
        return ". ".join(part for part in parts if part) + f" ({fields['year']})."

    @property
    def bibtex(self) -> str:
        """The work as an entry of BibTeX."""
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in self.fields.items())
        return f"@{self.kind}{{{self.key},\n{lines}}}"


REFERENCES = (
    Reference("ziyin2025noise", "article", {
        "author": "L. Ziyin and H. Li and M. Ueda",
        "title": "Noise balance and stationary distribution of stochastic gradient descent",
        "journal": "Physical Review E", "volume": "111", "pages": "065303", "year": "2025", "eprint": "2308.06671",
    }),
    Reference("mandt2017stochastic", "article", {
        "author": "S. Mandt and M. D. Hoffman and D. M. Blei",
        "title": "Stochastic gradient descent as approximate Bayesian inference",
        "journal": "Journal of Machine Learning Research", "volume": "18", "pages": "1-35", "year": "2017",
    }, ("sgd",)),
    Reference("phan2019composable", "article", {
        "author": "D. Phan and N. Pradhan and M. Jankowiak",
        "title": "Composable effects for flexible and accelerated probabilistic programming in NumPyro",
        "journal": "arXiv", "year": "2019", "eprint": "1912.11554",
    }, ("nuts", "vi", "hmc", "sgd")),
    Reference("hoffman2014nuts", "article", {
        "author": "M. D. Hoffman and A. Gelman",
        "title": "The No-U-Turn sampler: adaptively setting path lengths in Hamiltonian Monte Carlo",
        "journal": "Journal of Machine Learning Research", "volume": "15", "pages": "1593-1623", "year": "2014",
    }, ("nuts",)),
    Reference("kucukelbir2017automatic", "article", {
        "author": "A. Kucukelbir and D. Tran and R. Ranganath and A. Gelman and D. M. Blei",
        "title": "Automatic differentiation variational inference",
        "journal": "Journal of Machine Learning Research", "volume": "18", "pages": "1-45", "year": "2017",
    }, ("vi",)),
    Reference("vehtari2021rank", "article", {
        "author": "A. Vehtari and A. Gelman and D. Simpson and B. Carpenter and P.-C. Bürkner",
        "title": "Rank-normalization, folding, and localization: an improved R-hat for assessing convergence of MCMC",
        "journal": "Bayesian Analysis", "volume": "16", "pages": "667-718", "year": "2021",
    }),
    Reference("margossian2024nested", "article", {
        "author": "C. C. Margossian and M. D. Hoffman and P. Sountsov and L. Riou-Durand and A. Vehtari and A. Gelman",
        "title": "Nested R-hat: assessing the convergence of Markov chain Monte Carlo when running many short chains",
        "journal": "Bayesian Analysis", "year": "2024", "eprint": "2110.13017",
    }),
    Reference("betancourt2017conceptual", "article", {
        "author": "M. Betancourt", "title": "A conceptual introduction to Hamiltonian Monte Carlo",
        "journal": "arXiv", "year": "2017", "eprint": "1701.02434",
    }),
    Reference("yaida2019fluctuation", "inproceedings", {
        "author": "S. Yaida", "title": "Fluctuation-dissipation relations for stochastic gradient descent",
        "booktitle": "International Conference on Learning Representations", "year": "2019", "eprint": "1810.00004",
    }),
    Reference("vehtari2024pareto", "article", {
        "author": "A. Vehtari and D. Simpson and A. Gelman and Y. Yao and J. Gabry",
        "title": "Pareto smoothed importance sampling", "journal": "Journal of Machine Learning Research",
        "volume": "25", "pages": "1-58", "year": "2024",
    }),
    Reference("facco2017estimating", "article", {
        "author": "E. Facco and M. d'Errico and A. Rodriguez and A. Laio",
        "title": "Estimating the intrinsic dimension of datasets by a minimal neighborhood information",
        "journal": "Scientific Reports", "volume": "7", "pages": "12140", "year": "2017",
    }),
    Reference("gretton2012kernel", "article", {
        "author": "A. Gretton and K. M. Borgwardt and M. J. Rasch and B. Schölkopf and A. Smola",
        "title": "A kernel two-sample test", "journal": "Journal of Machine Learning Research", "volume": "13",
        "pages": "723-773", "year": "2012",
    }),
    Reference("szekely2013energy", "article", {
        "author": "G. J. Székely and M. L. Rizzo",
        "title": "Energy statistics: a class of statistics based on distances",
        "journal": "Journal of Statistical Planning and Inference", "volume": "143", "pages": "1249-1272",
        "year": "2013",
    }),
    Reference("gorham2017measuring", "inproceedings", {
        "author": "J. Gorham and L. Mackey", "title": "Measuring sample quality with kernels",
        "booktitle": "International Conference on Machine Learning", "year": "2017", "eprint": "1703.01717",
    }),
    Reference("vehtari2017practical", "article", {
        "author": "A. Vehtari and A. Gelman and J. Gabry",
        "title": "Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC",
        "journal": "Statistics and Computing", "volume": "27", "pages": "1413-1432", "year": "2017",
    }),
)  # fmt: skip

# Sentences of the methods paragraph, each with the works that it names: left out where none of them was used.
_SENTENCES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("SGD was run on the negative log joint divided by the number of rows, and its iterates were taken as draws {}.",
     ("mandt2017stochastic",)),
    ("It was held against exact stationary laws of the stochastic gradient flow {}.", ("ziyin2025noise",)),
    ("Reference runs were made with NumPyro {}, by NUTS {}.", ("phan2019composable", "hoffman2014nuts")),
    ("Variational fits are Gaussian or flow guides in unconstrained coordinates {}.", ("kucukelbir2017automatic",)),
    ("R-hat and effective sample sizes are rank-normalised {}.", ("vehtari2021rank",)),
    ("Chains from different starts were compared by nested R-hat {}.", ("margossian2024nested",)),
    ("Stationarity of SGD was tested by the mean change over one fresh step {}.", ("yaida2019fluctuation",)),
    ("Tails and importance weights were judged by Pareto shapes {}.", ("vehtari2024pareto",)),
    ("The dimension of supports was estimated from two nearest neighbours {}.", ("facco2017estimating",)),
    ("Joint laws were compared by maximum mean discrepancy {} and energy distance {}, with null levels from "
     "permutations of blocks of draws thinned to their effective number.", ("gretton2012kernel", "szekely2013energy")),
    ("Draws were held against the exact posterior's score by the kernel Stein discrepancy {}.",
     ("gorham2017measuring",)),
    ("Predictions were compared by leave-one-out cross-validation {}.", ("vehtari2017practical",)),
)  # fmt: skip


def references_of(record: Record) -> list[Reference]:
    """Return the works that a comparison used, in the order of the list of references."""
    return [reference for reference in REFERENCES if reference.used(record)]


def bibtex(record: Record) -> str:
    """Return the BibTeX entries of what a comparison used."""
    return "\n\n".join(reference.bibtex for reference in references_of(record)) + "\n"


def methods(record: Record) -> dict[str, Any]:
    """Return the methods paragraph, its references and their BibTeX: ``text``, ``references``, ``bibtex``."""
    used = references_of(record)
    place = {reference.key: f"[{number}]" for number, reference in enumerate(used, 1)}
    sentences = [
        text.format(*(place[key] for key in keys)) for text, keys in _SENTENCES if all(key in place for key in keys)
    ]
    sentences.append("Laws were compared by quadrature where both are known, else by draws with a null level beside.")
    return {
        "text": " ".join(sentences),
        "references": [reference.text for reference in used],
        "bibtex": bibtex(record),
    }
