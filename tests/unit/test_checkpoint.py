"""Checkpoints: what one holds, and what is refused before anything of it is loaded."""

from __future__ import annotations

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


def test_what_is_no_folder_is_wrong_usage(tmp_path: Path) -> None:
    """A missing folder is wrong usage, an empty one a bad file."""
    with pytest.raises(UsageError):
        open_checkpoint(tmp_path / "none", Allowed())
    with pytest.raises(BadFileError, match=r"no config\.json"):
        open_checkpoint(tmp_path, Allowed())
