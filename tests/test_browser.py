"""The report in a real browser: from a file, without network, with keyboard, narrow, dark, printed."""

import shutil
import zipfile

import pytest

import made_results
from test_report import rendered

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)", allow_module_level=True)
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def file(coffee_drawn, tmp_path_factory):
    root = made_results.coffee(tmp_path_factory.mktemp("results"))
    (root / "report.html").write_text(rendered(root, drawn=coffee_drawn[1]).html, encoding="utf-8")
    return root / "report.html"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield found
        found.close()


@pytest.fixture
def visit(browser, file):
    """Open the report; whatever it logs as an error or asks of a network fails the test."""
    trouble, contexts = [], []

    def go(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: trouble.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(("file:", "data:", "blob:")) else trouble.append(request.url)
            ),
        )
        page.goto(file.as_uri())
        page.evaluate("document.querySelectorAll('main details').forEach((one) => { one.open = true; })")
        page.wait_for_selector("div.dt-container")
        return page

    yield go
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.fixture
def desktop(visit):
    return visit(viewport={"width": 1440, "height": 900})


def first_column(page, key):
    """The groups on screen; an assertion on it waits for DataTables, which sorts and filters a moment later."""
    return page.locator(f"#coffee-table-{key} tbody tr > *:first-child")


def test_a_table_sorts_by_value(desktop):
    groups = first_column(desktop, "ranef")
    heading = desktop.locator("#coffee-table-ranef thead th").nth(1).locator(".dt-column-order")
    heading.click()
    # by coffee.json's intercepts: groups 14, 24, 67 have the smallest, 61 and 70 the largest
    playwright.expect(groups.nth(0)).to_have_text("14")
    assert groups.all_inner_texts()[:3] == ["14", "24", "67"]
    heading.click()
    playwright.expect(groups.nth(0)).to_have_text("61")
    assert groups.all_inner_texts()[:2] == ["61", "70"]


def test_a_table_filters_and_pages(desktop):
    groups = first_column(desktop, "ranef")
    box = desktop.locator('[data-key="coffee-ranef"]')
    box.locator("input[type=search]").fill("0.7387")  # group 12's slope, -0.7387, and no other number
    playwright.expect(groups).to_have_text(["12"])
    box.locator("input[type=search]").fill("")
    playwright.expect(groups.nth(0)).to_have_text("1")
    box.locator(".dt-paging-button", has_text="2").first.click()
    playwright.expect(groups.nth(0)).to_have_text("11")


def test_csv_has_full_precision(desktop):
    with desktop.expect_download() as download:
        desktop.locator('[data-key="coffee-ranef"] button', has_text="CSV").click()
    text = download.value.path().read_text(encoding="utf-8-sig")
    assert len(text.strip().splitlines()) == 101
    assert "-7.27380182494777" in text  # reml_exact's first intercept, unrounded
    with desktop.expect_download() as download:
        desktop.locator('[data-key="coffee-posterior"] button').click()
    assert "9.14125325918124" in download.value.path().read_text()


def test_a_papers_table_is_saved_as_a_file(desktop):
    with desktop.expect_download() as download:
        desktop.locator("#coffee-results a.file", has_text="Word").click()
    assert download.value.suggested_filename == "coffee-results.docx"
    assert zipfile.is_zipfile(download.value.path())


def test_a_group_opens_by_mouse_and_keyboard(desktop):
    dialog = desktop.locator("#detail")
    desktop.locator('#coffee-figure-groups rect[data-level="7"]').click()
    assert dialog.locator("h2").inner_text().startswith("group 7 ·")
    assert dialog.locator("svg circle").count() > 0
    assert dialog.locator("svg path[fill=none]").count() >= 5, "own line, OLS, MixedLM, reml, PyMC"
    desktop.keyboard.press("ArrowRight")
    assert dialog.locator("h2").inner_text().startswith("group 8 ·")
    desktop.keyboard.press("Escape")
    assert not dialog.is_visible()
    button = desktop.locator("#coffee-table-differences button.open").first
    button.focus()
    desktop.keyboard.press("Enter")
    assert dialog.is_visible()
    assert "−7.274" in dialog.inner_text()


