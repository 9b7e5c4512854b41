"""What Ctrl-C and the signals that end a program do to the command, from its start to its end.

Before there is anything to put away, they end it at once. Later the first one unwinds the command,
so that what was measured is stored and no half file is left; where that takes too long, as with a
library that waits for its threads, the process leaves all the same. Workers end with it, by the
kernel's word. Knows no command. Loads little: before it has, Ctrl-C ends in a traceback.
"""

from __future__ import annotations

import os
import signal
import time

LINE = "interrupted; what was finished is stored"
UNWIND_S = 1.7  # a person who typed Ctrl-C waits two seconds
SAME_S = 1.0  # two that come together are meant as one
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The command was told to end; the exit code is what a shell has for that signal."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(LINE)
        self.exit_code = exit_code


class Interrupts:
    """The signals that end this process, and what is done on them by now."""

    def __init__(self) -> None:
        self._unwinds = False
        self._exit_code: int | None = None
        self._first_s = 0.0
        for number in _ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and a shell's `&` have it
                signal.signal(number, self._hear)
        signal.signal(signal.SIGALRM, self._leave)

    @property
    def heard(self) -> bool:
        """Return whether one of them came."""
        return self._exit_code is not None

    def unwind(self) -> None:
        """From here on, raise Interrupted where the command is, once."""
        self._unwinds = True

    def end(self, exit_code: int) -> None:
        """From here on, end at once with the command's own code: it has done its work."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in _ENDING:
            signal.signal(number, lambda _number, _frame: os._exit(exit_code))

    def _hear(self, number: int, frame: object) -> None:
        if self._exit_code is None:
            self._exit_code = 128 + number
            self._first_s = time.monotonic()
            if self._unwinds:
                signal.setitimer(signal.ITIMER_REAL, UNWIND_S)
                raise Interrupted(self._exit_code)
            self._leave(number, frame)
        if time.monotonic() > self._first_s + SAME_S:
            self._leave(number, frame)

    def _leave(self, _number: int, _frame: object) -> None:
        try:
            os.write(2, f"{LINE}\n".encode())
        finally:
            os._exit(self._exit_code or 128 + signal.SIGINT)
