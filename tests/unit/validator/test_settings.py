"""What a validator's settings take and refuse, as files and the environment say it."""

from pathlib import Path

import pytest

from horde_agents.agents.validator.settings import ValidatorSettings
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.runtime.settings import SettingsWrong, load_settings

ALICE = KeypairSigner.from_uri("//Alice").hotkey
BOB = KeypairSigner.from_uri("//Bob").hotkey


def _from_environment(readers: str) -> ValidatorSettings:
    environ = {"HORDE_VALIDATOR_HOTKEY_FILE": "key", "HORDE_VALIDATOR_API_READERS": readers}
    return load_settings(ValidatorSettings, "validator", None, environ)


@pytest.mark.parametrize(
    ("text", "readers"),
    [
        ("anyone", "anyone"),
        ("metagraph", "metagraph"),
        (f"{ALICE},{BOB}", (ALICE, BOB)),
        (f'["{ALICE}"]', (ALICE,)),
        ("[]", ()),
    ],
)
def test_readers_come_as_a_word_or_as_hotkeys(text: str, readers: str | tuple[str, ...]) -> None:
    assert _from_environment(text).api_readers == readers


@pytest.mark.parametrize("text", ["everyone", f"{ALICE},nobody", "anyone,metagraph", "5"])
def test_readers_that_are_nobody_are_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsWrong, match="api_readers"):
        _from_environment(text)


def test_a_file_names_readers_too(tmp_path: Path) -> None:
    file = tmp_path / "validator.toml"
    file.write_text(f'hotkey_file = "key"\napi_readers = ["{ALICE}"]\n')
    assert load_settings(ValidatorSettings, "validator", file, {}).api_readers == (ALICE,)
    file.write_text('hotkey_file = "key"\napi_readers = "anyone"\n')
    assert load_settings(ValidatorSettings, "validator", file, {}).api_readers == "anyone"
    file.write_text('hotkey_file = "key"\napi_readers = 5\n')
    with pytest.raises(SettingsWrong, match="api_readers"):
        load_settings(ValidatorSettings, "validator", file, {})


def test_readers_are_the_metagraphs_validators_on_loopback_by_default() -> None:
    settings = _from_environment("metagraph")
    assert (settings.api_host, settings.api_readers) == ("127.0.0.1", "metagraph")
    assert ValidatorSettings(hotkey_file=Path("key")) == settings


def test_one_bucket_for_prompts_and_answers_is_refused() -> None:
    environ = {
        "HORDE_VALIDATOR_HOTKEY_FILE": "key",
        "HORDE_VALIDATOR_PROMPTS_BUCKET": "one",
        "HORDE_VALIDATOR_ANSWERS_BUCKET": "one",
    }
    with pytest.raises(SettingsWrong, match=r"prompts_bucket and answers_bucket are both 'one'"):
        load_settings(ValidatorSettings, "validator", None, environ)