def test_dark_follows_the_system_and_the_button(visit):
    page = visit(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#coffee-figure-pooled svg text')).fill"
    assert page.evaluate(paper) == "rgb(20, 23, 28)"
    assert page.evaluate(ink) == "rgb(232, 234, 237)", "a figure's text must be light on dark"
    page.locator("#theme").click()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scroll(visit, scheme):
    page = visit(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # the first column wraps between words, not between letters: six lines of 22 pixels are the most it needs
    rows = "[...document.querySelectorAll('table.plain tbody tr')].map((row) => row.offsetHeight)"
    assert max(page.evaluate(rows)) < 140
    inside = "[...document.querySelectorAll('.about')].map((one) => one.getBoundingClientRect().right)"
    assert max(page.evaluate(inside)) <= 390, "a caption is cut off"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_but_minor_flaws(visit, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page = visit(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
    found = axe.Axe().run(page).response["violations"]
    flaws = [f"{item['id']}: {item['nodes'][0]['html'][:160]}" for item in found if item["impact"] != "minor"]
    assert flaws == []


def test_it_prints(desktop, tmp_path):
    pdf = desktop.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF")
    desktop.emulate_media(media="print")
    assert not desktop.locator(".contents").is_visible()
    assert not desktop.locator("#theme").is_visible()


def test_nothing_of_the_page_is_blocked_in_use(visit):
    """The policy: a group's detail, sorting, filtering, CSV, theme, print; `visit` fails on any violation."""
    page = visit(viewport={"width": 1440, "height": 900})
    page.evaluate(WATCH)
    page.locator("#theme").click()
    page.locator('#coffee-figure-groups rect[data-level="7"]').click()
    colours = page.locator("#detail .key i").evaluate_all(
        "all => all.map((i) => getComputedStyle(i).borderTopColor)"
    )
    assert len(set(colours)) > 3, "the lines of the key have their colours without a style attribute"
    page.keyboard.press("Escape")
    page.locator('[data-key="coffee-ranef"] input[type=search]').fill("0.7387")
    page.locator("#coffee-table-ranef thead th").nth(1).locator(".dt-column-order").click()
    with page.expect_download():
        page.locator('[data-key="coffee-ranef"] button', has_text="CSV").click()
    page.emulate_media(media="print")
    assert page.evaluate("violations") == []


WATCH = """() => {
  globalThis.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
}"""
INJECTED = """() => {
  const box = document.createElement("div");
  box.innerHTML = '<img src="x" onerror="globalThis.hit = 1"><b onmouseover="globalThis.hit = 1">b</b>';
  const script = Object.assign(document.createElement("script"), { textContent: "globalThis.hit = 1" });
  const remote = Object.assign(document.createElement("script"), { src: "http://127.0.0.1:9/evil.js" });
  const image = Object.assign(document.createElement("img"), { src: "http://127.0.0.1:9/seen.png" });
  const frame = Object.assign(document.createElement("iframe"), { src: "http://127.0.0.1:9/" });
  document.body.append(box, script, remote, image, frame);
  box.querySelector("b").dispatchEvent(new MouseEvent("mouseover"));
  return fetch("http://127.0.0.1:9/").then(() => "sent", () => "refused");
}"""


def test_what_is_put_into_the_page_does_not_run_and_sends_nothing(browser, file):
    context = browser.new_context()
    page = context.new_page()
    asked, refused = [], []
    page.on("request", lambda request: asked.append(request.url))
    # the browser names a request that the policy stops, and why, before anything is sent
    page.on("requestfailed", lambda request: refused.append((request.url, request.failure)))
    page.goto(file.as_uri())
    page.wait_for_selector("div.dt-container", state="attached")
    page.evaluate(WATCH)
    assert page.evaluate(INJECTED) == "refused"
    page.wait_for_function("violations.length >= 6")
    assert page.evaluate("globalThis.hit") is None
    blocked = set(page.evaluate("violations"))
    assert {"connect-src", "img-src", "frame-src", "script-src-attr", "script-src-elem"} <= blocked
    stopped = {url for url, why in refused if "csp" in (why or "").lower()}
    assert {url for url in asked if url.startswith("http")} <= stopped
    context.close()
