"""``python -m sgdvi.cli`` is ``sgdvi``."""

import sys

from sgdvi.cli import main

sys.exit(main())
