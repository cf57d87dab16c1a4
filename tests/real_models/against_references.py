"""Hold what a report of `sgdvi compare` says against reference draws, with nothing of sgdvi in the numbers.

python tests/real_models/against_references.py REPORT_FOLDER REFERENCE.nc [...pairs]

Each run's draws (draws.nc of the folder) are compared with the reference's (group "posterior"), quantity by quantity,
in NumPy alone: W1 in standard deviations of the reference, ratio of standard deviations, Kolmogorov-Smirnov distance.
What the report claims of a run (pass, fail or neither) must agree: pass only where W1 <= 0.1 and the ratio is 0.85 to
1.18; fail wherever W1 > 0.3 or the ratio is outside 0.7 to 1.4, but for fits of which it says that they have not
converged, and that their distance is therefore unknown. Disagreements are printed, and make the exit status 1.

A quantity `beta2` of the report is component 2 of the site `beta`, or the site `beta2`.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

PASS_W1, PASS_RATIO = 0.1, (0.85, 1.18)
FAIL_W1, FAIL_RATIO = 0.3, (0.7, 1.4)
# Checks on single quantities that a run must pass to be called the posterior.
CLAIMING = ("distance.w1", "distance.ks")
CONVERGENCE = "fit.convergence"
PASSING = "Within every limit on all functionals: "


@dataclass(frozen=True)
class Distance:
    """How far a run is from the reference on one quantity."""

    w1: float
    ratio: float
    ks: float

    @property
    def may_pass(self) -> bool:
        return self.w1 <= PASS_W1 and PASS_RATIO[0] <= self.ratio <= PASS_RATIO[1]

    @property
    def must_fail(self) -> bool:
        # not a number is never near
        return not (self.w1 <= FAIL_W1 and FAIL_RATIO[0] <= self.ratio <= FAIL_RATIO[1])


def distance(draws: np.ndarray, reference: np.ndarray) -> Distance:
    """W1 as the area between the distribution functions, which needs no equal numbers of draws."""
    draws, reference = np.sort(np.ravel(draws)), np.sort(np.ravel(reference))
    if not np.isfinite(draws).all():
        return Distance(np.inf, np.nan, np.nan)
    every = np.sort(np.concatenate([draws, reference]))
    gap = np.abs(
        np.searchsorted(draws, every, side="right") / draws.size
        - np.searchsorted(reference, every, side="right") / reference.size
    )
    area = float(np.sum(gap[:-1] * np.diff(every)))
    return Distance(area / reference.std(), draws.std() / reference.std(), float(gap.max()))


def quantity(sites: Mapping[str, np.ndarray], name: str) -> np.ndarray | None:
    """Return the draws of a quantity; None where the sites do not hold it."""
    if name in sites:
        return np.ravel(sites[name])
    parts = re.fullmatch(r"(.*?)(\d+)", name)
    if parts is None or parts[1] not in sites or int(parts[2]) < 1:
        return None
    values = sites[parts[1]]
    return np.ravel(values[..., int(parts[2]) - 1]) if values.ndim == 3 else None


def claims(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what a report says of each run but the reference: "pass", "fail", "neither" or "not converged"."""
    said = {}
    for run in record["runs"]:
        if run == record["reference"]:
            continue
        statuses = [f["status"] for f in record["findings"] if f["run"] == run and f["check"] in CLAIMING]
        # whatever else the verdict says of a run that is judged, its worst word counts
        own = record["verdict"]["runs"].get(run)
        if own == "pass" or (own is None and statuses and set(statuses) == {"pass"}):
            said[run] = "pass"
        else:
            said[run] = "fail" if own == "fail" or "fail" in statuses else "neither"
        fits = [f["status"] for f in record["findings"] if f["run"] == run and f["check"] == CONVERGENCE]
        if said[run] == "neither" and "unknown" in fits:
            said[run] = "not converged"
    # "completed SGD (W1 = 0.03 sd), Mandt SGD (W1 = 0.02 sd) and ...": whole names, as "SGD" is part of others
    _, _, named = record["verdict"]["sentence"].partition(PASSING)
    return said | dict.fromkeys(re.findall(r"(?:^|, | and )([^,()]+?) \(W1", named), "pass")


