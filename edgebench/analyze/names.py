"""Names for the rows that stand side by side, and what tells two of one name apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edgebench.analyze.rows import Row


def names_of(rows: Sequence[Row]) -> dict[str, str]:
    """Return each row's name by its key: `m-q8_0`, and where it takes more to tell rows apart
    `m-q8_0 #3fa9c1` (two files), `m-q8_0 (4 threads)` (settings), `m-q8_0 on pi-5` (devices).
    """
    contents: dict[str, set[str]] = {}
    for row in rows:
        contents.setdefault(row.artifact.name, set()).add(row.content)
    several = len({(row.machine, row.device.name) for row in rows}) > 1
    settings = settings_apart(rows)
    places = Counter((row.machine, row.device.name, row.content) for row in rows)
    names = {}
    for row in rows:
        name = row.artifact.name
        if len(contents[name]) > 1:
            name += f" #{row.artifact.sha256[:6]}"
        if places[row.machine, row.device.name, row.content] > 1 and settings[row.key]:
            name += f" ({settings[row.key]})"
        names[row.key] = name + (f" on {row.device.name}" if several else "")
    return names


def labels_of(rows: Sequence[Row]) -> dict[str, str]:
    """Return a short name for each row by its key: its level, with the model and the settings
    where rows differ in them.
    """
    models = {row.artifact.model for row in rows}
    settings = settings_apart(rows)
    contents = Counter(row.content for row in rows)
    labels = {}
    for row in rows:
        words = [row.artifact.model] if len(models) > 1 else []
        words.append(row.level)
        if contents[row.content] > 1 and settings[row.key]:
            words.append(f"({settings[row.key]})")
        labels[row.key] = " ".join(words)
    return labels


def settings_apart(rows: Sequence[Row]) -> dict[str, str]:
    """Return, by key, what each row was set to and not all rows were: `4 threads, kv_type=q8_0`."""
    words = {row.key: [word for word in row.used.split(", ") if word] for row in rows}
    counts = Counter(word for told in words.values() for word in set(told))
    return {
        key: ", ".join(word for word in told if counts[word] < len(words))
        for key, told in words.items()
    }


def settings_shared(rows: Sequence[Row]) -> str:
    """Return what all rows were set to, in words."""
    told = [row.used.split(", ") for row in rows]
    first = told[0] if told else []
    return ", ".join(word for word in first if all(word in words for words in told))
