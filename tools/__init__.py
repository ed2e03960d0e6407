"""The scripts behind the Makefile."""

import sys
from types import TracebackType


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None):
    """Say in a sentence that a tool was interrupted while it was loading."""
    if issubclass(kind, KeyboardInterrupt):
        print("Interrupted: nothing was begun.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _say
