"""Reports on paper: every row up to a limit, every fold open, and a clear word where nothing can print."""

import shutil

import pytest

from lmm.core.errors import StudyError
from lmm.core.store import read_table, write_table
from lmm.report import printing
from lmm.report.runs import compare
from test_runs import tiny

needs_browser = pytest.mark.skipif(
    printing.browser() is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A comparison of runs whose 350 random effects all changed: longer than paper takes."""
    root = tmp_path_factory.mktemp("runs")
    folders = [tiny(root / "a"), tiny(root / "b")]
    for folder, add in zip(folders, (0.0, 1.0), strict=True):
        path = folder / "tea/reml/ranef.parquet"
        one = read_table(path).iloc[[0]]
        table = one.loc[one.index.repeat(350)].reset_index(drop=True)
        table = table.assign(level=[f"level-{k}" for k in range(350)])
        write_table(path, table.assign(estimate=table["estimate"] + add))
    (root / "page.html").write_text(compare(*folders), encoding="utf-8")
    return root / "page.html"


@needs_browser
def test_a_page_becomes_a_pdf(page, tmp_path):
    printing.pdf(page, tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    assert [file.name for file in tmp_path.iterdir()] == ["page.pdf"], "a temporary file was left behind"


@needs_browser
def test_paper_has_all_rows_up_to_a_limit_and_the_screen_is_as_before(page):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=printing.browser(), args=["--no-sandbox"])
        shown = browser.new_page()
        shown.goto(page.as_uri())
        rows = shown.locator("#runs-table-changed tbody tr")
        playwright.expect(rows).to_have_count(10)
        shown.evaluate("dispatchEvent(new Event('beforeprint'))")
        playwright.expect(rows).to_have_count(300)
        note = shown.locator('[data-key="runs-changed"] .paper')
        assert note.inner_text() == "The first 300 of 350 rows; the table on screen and its CSV have all."
        shown.evaluate("dispatchEvent(new Event('afterprint'))")
        playwright.expect(rows).to_have_count(10)
        assert note.count() == 0
        # a table with a row per group has fewer: 100 groups are no pages of a report
        shown.evaluate("document.querySelector('#runs-table-changed').setAttribute('data-groups', '')")
        shown.evaluate("dispatchEvent(new Event('beforeprint'))")
        playwright.expect(rows).to_have_count(40)
        shown.evaluate("dispatchEvent(new Event('afterprint'))")
        browser.close()


def test_without_a_browser_it_says_what_to_do(page, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(StudyError) as caught:
        printing.pdf(page, tmp_path / "report.pdf")
    assert str(caught.value).startswith(
        f"{tmp_path}/report.pdf: no browser to print with, expected one of chromium"
    )
    assert str(caught.value).endswith("(Debian: apt-get install chromium); or open "
                                      f"{page} in any browser and print it there")  # fmt: skip


def test_a_browser_that_does_not_print_is_quoted(page, tmp_path, monkeypatch):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho 'no display' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(printing, "browser", lambda: str(broken))
    with pytest.raises(StudyError, match=r"ended with 3 and said: no display; expected a PDF"):
        printing.pdf(page, tmp_path / "report.pdf")
    broken.write_text("#!/bin/sh\nsleep 5\n")
    monkeypatch.setattr(printing, "PATIENCE", 0.2)
    with pytest.raises(StudyError, match=r"did not end in 0.2 s, expected a PDF"):
        printing.pdf(page, tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()
