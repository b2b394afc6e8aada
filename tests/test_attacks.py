"""Attacks on formula and report: code is refused, names stay text, the policy allows our own parts only."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import made_results
from lmm.core.errors import StudyError
from lmm.core.store import read_json, write_json
from lmm.model.formula import parse
from lmm.report import figures
from test_report import rendered

# a file's name stands in for `{}`: what would be written if the code ran
CODE = [
    "y ~ I(__import__('pathlib').Path('{}').touch()) + (1 | g)",
    "y ~ I(open('{}', 'w')) + (1 | g)",
    "y ~ I(eval(\"open('{}', 'w')\")) + (1 | g)",
    "y ~ I((lambda: open('{}', 'w'))()) + (1 | g)",
    "y ~ I([open('{}', 'w') for _ in [0]][0]) + (1 | g)",
    "y ~ I(x.__class__.__mro__[1].__subclasses__()) + (1 | g)",
    "y ~ np.save('{}', x) + (1 | g)",
    "y ~ np.lib.npyio.DataSource('{}') + (1 | g)",
    "y ~ C(x, levels=open('{}', 'w')) + (1 | g)",
    "y ~ C(x, contr.Treatment(base=open('{}', 'w'))) + (1 | g)",
    "y ~ poly(x, degree=open('{}', 'w')) + (1 | g)",
    "y ~ I(f\"{open('FILE', 'w')}\") + (1 | g)",
    "y ~ I(x if open('{}', 'w') else x) + (1 | g)",
    "y ~ I((z := open('{}', 'w'))) + (1 | g)",
    "I(open('{}', 'w')) ~ x + (1 | g)",
    "y ~ x + (I(open('{}', 'w')) | g)",
    "y ~ x + (1 | open('{}', 'w'))",
    "y ~ {{open('{}', 'w')}} + (1 | g)",
    "y ~ __import__ + (1 | g); import os",
]


@pytest.mark.parametrize("formula", CODE)
def test_code_in_a_formula_is_refused_and_not_run(formula, tmp_path):
    marker = tmp_path / "ran"
    text = formula.replace("{}", str(marker)).replace("FILE", str(marker))
    with pytest.raises(StudyError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "{% include 'report.css' %}",
    "${alert(1)}",
    "javascript:alert(1)",
    "<!-- ",
    "]]></style><base href=//evil.example>",
    "&lt;b&gt;",
]


class Skeleton(HTMLParser):
    """Elements with the names of their attributes, in order; of pictures, whose ticks depend on the room, the set."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.drawn, self.text, self.scripts, self.inside = [], set(), [], [], ""
        self.picture = False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        names = tuple(sorted(name for name, _ in attributes))
        self.picture |= tag == "svg"
        if self.picture:
            self.drawn |= {tag, *names}
        else:
            self.elements.append((tag, names))
        self.inside = tag

    def handle_endtag(self, tag):
        if not self.picture:
            self.elements.append(("/" + tag, ()))
        self.picture &= tag != "svg"
        self.inside = ""

    def handle_comment(self, data):
        self.elements.append(("comment", ()))

    def handle_data(self, data):
        (self.scripts if self.inside in ("script", "style") else self.text).append(data)


def study(root, name, level, factor, title, remark):
    """A study whose column, groups, factor levels, title and warnings have these names."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(8), 6)
    rows = pd.DataFrame(
        {
            "y": rng.normal(size=8)[group] + rng.normal(size=48),
            name: rng.normal(size=48),
            "f": np.where(rng.random(48) < 0.5, "a", factor),
            "g": [f"{level} {k}" for k in group],
        }
    )
    settings, paths = made_results.fitted(root, rows, f"y ~ `{name}` + f + (1 | g)")
    details = read_json(paths["reml_diagnostics"])
    write_json(
        paths["reml_diagnostics"],
        details | {"warnings": [remark], "status": "non-converged", "message": remark},
    )
    settings |= {"title": title}
    return rendered(
        root, settings, "own", paths, title=title, drawn=figures.draw("own", settings, paths)
    ).html


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return study(tmp_path_factory.mktemp("harmless"), "odd name", "level", "b", "A title", "a remark")


@pytest.fixture(scope="module")
def harmless(html):
    return Skeleton(html)


# a page takes a second: each has several of them in every name
@pytest.mark.parametrize("texts", [HOSTILE[k::5] for k in range(5)])
def test_names_from_data_add_no_element_and_no_attribute(texts, harmless, tmp_path):
    """The page is element by element that of harmless names: whatever is in a name stays text."""
    text = " and ".join(texts)
    column = text.replace("`", "")
    page = Skeleton(study(tmp_path, column, text, text, text, text))
    assert page.elements == harmless.elements
    assert page.drawn <= harmless.drawn
    assert text in " ".join(page.text).replace("\u00a0", " "), "and the name is shown as it is"
    ours = [each for each in harmless.scripts if "localStorage" in each]
    assert [each for each in page.scripts if "localStorage" in each] == ours, "our scripts are as ever"


def test_the_policy_allows_our_parts_and_no_network(html):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)[1].replace(
        "&#39;", "'"
    )
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy and "http" not in policy.replace("https:", "http:").replace(
        "http-equiv", ""
    )
    # it comes before whatever it is to govern
    assert html.index("Content-Security-Policy") < min(html.index("<script"), html.index("<style"))

    def allowed(tag, rule):
        inline = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline]
        assert rules[rule] == " ".join(f"'sha256-{digest}'" for digest in digests)
        return len(inline)

    assert (allowed("script", "script-src"), allowed("style", "style-src")) == (3, 1)
    # anything else in a script element is data, which no browser runs
    assert set(re.findall(r"<script( [^>]*)?>", html)) == {
        "", ' type="application/json" class="groups"',
    }  # fmt: skip
    assert not re.search(
        r"<[a-z][^>]* (?:style|on[a-z]+)=", re.sub(r"<script.*?</script>", "", html, flags=re.S)
    )
