"""Answer a task's items as a worker does; print the seconds and the choices as JSON.

answer_items.py ARTIFACT_FOLDER TASK.yaml THREADS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from edgebench.records.settings import Settings
from edgebench.sources.artifacts import find_artifacts
from edgebench.tasks.load import read_task
from edgebench.worker.runtimes import Room, get_runtime
from edgebench.worker.score.chat import Prompts
from edgebench.worker.score.likelihood import answer

folder, header, threads = sys.argv[1:]
task = read_task(Path(header))
artifact = find_artifacts([Path(folder)])[0]
session = get_runtime("llama.cpp").open(artifact, Settings(threads=int(threads)), Room(2048, 65))
start = time.perf_counter()
results, _ = answer(session, task, Prompts(session), lambda *_: None)
seconds = time.perf_counter() - start
session.close()
print(json.dumps({"seconds": seconds, "chosen": {item.id: item.chosen for item in results}}))
