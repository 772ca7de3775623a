"""The role that runs agents knows every setting that they have, and no other."""

from tools.setting_names import setting_names
from tools.setup.places import ROOT

_FILE = ROOT / "roles" / "agents" / "files" / "settings.json"


def test_the_role_knows_the_settings_of_the_code() -> None:
    assert _FILE.read_text() == setting_names(), (
        f"run: python -m tools.setting_names {_FILE.relative_to(ROOT)}"
    )
