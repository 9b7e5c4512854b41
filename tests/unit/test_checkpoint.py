"""Checkpoints: what one holds, and what is refused before anything of it is loaded."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
from support.checkpoints import bare_checkpoint

from edgebench.errors import BadFileError, UsageError
from edgebench.sources.checkpoint import Allowed, open_checkpoint


def test_checkpoint_says_what_it_holds(tmp_path: Path) -> None:
    """Architecture, type and the bytes of its weights."""
    found = open_checkpoint(bare_checkpoint(tmp_path / "my model"), Allowed())
    assert (found.name, found.architecture, found.dtype) == (
        "my-model", "LlamaForCausalLM", "float32",
    )  # fmt: skip
    assert found.weights_bytes == 16


def test_pickled_weights_need_a_word(tmp_path: Path) -> None:
    """Refused with the flag; a trainer's own arguments beside safetensors are no weights."""
    folder = bare_checkpoint(tmp_path / "m")
    (folder / "training_args.bin").write_bytes(pickle.dumps([]))
    open_checkpoint(folder, Allowed())
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BadFileError, match="is a pickle") as caught:
        open_checkpoint(folder, Allowed())
    assert "--allow-pickle" in caught.value.hint
    assert open_checkpoint(folder, Allowed(pickle=True)).weights_bytes == 16


@pytest.mark.parametrize("how", ["auto_map", "tokenizer", "file"])
def test_code_of_its_own_needs_a_word(tmp_path: Path, how: str) -> None:
    """auto_map in either configuration, or any .py file."""
    folder = bare_checkpoint(
        tmp_path / "m", **({"auto_map": {"AutoModel": "x.Y"}} if how == "auto_map" else {})
    )
    if how == "tokenizer":
        (folder / "tokenizer_config.json").write_text('{"auto_map": {}}')
    if how == "file":
        (folder / "modeling_x.py").touch()
    with pytest.raises(BadFileError, match="brings code of its own") as caught:
        open_checkpoint(folder, Allowed())
    assert "--allow-code" in caught.value.hint
    open_checkpoint(folder, Allowed(code=True))


@pytest.mark.parametrize(
    "config", ["", "[]", "{", '{"architectures": []}', '{"architectures": "x"}', "[" * 10_000]
)
def test_broken_configuration_is_a_bad_file(tmp_path: Path, config: str) -> None:
    """Whatever stands in config.json: one clear error."""
    folder = bare_checkpoint(tmp_path / "m")
    (folder / "config.json").write_text(config)
    with pytest.raises(BadFileError, match=r"config\.json"):
        open_checkpoint(folder, Allowed())


def test_weights_that_link_out_are_refused(tmp_path: Path) -> None:
    """A checkpoint reads nothing outside its folder."""
    folder = bare_checkpoint(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (tmp_path / "secret").write_bytes(b"x")
    (folder / "model.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(BadFileError, match="links out of the folder"):
        open_checkpoint(folder, Allowed())


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors.index.json", {"weight_map": {"a": "../secret.safetensors"}}),
        ("model.safetensors.index.json", {"weight_map": {"a": "/etc/passwd"}}),
        ("model.safetensors.index.json", {"weight_map": {"a": "x\0"}}),
        ("model.safetensors.index.json", {"weight_map": {"a": "missing.safetensors"}}),
        ("model.safetensors.index.json", {"weight_map": "x"}),
        ("model.safetensors.index.json", []),
        ("tokenizer_config.json", {"tokenizer_file": "/etc/passwd"}),
        ("tokenizer_config.json", {"vocab_file": "../secret"}),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["tokenizer.json", "/dev/zero"]}),
    ],
)
def test_files_that_name_others_outside_are_refused(
    tmp_path: Path, file: str, content: object
) -> None:
    """transformers would follow them: shards of an index, parts of a tokenizer."""
    folder = bare_checkpoint(tmp_path / "m")
    (tmp_path / "secret.safetensors").write_bytes(b"x")
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(BadFileError, match=r"outside its folder|can.t read|object"):
        open_checkpoint(folder, Allowed(pickle=True, code=True))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_files_of_a_checkpoint_are_files(tmp_path: Path, name: str) -> None:
    """A FIFO or a link to a device is not waited for."""
    for index, make in enumerate((os.mkfifo, lambda path: path.symlink_to("/dev/zero"))):
        folder = bare_checkpoint(tmp_path / f"m{index}")
        (folder / name).unlink()
        make(folder / name)
        with pytest.raises(BadFileError):
            open_checkpoint(folder)


def test_counts_beyond_all_machines_are_none(tmp_path: Path) -> None:
    """A context of 10 ** 39 tokens isn't one; 10 ** 400 isn't a number that is read."""
    folder = bare_checkpoint(tmp_path / "m", max_position_embeddings=10**39)
    assert open_checkpoint(folder).context_length == 0
    huge = bare_checkpoint(tmp_path / "h", max_position_embeddings=10**400)
    with pytest.raises(BadFileError, match="more than 40 digits"):
        open_checkpoint(huge)


def test_what_is_no_folder_is_wrong_usage(tmp_path: Path) -> None:
    """A missing folder is wrong usage, an empty one a bad file."""
    with pytest.raises(UsageError):
        open_checkpoint(tmp_path / "none", Allowed())
    with pytest.raises(BadFileError, match=r"no config\.json"):
        open_checkpoint(tmp_path, Allowed())
