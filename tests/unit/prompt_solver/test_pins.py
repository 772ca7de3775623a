"""A model is loaded only if every file of it is the one that was pinned."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from prompt_solver.faults import ExitCode, SolverFault
from prompt_solver.model_files import check_files, digests_of
from prompt_solver.pin import hub_folder, pin_of, read_pin

FILES = {"config.json": "0" * 64}
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "more").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "more" / "weights").write_bytes(b"\0\1")
    return folder


def fault_of(folder: Path, wanted: dict[str, str]) -> SolverFault:
    with pytest.raises(SolverFault) as caught:
        check_files(folder, wanted)
    return caught.value


def test_pinned_files_pass(model: Path) -> None:
    pinned = digests_of(model)
    assert pinned.keys() == {"config.json", "more/weights"}
    check_files(model, pinned)


def test_changed_file_is_named_with_both_hashes(model: Path) -> None:
    pinned = dict(digests_of(model))
    (model / "more" / "weights").write_bytes(b"\0\2")
    fault = fault_of(model, pinned)
    assert fault.exit_code is ExitCode.MODEL_DIFFERS
    for part in ("more/weights", pinned["more/weights"], digests_of(model)["more/weights"]):
        assert part in str(fault)


def test_file_that_no_pin_lists_is_refused(model: Path) -> None:
    pinned = dict(digests_of(model))
    (model / "generation_config.json").write_text("{}")
    fault = fault_of(model, pinned)
    assert fault.exit_code is ExitCode.MODEL_DIFFERS
    assert "generation_config.json, which its pin does not list" in str(fault)


def test_missing_file_and_missing_model_are_told_apart_from_changed_ones(model: Path) -> None:
    pinned = dict(digests_of(model))
    (model / "config.json").unlink()
    fault = fault_of(model, pinned)
    assert fault.exit_code is ExitCode.MODEL_MISSING
    assert "lacks config.json" in str(fault)
    assert fault_of(model / "nowhere", pinned).exit_code is ExitCode.MODEL_MISSING


def test_links_are_followed_as_the_model_hubs_cache_has_them(tmp_path: Path, model: Path) -> None:
    snapshot = hub_folder("owner/name", REVISION, tmp_path)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to(os.path.relpath(model / "config.json", snapshot))
    assert snapshot == tmp_path / "models--owner--name" / "snapshots" / REVISION
    assert digests_of(snapshot) == {"config.json": digests_of(model)["config.json"]}


def test_pin_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    for named in ({"folder": "/model"}, {"id": "owner/name", "revision": REVISION}):
        pin = pin_of({**named, "files": FILES, "max_new_tokens": 7}, "here")
        (tmp_path / "pin.json").write_text(pin.to_json())
        assert read_pin(tmp_path / "pin.json") == pin


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"temperature": 1}, "unknown key temperature"),
        ({"folder": "model"}, "an absolute path"),
        ({"folder": ""}, "an absolute path"),
        ({"id": "owner/name", "revision": REVISION}, "names no model, or two"),
        ({"folder": None, "id": "owner/name"}, "names no model, or two"),
        ({"folder": None, "id": "../name", "revision": REVISION}, "owner/name"),
        ({"folder": None, "id": "owner/name", "revision": "main"}, "40 hexadecimal digits"),
        ({"files": {}}, "a SHA-256 for each file"),
        ({"files": {"config.json": "abc"}}, "a SHA-256 for each file"),
        ({"files": {"../config.json": "0" * 64}}, "a SHA-256 for each file"),
        ({"files": None}, "no key files"),
        ({"engine": "oracle"}, "one of transformers, vllm"),
        ({"engine": "vllm"}, "made for cuda alone"),
        ({"device": "tpu"}, "cpu or cuda"),
        ({"dtype": "int4"}, "one of float32"),
        ({"max_new_tokens": 0}, "a whole number from 1 to 2048"),
        ({"threads": True}, "a whole number from 1"),
        ({"seed": 1.5}, "a whole number from 0"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_value_that_cannot_be_is_named(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    whole = {"folder": "/model", "files": FILES} | changes
    path = tmp_path / "pin.json"
    path.write_text(json.dumps({key: value for key, value in whole.items() if value is not None}))
    with pytest.raises(SolverFault) as caught:
        read_pin(path)
    assert caught.value.exit_code is ExitCode.BAD_PIN
    assert why in str(caught.value)
    assert "python3 -m prompt_solver pin" in str(caught.value)


@pytest.mark.parametrize("body", [None, b"{", b"[]"])
def test_file_that_is_no_pin_is_refused(tmp_path: Path, body: bytes | None) -> None:
    if body is not None:
        (tmp_path / "pin.json").write_bytes(body)
    with pytest.raises(SolverFault, match=r"pin\.json") as caught:
        read_pin(tmp_path / "pin.json")
    assert caught.value.exit_code is ExitCode.BAD_PIN
