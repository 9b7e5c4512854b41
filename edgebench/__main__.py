"""Start the command line: `edgebench`, and `python -m edgebench`.

Puts the search path, signals and streams in order before anything else is imported. Knows no
command.
"""

# All of these are loaded by now or built in. Another module, even `__future__`, would be looked for
# in the working folder; and until SIGINT has its handler, Ctrl-C ends in a traceback.
import _signal  # type: ignore[import-not-found]
import os
import sys


def _end_at_once(number: int, frame: object) -> None:
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(128 + number)


if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _end_at_once)


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
