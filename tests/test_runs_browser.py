"""The page on two runs in a real browser: no network, no error, narrow, dark, for a screen reader."""

import pytest

from lmm.report import printing
from lmm.report.runs import compare
from test_runs import move, tiny

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if printing.browser() is None:
    pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)", allow_module_level=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    pair = tiny(root / "a"), tiny(root / "b")
    move(pair[1], "pymc", 1.0)
    move(pair[1], "reml", 0.1, "ranef.parquet")
    (root / "page.html").write_text(compare(*pair), encoding="utf-8")
    return root / "page.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page(file, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    trouble = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=printing.browser(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on(
            "console", lambda said: trouble.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith("file:") else trouble.append(asked.url))
        page.goto(file.as_uri())
        playwright.expect(page.locator('[data-card="numbers"] .card-value')).to_have_text("2 changed")
        playwright.expect(page.locator("#runs-table-changed tbody tr")).to_have_count(2)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.Axe().run(page).response["violations"]
        assert [item["id"] for item in found if item["impact"] in ("serious", "critical")] == []
        browser.close()
    assert [what for what in trouble if not what.startswith("data:")] == []
