"""What became of a chain."""

import enum


class ChainStatus(enum.StrEnum):
    """State of a chain at the end of a run."""

    OK = "ok"
    OVERFLOWED = "overflowed"
    COLLAPSED = "collapsed"
