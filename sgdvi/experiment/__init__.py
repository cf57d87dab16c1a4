"""The whole way, as ``sgdvi compare`` does it: a problem, its runs, the comparison, the report; maps of settings."""

from sgdvi.experiment.conduct import Interrupted as Interrupted
from sgdvi.experiment.conduct import run as run
from sgdvi.experiment.folder import check_folder as check_folder
from sgdvi.experiment.plan import Plan as Plan
from sgdvi.experiment.result import Result as Result
from sgdvi.experiment.result import save_draws as save_draws
from sgdvi.experiment.stages import ALL_REFERENCES as ALL_REFERENCES
from sgdvi.experiment.stages import REFERENCES as REFERENCES
