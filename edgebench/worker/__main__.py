"""`python -m edgebench.worker`: requests as JSON lines on stdin, replies on stdout, log on stderr.

Knows pipes and what this process asks of the kernel. Serves one artifact and then ends.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgebench.guardian import die_with
from edgebench.streams import mend_streams

if TYPE_CHECKING:
    from edgebench.records.messages import AnyReply


def main() -> int:
    """Answer requests until `close` or the end of stdin."""
    _prepare_process()  # before imports that take their time: the parent may end meanwhile
    from edgebench.records.messages import ProtocolError, read_request, write
    from edgebench.worker.server import Server, failed

    # A library that prints to stdout must not break the protocol: it gets stderr.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    mend_streams()  # a full disk under the log costs no case
    sys.stdout = sys.stderr

    def say(reply: AnyReply) -> None:
        replies.write(write(reply))
        replies.flush()

    server = Server(say)
    try:
        for line in sys.stdin.buffer:
            try:
                request = read_request(line)
            except ProtocolError as error:
                say(failed("failed", error))
                continue
            if not server.answer(request):
                break
    finally:
        server.close()
    return 0


def _prepare_process() -> None:
    """Let the kernel take this process first when memory ends, and end it with its parent."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        sys.stderr.write("can't raise oom_score_adj\n")
    # A parent that has ended already is seen at the end of stdin.
    die_with(os.getppid(), signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means


if __name__ == "__main__":
    sys.exit(main())
