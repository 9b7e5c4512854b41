"""Right task files and a right devices.yaml, of every kind of field, to start mutants from."""

from __future__ import annotations

from typing import Any

import yaml

TASKS: list[dict[str, Any]] = yaml.safe_load(r"""
- {name: quiz, data: x.jsonl, schema: multiple_choice, metric: acc, limit: 12,
   prompt: "Q: {{ context }}\nA:", fewshot: {count: 1}, cluster: "{{ topic }}"}
- {name: sums, data: x.jsonl, schema: generation, prompt: "{{ context }}", stop: ["\n"],
   answer_pattern: '(-?\d+)', max_tokens: 20, chat: true}
- {name: ends, data: x.jsonl, schema: completion, delimiter: " "}
- {name: far, data: x.jsonl, schema: text, chunks: 8}
""")
ROWS: dict[str, dict[str, Any]] = yaml.safe_load("""
multiple_choice: {id: a, context: c, choices: [x, y], gold: 0, topic: t}
generation: {id: a, context: 2 + 2, target: "4", targets: ["4"]}
completion: {id: a, context: To be or not to, target: be}
text: {id: a, text: "To be or not to be, that is the question."}
""")
ROWS["text"]["text"] *= 20  # longer than a chunk
REGISTRY: dict[str, Any] = yaml.safe_load("""
devices:
  cpu: {kind: cpu, description: mine, settings: {threads: 2, batch: 512}}
  bench:
    {kind: board, family: jetson, match: [NVIDIA], match_cpu: [AMD], cpu: 6x A78, gpu: ampere,
     soc: x, memory_gib: 8, bandwidth_gb_s: {7W: 68, 15W: 68}, peak_tops: {int8: 33},
     sensors: [ina], extras: [gguf], host: me@192.0.2.7, settings: {gpu_layers: -1}}
""")
