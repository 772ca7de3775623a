"""The README's first screen is true: the demo prints what it shows, but for ids, times and bars."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def shape(text: str) -> list[str]:
    """Lines without what differs from run to run."""
    lines = re.sub(r"[█▉▊▋▌▍▎▏]+", "", text).splitlines()
    return [
        re.sub(r"\b[0-9a-f]{8,}[-0-9a-f]*\b|\d+(\.\d+)?", "#", line).rstrip()
        for line in lines
        if line.strip()
    ]


def test_the_demo_prints_what_the_readme_shows(job_image: str) -> None:
    assert job_image
    shown = (
        README.read_text()
        .split("<!-- demo output: begin -->\n```\n")[1]
        .split("```\n<!-- demo output: end")[0]
    )
    demo = subprocess.run(
        [sys.executable, "-m", "horde_agents", "demo"], capture_output=True, text=True, check=False
    )
    assert demo.returncode == 0, demo.stderr[-2000:]
    assert shape(demo.stdout) == shape(shown)
