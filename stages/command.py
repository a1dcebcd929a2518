"""How every stage begins and ends: alone with what it writes; a fault that the user can mend is one clear message."""

import os
import sys
from collections.abc import Callable

from stages import alone, dvc_lock
from stages.files import FULL, DataError, printable


def run(main: Callable[[], None]) -> None:
    """Run a stage's main function. Exit code 1 for a DataError or a full disk, 130 for Ctrl-C."""
    try:
        alone.end_with_dvc()
        with alone.only_writer(sys.argv[1:]):
            if alone.by_dvc():
                dvc_lock.keep()
            main()
    except DataError as error:
        _stop(str(error))
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = error.filename or os.getcwd()
        _stop(f"disk full while writing {where}. Make room and run the same command again; earlier results are untouched")
    except KeyboardInterrupt:
        print("stopped. Run the same command again: it goes on where it was", file=sys.stderr)
        sys.exit(130)


def _stop(message: str) -> None:
    lines = "\n".join(printable(line) for line in message.split("\n"))  # names in it are whoever's
    print(f"error: {lines}", file=sys.stderr)
    sys.exit(1)
