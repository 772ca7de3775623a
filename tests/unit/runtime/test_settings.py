"""Settings come from a file and the environment; what is unknown or wrong is refused in one sentence."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from horde_agents.runtime.settings import AgentSettings, SettingsWrong, load_settings, settings_rows


class _Peer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    host: str
    port: int = Field(ge=1, le=65535)


class _Settings(AgentSettings):
    port: int = Field(default=8000, ge=0, le=65535, description="Where it listens.")
    name: str = Field(default="", description="Any text.")
    grace_s: float = Field(default=1.5, description="How long it waits.")
    peers: tuple[_Peer, ...] = Field(default=(), description="Whom it knows.")
    guard: _Peer | None = Field(default=None, description="Whom it asks.")
    hotkeys: list[str] = Field(default_factory=list, description="Whom it serves.")
    slots: dict[str, int] = Field(default_factory=dict, description="What it keeps.")
    token: SecretStr = Field(default=SecretStr("none"), description="What nobody may see.")
    database_url: str = Field(default="", pattern="^sqlite", description="Where it stores.")
    log_level: str = Field(default="info", description="How much it says.")

    @model_validator(mode="after")
    def _not_both(self) -> "_Settings":
        if self.port == 1 and self.name == "two":
            raise ValueError("port 1 cannot be named two")
        return self


def _load(*file: Path, **environ: str) -> _Settings:
    return load_settings(_Settings, "miner", file[0] if file else None, environ)


def _file(folder: Path, text: str) -> Path:
    path = folder / "miner.toml"
    path.write_text(text)
    return path


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(tmp_path: Path) -> None:
    file = _file(tmp_path, 'port = 1\nname = "from the file"\npeers = [{host = "a", port = 2}]')
    settings = _load(file, HORDE_MINER_PORT="3", HORDE_VALIDATOR_PORT="4", PORT="5")
    assert (settings.port, settings.name, settings.grace_s) == (3, "from the file", 1.5)
    assert settings.peers[0].port == 2


@pytest.mark.parametrize("text", ["ann,bob", " ann , bob ", '["ann", "bob"]'])
def test_a_list_in_the_environment_is_json_or_has_commas(text: str) -> None:
    assert _load(HORDE_MINER_HOTKEYS=text).hotkeys == ["ann", "bob"]


def test_a_group_of_values_in_the_environment_is_json() -> None:
    assert _load(HORDE_MINER_GUARD='{"host": "a", "port": 2}').guard == _Peer(host="a", port=2)


def test_an_empty_list_may_be_written_as_nothing() -> None:
    assert _load(HORDE_MINER_HOTKEYS="").hotkeys == []


def test_a_map_in_the_environment_is_json() -> None:
    assert _load(HORDE_MINER_SLOTS='{"small": 2}').slots == {"small": 2}


@pytest.mark.parametrize("text", ["[::1]", "{braces}", "[1, 2]"])
def test_a_text_stays_the_text_it_is(text: str) -> None:
    assert _load(HORDE_MINER_NAME=text).name == text


def test_settings_do_not_change_after_start() -> None:
    with pytest.raises(ValueError, match="frozen"):
        _load().port = 1  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"HORDE_MINER_PROT": "1"}, ["'prot'", "HORDE_MINER_PROT", "did you mean 'port'?"]),
        ({"HORDE_MINER_ZZZZ": "1"}, ["'zzzz'", "known are: database_url, grace_s"]),
        ({"HORDE_MINER_PORT": "many"}, ["'port'", "HORDE_MINER_PORT", "valid integer", "'many'"]),
        ({"HORDE_MINER_PORT": "70000"}, ["'port'", "less than or equal to 65535", "'70000'"]),
        ({"HORDE_MINER_SLOTS": "small=2"}, ["HORDE_MINER_SLOTS", "no JSON", '{"a": 1}']),
        ({"HORDE_MINER_PEERS": '[{"host": "a"}]'}, ["'peers.0.port'", "HORDE_MINER_PEERS", "required"]),
        (
            {"HORDE_MINER_LOG_LEVEL": "loud"},
            ["'log_level'", "is wrong: use one of debug, info, warning, error", "'loud'"],
        ),
        (
            {"HORDE_MINER_PORT": "1", "HORDE_MINER_NAME": "two"},
            ["contradict each other: port 1 cannot be named two"],
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_place_and_the_remedy(
    environ: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(SettingsWrong) as refused:
        _load(**environ)
    for word in words:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", ["'prot'", "miner.toml", "did you mean 'port'?"]),
        ("port = 'x'", ["'port'", "miner.toml", "'x'"]),
        ("port = ", ["miner.toml", "cannot be read"]),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SettingsWrong) as refused:
        _load(_file(tmp_path, text))
    for word in words:
        assert word in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match=r"gone\.toml cannot be read: .*No such file"):
        _load(tmp_path / "gone.toml")


def test_a_setting_without_default_is_asked_for() -> None:
    class Needy(AgentSettings):
        hotkey_file: Path = Field(description="The key.")

    with pytest.raises(SettingsWrong, match=r"'hotkey_file' is missing: .* HORDE_MINER_HOTKEY_FILE"):
        load_settings(Needy, "miner", None, {})


@pytest.mark.parametrize(
    "environ",
    [
        {"HORDE_MINER_DATABASE_URL": "mysql://horde:hunter2@host/name"},
        {"HORDE_MINER_TOKEN": "hunter2", "HORDE_MINER_PORT": "x"},
    ],
)
def test_no_refusal_shows_a_secret(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsWrong) as refused:
        _load(**environ)
    assert "hunter2" not in str(refused.value)


def test_a_wrong_secret_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match="'token'") as refused:
        _load(_file(tmp_path, 'token = ["hunter2"]'))
    assert "hunter2" not in str(refused.value)


def test_every_setting_has_a_row_for_the_reference() -> None:
    rows = {row.name: row for row in settings_rows(_Settings, "miner")}
    assert list(rows) == list(_Settings.model_fields)
    shown = [(rows[name].unit, rows[name].default) for name in ("grace_s", "port", "peers", "token")]
    assert shown == [("seconds", "1.5"), ("TCP port", "8000"), ("", "[]"), ("", '"**********"')]
    assert rows["hotkeys"].type_name == "list[str]"
    assert rows["port"].env_name == "HORDE_MINER_PORT"
