"""``horde config``: sign, check, show, as an operator calls them."""

import json
import subprocess
import sys
from pathlib import Path

from horde_agents.testing.wallets import hotkey_file


def _horde(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "horde_agents", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _settings(folder: Path, signer: str) -> Path:
    own, _ = hotkey_file(folder, "validator")
    file = folder / "validator.toml"
    file.write_text(
        f'hotkey_file = "{own}"\ndatabase_url = "sqlite:///{folder}/v.sqlite3"\n'
        f'configuration_signers = ["{signer}"]\n'
    )
    return file


def test_a_signed_file_would_apply_and_says_what_it_changes(tmp_path: Path) -> None:
    key, signer = hotkey_file(tmp_path, "owner")
    knobs, signed = tmp_path / "knobs.json", tmp_path / "signed.json"
    knobs.write_text(json.dumps({"version": 2, "burn_rate": "0.1"}))
    made = _horde("config", "sign", knobs, "--hotkey-file", key, "--out", signed)
    assert (made.returncode, made.stderr) == (0, "")
    checked = _horde("config", "check", signed, "--config", _settings(tmp_path, signer.hotkey))
    assert checked.stdout == "Version 2 would apply; it changes version, burn_rate.\n"


def test_a_file_of_another_signatory_is_refused_in_one_sentence(tmp_path: Path) -> None:
    key, _ = hotkey_file(tmp_path, "owner")
    _, other = hotkey_file(tmp_path, "other")
    knobs = tmp_path / "knobs.json"
    knobs.write_text('{"version": 2}')
    knobs.write_text(_horde("config", "sign", knobs, "--hotkey-file", key).stdout)
    checked = _horde("config", "check", knobs, "--config", _settings(tmp_path, other.hotkey))
    assert checked.returncode == 2
    assert "is not named in the setting configuration_signers" in checked.stderr


def test_wrong_knobs_are_not_signed(tmp_path: Path) -> None:
    key, _ = hotkey_file(tmp_path, "owner")
    knobs = tmp_path / "knobs.json"
    knobs.write_text('{"version": 2, "burn_rat": "1"}')
    refused = _horde("config", "sign", knobs, "--hotkey-file", key)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Knob burn_rat is wrong" in refused.stderr


def test_what_is_in_force_is_shown_with_defaults(tmp_path: Path) -> None:
    _, signer = hotkey_file(tmp_path, "owner")
    shown = _horde("config", "show", "--config", _settings(tmp_path, signer.hotkey))
    assert json.loads(shown.stdout)["organic_s_per_point"] == 300
