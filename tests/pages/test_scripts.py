import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
STYLE: Final = (ROOT / "gateway" / "web" / "src" / "style.css").read_text()
TEXTS: Final = ("ink", "muted", "accent", "rise", "fall", "incident")
CONTRAST_MIN: Final = 4.5
"""What WCAG 2 asks of text at level AA."""
CONTRAST_OF_EDGES_MIN: Final = 3.0


def test_scripts_do_what_they_say() -> None:
    done = subprocess.run(
        ["node", "--test", Path(__file__).with_name("scripts.test.mjs")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(scheme: int) -> None:
    colours = schemes()[scheme]
    for behind in ("paper", "card", "lit"):
        for text in TEXTS:
            assert contrast(colours[text], colours[behind]) >= CONTRAST_MIN, (text, behind)
        assert contrast(colours["edge"], colours[behind]) >= CONTRAST_OF_EDGES_MIN, behind
    assert contrast(colours["warn-ink"], colours["warn-paper"]) >= CONTRAST_MIN


def schemes() -> list[dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
    return [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in blocks]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it: 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
