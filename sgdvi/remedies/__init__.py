"""What to do where SGD is not the posterior: each remedy with what it changes and what it cannot."""

from sgdvi.remedies.importance import Reweighted as Reweighted
from sgdvi.remedies.importance import reweight as reweight
from sgdvi.remedies.signs import restore_signs as restore_signs
from sgdvi.remedies.table import Remedies as Remedies
from sgdvi.remedies.table import Remedy as Remedy
from sgdvi.remedies.table import remedies as remedies
