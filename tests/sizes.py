"""How much the slow tests try: a part, in minutes, or with SGDVI_TESTS=full all that the docs have figures of."""

import os

FULL = os.environ.get("SGDVI_TESTS") == "full"
