"""How every stage ends: a fault that the user can mend is one clear message and exit code 1, not a traceback."""

import sys
from collections.abc import Callable

from stages.files import DataError


def run(main: Callable[[], None]) -> None:
    try:
        main()
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped. Run the same command again: it goes on where it was", file=sys.stderr)
        sys.exit(130)