def disagreements(said: Mapping[str, str], measured: Mapping[str, Mapping[str, Distance]]) -> list[str]:
    """Return where claims and distances contradict each other; a claim without a distance, or none at all, does too."""
    wrong = [] if said else ["the report says nothing of any run"]
    for run, claim in said.items():
        of_run = measured.get(run, {})
        if not of_run:
            wrong.append(f"{run}: nothing was measured")
        for name, each in of_run.items():
            numbers = f"W1 {each.w1:.3f}, ratio {each.ratio:.2f}"
            if claim == "pass" and not each.may_pass:
                wrong.append(f"{run} is said to pass, but {name} has {numbers}")
            if claim not in ("fail", "not converged") and each.must_fail:
                wrong.append(f"{run} is not said to fail, but {name} has {numbers}")
    return wrong


def read_sites(tree: Any) -> dict[str, np.ndarray]:
    return {str(name): np.asarray(values.values) for name, values in tree.data_vars.items()}


def read_report(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Return the record of a report and the draws of its runs, by site."""
    record = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    with xr.open_datatree(folder / "draws.nc") as tree:
        draws = {name: read_sites(run["posterior"].to_dataset().load()) for name, run in tree.children.items()}
    return record, draws


def measure(
    names: Iterable[str], draws: Mapping[str, Mapping[str, np.ndarray]], reference: Mapping[str, np.ndarray]
) -> dict[str, dict[str, Distance]]:
    """Return run -> quantity -> distance, for the quantities that both have."""
    measured: dict[str, dict[str, Distance]] = {}
    wanted = {name: values for name in names if (values := quantity(reference, name)) is not None}
    for run, sites in draws.items():
        both = {name: (mine, values) for name, values in wanted.items() if (mine := quantity(sites, name)) is not None}
        measured[run] = {name: distance(*pair) for name, pair in both.items()}
    return measured


def hold(folder: Path, reference: Path) -> list[str]:
    """Print the table of one report and return its disagreements."""
    record, draws = read_report(folder)
    with xr.open_dataset(reference, group="posterior") as stored:
        measured = measure(record["functionals"], draws, read_sites(stored.load()))
    said = claims(record)
    print(f"{folder.name}: {record['verdict']['status']}: {record['verdict']['sentence']}")
    for run, of_run in measured.items():
        claim = said.get(run, "the reference")
        lacking = len(record["functionals"]) - len(of_run)
        note = f" ({lacking} quantities are not in both)" if lacking else ""
        worst = max(of_run.values(), key=lambda each: each.w1, default=None)
        ratios = [each.ratio for each in of_run.values()]
        if worst is not None:
            largest = max(each.ks for each in of_run.values())
            span = f"ratios {min(ratios):.2f} to {max(ratios):.2f}"
            print(f"  {run} [{claim}]: W1 {worst.w1:.3f}, {span}, KS {largest:.3f}{note}")
        for name, each in of_run.items():
            print(f"    {name}: W1 {each.w1:.3f}, ratio {each.ratio:.3f}, KS {each.ks:.3f}")
    wrong = disagreements(said, measured)
    # the reference of the report is itself held against the draws
    for name, each in measured.get(record["reference"], {}).items():
        if not each.may_pass:
            wrong.append(f"the reference {record['reference']} is off on {name}: W1 {each.w1:.3f}, {each.ratio:.2f}")
    for text in wrong:
        print(f"  DISAGREEMENT: {text}")
    return wrong


def main(arguments: list[str]) -> int:
    if not arguments or len(arguments) % 2:
        print(__doc__)
        return 2
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    wrong = [text for folder, reference in pairs for text in hold(Path(folder), Path(reference))]
    print(f"{len(wrong)} disagreements in {len(arguments) // 2} reports")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
