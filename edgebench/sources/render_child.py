"""A process that renders templates for another, in so much memory and processor time.

Knows its limits, which come first on stdin, and the templates it was told, a line a request. The
kernel ends it where its time is used up, whatever it is doing then.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgebench.errors import BadFileError
from edgebench.guardian import die_with
from edgebench.sources.sandbox import compiled

Rendering = Callable[[Mapping[str, Any]], str]


def main() -> None:
    """Answer requests until stdin ends, or whoever asks."""
    die_with(os.getppid(), signal.SIGKILL)
    limits = json.loads(sys.stdin.readline())
    _limit_memory(limits["bytes"])
    most_s: float = limits["most_s"]
    left_s = most_s
    templates: dict[int, Rendering] = {}
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, max(left_s, 1e-3))  # SIGPROF ends the process
        reply = _reply(request, templates)
        left_s = min(most_s, signal.getitimer(signal.ITIMER_PROF)[0] + limits["each_s"])
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


def _limit_memory(more_bytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _reply(request: dict[str, Any], templates: dict[int, Rendering]) -> dict[str, str]:
    number = request["template"]
    try:
        if number not in templates:
            templates[number] = compiled(request["source"], request["what"], request["chat"])
        return {"text": templates[number](request["values"])}
    except BadFileError as error:
        return {"error": error.message}
    except MemoryError:
        return {"error": f"{request['what']} can't be rendered: it takes too much memory"}


if __name__ == "__main__":
    main()
