"""The report: a record of a comparison as one self-contained HTML page, section by section."""

import lazy_loader as _lazy

# On first use: a comparison in a terminal must not wait for the figures and templates of a page.
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
