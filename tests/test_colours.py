"""Colours of chains and engines: apart from one another in both themes, for colour-blind eyes too."""

import itertools
import re

import numpy as np
import pytest

from lmm.report.figures.style import CHAINS, COLOURS
from lmm.report.page import TEMPLATES, engine_colours

# Machado, Oliveira & Fernandes 2009 (IEEE TVCG 15), table 1, severity 1: linear RGB to an eye without a kind of cone
EYES = {
    "all cones": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    "no M cones": [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
    "no L cones": [
        0.152286,
        1.052583,
        -0.204868,
        0.114503,
        0.786281,
        0.099216,
        -0.003882,
        -0.048116,
        1.051998,
    ],
    "no S cones": [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
}
ENGINES = ("ols", "mixedlm", "reml", "pymc", "own", "sky")


def linear(colour):
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear sRGB (white D65)."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(first, second, eye="all cones"):
    seen = np.reshape(EYES[eye], (3, 3))
    return np.linalg.norm(lab(seen @ linear(first)) - lab(seen @ linear(second)))


def contrast(first, second):
    low, high = sorted(linear(c) @ [0.2126, 0.7152, 0.0722] for c in (first, second))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture(scope="module", params=["light", "dark"])
def theme(request):
    """The style sheet's variables in this theme."""
    start = ":root {" if request.param == "light" else '\n:root[data-theme="dark"] {'
    found = {}
    for text in ((TEMPLATES / "report.css").read_text(encoding="utf-8"), engine_colours()):
        block = text[text.index(start) : text.index("}", text.index(start))]
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block))
    return {
        name: value if len(value) == 7 else "#" + "".join(2 * c for c in value[1:])
        for name, value in found.items()
    }


def test_a_chain_does_not_look_like_an_engine(theme):
    chains = [theme[f"chain-{k}"] for k in range(1, 7)]
    # 2.3 is just noticeable; ten times that has another name
    assert min(apart(a, theme[b]) for a in chains for b in ENGINES) > 23


@pytest.mark.parametrize("eye", EYES)
def test_chains_are_told_apart(theme, eye):
    chains = [theme[f"chain-{k}"] for k in range(1, 7)]
    assert min(apart(a, b, eye) for a, b in itertools.combinations(chains, 2)) > 20


def test_chains_stand_out_from_the_paper(theme):
    # 3:1 is what WCAG 2.1 (1.4.11) asks of graphics
    assert min(contrast(theme[f"chain-{k}"], theme["paper"]) for k in range(1, 7)) >= 3


def test_figures_and_style_sheet_have_the_same_chains():
    text = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    assert len(CHAINS) == 6
    for k, colour in enumerate(CHAINS, start=1):
        assert f'[stroke="{colour}"] {{ stroke: var(--chain-{k}); }}' in text
    assert not set(CHAINS) & set(COLOURS.values())
