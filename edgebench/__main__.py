"""Start the command line: `edgebench`, and `python -m edgebench`.

Puts the search path, signals and streams in order before anything else is imported. Knows no
command.
"""

# `from __future__` would be looked for in the working folder, which comes off the path first.
import os
import sys


def _drop_working_folder() -> None:
    """Take out what `python -m` put first on the search path, unless we were found through it."""
    try:
        here = os.getcwd()
    except OSError:
        here = ""
    lies_in = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    safe = getattr(sys.flags, "safe_path", False)
    if not safe and sys.path[:1] in ([""], [here]) and lies_in != os.path.realpath(here):
        del sys.path[0]


if __name__ == "__main__":
    _drop_working_folder()


def main() -> None:
    """Run a command and exit with its code."""
    from edgebench.interrupts import Interrupts

    interrupts = Interrupts()
    from edgebench.streams import mend_streams

    mend_streams()
    from edgebench.cli import interrupted, run

    try:
        interrupts.unwind()
        code = run()
        interrupts.end(code)
    except KeyboardInterrupt as error:  # while `run` ended
        code = interrupted(error)
    if interrupts.heard:
        os._exit(code)  # threads that a library left would be waited for
    sys.exit(code)


if __name__ == "__main__":
    main()
