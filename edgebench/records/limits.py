"""How large, long, deep and slow what comes from elsewhere may be, each limit with its reason.

The one home of these numbers: readers, records and children import them. Knows no format.
"""

from __future__ import annotations

# Files, before they are read. A reader holds a file several times over while it parses it.
SETTINGS_BYTES = 1 << 20  # devices.yaml, a task's header, a contract: people type these
JSON_BYTES = 64 << 20  # other JSON: a large tokenizer.json has 35 MB
CONFIG_BYTES = 4 << 20  # a checkpoint's config.json and tokenizer_config.json have 1 MB at most
DATA_BYTES = 64 << 20  # a task's rows; 14,042 of 500 bytes, as MMLU's, have 7 MB
DATA_ROWS = 100_000  # a row takes 2 KB when it is read, whatever it says; MMLU has 14,042
DATA_VALUES = 2_000_000  # texts, numbers and lists in them; 3 bytes of JSON take 170 when read
MANIFEST_BYTES = 4 << 20  # artifact.json: 10,000 tensors that fell back have 1 MB
LINE_BYTES = 4_000_000  # one row: a text of 16,000 tokens in Thai has 200 KB

# JSON and YAML. What a person or a library writes nests less than 10 deep.
DEPTH = 64  # far below Python's recursion limit, which whatever walks over it next would meet
DIGITS = 40  # of a whole number; Python's own limit of 4,300 makes numbers that no float can be
YAML_NODES = 50_000  # at 1 KB each; the installed registry has 500

# Texts that are rendered, in the file's own words or a model's.
RENDERED_CHARACTERS = 200_000  # of one text, as records have it (LongText)
TASK_BYTES = 100_000_000  # in memory, of all a task's texts: 12,000 of 6,000 characters take 72 MB

# Templates come from strangers, and one line of Jinja can run for ever or fill the memory.
RENDER_S = 3.0  # of processor time; 14,042 prompts as MMLU has them take 2 s on a PC
RENDER_EACH_S = 0.002  # given back for each text, so that a slow board renders 100,000 of them
CHAT_RENDER_EACH_S = 0.05  # and for each conversation; one of ChatML takes 0.1 ms
RENDER_BYTES = 512 << 20  # of address space beyond what the child begins with
RENDER_SILENCE_S = 30.0  # for a reply: the child may have to start, on a slow board, or was stopped

# Regular expressions of task files can take time that grows exponentially with the text.
PATTERN_S = 2.0  # of processor time; GSM8K's takes 10 us for one text
PATTERN_EACH_S = 0.005  # given back for each text, so that a million of them have their time

# What is kept of a text of unknown length.
LABEL_CHARACTERS = 1_000  # of a cluster's name, which each answer of a stored run carries
ANSWER_CHARACTERS = 1_000  # of an answer that a model gave: a number, a name, a short sentence
REASON_CHARACTERS = 1_000  # of why something was left out
MESSAGE_CHARACTERS = 300  # of somebody else's words in a line of ours
NAME_CHARACTERS = 10_000  # of a name, a path, an answer: what is longer is refused
TOLD_CHARACTERS = 5_000  # of a reason or a warning, joined of others: what is longer is cut

# Numbers in records. What is reckoned with them (squares, ratios, sums) stays a number then.
LARGEST_WHOLE = 2**62  # bytes, tokens, nanoseconds: differences of two are still of 64 bits
LARGEST_REAL = 1e60
SMALLEST_POSITIVE = 1e-60

# A stored run: 100 launches with their readings have 5 MB, 100,000 answers 20 MB.
RUN_BYTES = 32 << 20  # of its line; to parse one takes ten times as much
LINES_NAMED = 3  # of the lines that don't count, on stderr; the rest is counted
LINES_LISTED = 20  # of them in JSON

# A GGUF file's description; a file of gigabytes could have a billion of each.
GGUF_FIELDS = 10_000  # the richest known have 60; one takes 2 KB when it is read
GGUF_TENSORS = 100_000  # the largest models have 2,000
GGUF_TEXTS = 5_000_000  # of one array: Gemma's merges are 515,000, stepped over one by one

# What a line of JSON may hold, counted before it is parsed. A named number takes up to 200 bytes
# then, a list 64. An hour of 8 rails at 10 readings a second is 600,000 numbers.
LINE_VALUES = 3_000_000
LINE_LISTS = 1_000_000  # 100,000 answers are two each
