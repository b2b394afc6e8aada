"""Phrases that readers stumbled over stay out of code, messages, documentation and the page."""

import re
import subprocess

import pytest

from conftest import ROOT

TEXT = (".py", ".md", ".smk", ".yaml", ".j2", ".js", ".css", ".rst", ".sh")
NAMES = ("Makefile", "Snakefile")
COUNTED = (
    "rows?|dots?|groups|jobs?|lines?|columns?|draws|seconds|numbers?|values?|levels?|tables?|entry|entries|files"
    "|process|processes|points?|panels?|replicates|cells?|ms|MB"
)
PER = (
    "group|row|study|level|cell|factor|engine|replicate|design|job|column|file|term|draw|fit|chain|chunk|part|parameter"
    "|second|core|panel|node|process|batch|block|lane|effect|model|quantity|rule"
)
# The phrase, and what to write instead.
PHRASES = {
    rf"\b({COUNTED}) an? ({PER})\b": "rows per group",
    r"\bholds? (the \w+ |it |them |that )?against\b": "compares with",
    r"simply summed": "share of the summed variance components",
    r"\btoo sure\b": "too small (anticonservative)",
    r"\blean(s|ing)? (to|on)\b": "are right-skewed, are prior-sensitive",
    r"\bmade of it\b": "sampling diagnostics",
    r"replicates them\b": "within the posterior predictive interval",
    r"\bended? otherwise\b": "changed status",
    r"\bwith a word\b|\ba word (for|on|of|about)\b": "with advice, a note, a warning",
    r"\b(has|have) room for\b|\bin the room of\b|\bevery room\b|\bat home\b|\bhouse\b": "no metaphors of houses",
    r"\bequals nothing\b": "never compares equal",
    r"\b(has|have) (no|an) address\b": "cannot be read at an offset; seeds are derived",
    r"`?converged`? lies\b": "`converged` is unreliable",
    r"\bmachine under\b": "the optimiser behind",
    r"\bnobody (knows|said)\b": "if unknown, if not given",
    r"\bwithout any rest\b": "fitted exactly by",
    r"\blevels come back\b": "its values repeat",
    r"\blooser rule\b": "the fit also passes the looser rule",
    r"\bengines remarked\b": "engine warnings",
    r"\bsays no format\b": "unknown file suffix",
    r"\bwho draws\b": "why Matplotlib",
    r"first half hour": "getting started",
    r"\bsays? nothing of\b|\bfront door\b|\blast words\b|\bwhat it lacks added\b": "the plain word",
    r"\btimes too much of it\b|\bas noise, \b": "inflating it n-fold",
}


def files():
    """Text files that Git knows; this one has the phrases."""
    known = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    return [
        name
        for name in known
        if (name.endswith(TEXT) or name.endswith(NAMES)) and not name.endswith("test_plain_english.py")
    ]


@pytest.fixture(scope="module")
def lines():
    return [
        (f"{name}:{number}", line)
        for name in files()
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
    ]


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_is_not_used(lines, phrase):
    pattern = re.compile(phrase, re.IGNORECASE)
    found = [f"{place}: {line.strip()}" for place, line in lines if pattern.search(line)]
    assert not found, f"write: {PHRASES[phrase]}\n" + "\n".join(found)


def test_the_phrases_are_found_where_they_are():
    assert re.search(next(iter(PHRASES)), "at least five rows a group")
    assert not re.search(next(iter(PHRASES)), "a table of rows and a group")
