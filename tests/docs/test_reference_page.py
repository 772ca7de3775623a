"""docs/operate/reference.md lists every command, error code, cause and metric of the code."""

import re
from pathlib import Path

from tools.reference_page import reference_page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operate" / "reference.md"


def test_the_page_shows_the_reference_of_the_code() -> None:
    assert PAGE.read_text() == reference_page(), (
        "run: python -m tools.reference_page docs/operate/reference.md"
    )


def test_every_link_between_our_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    missing = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert missing == []
