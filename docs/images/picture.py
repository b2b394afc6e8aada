"""Make docs/images/report.png: the verdicts and three figures of results/report.html, in a headless Chromium.

python docs/images/picture.py [results/report.html]
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "workflow/scripts"))
SHOWN = ("groups", "variances", "differences")
# The page as it is, less its text and tables, its figures two in a row.
STYLE = """
.contents, header.study, article > section, #references { display: none } .page { display: block }
main { max-width: none } .cards { grid-template-columns: repeat(5, 1fr) } .verdicts { margin-bottom: 1.2rem }
#picture { display: grid; grid-template-columns: 1fr 1fr; gap: 1.2rem 2rem } #picture figure { margin: 0 }
#picture figcaption { display: none } #theme { visibility: hidden } #picture figure:first-child { grid-row: span 2 }
#picture figure:first-child svg { max-height: 30rem }
"""
MOVE = """names => {
  const box = Object.assign(document.createElement("div"), { id: "picture" });
  names.forEach(name => box.append(document.querySelector(`#coffee-figure-${name}`)));
  document.querySelector("main").append(box);
}"""


def main() -> None:
    from lmm.report.printing import browser

    page_file = Path(sys.argv[1] if len(sys.argv) > 1 else "results/report.html").resolve()
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.goto(page_file.as_uri())
        page.add_style_tag(content=STYLE)
        page.evaluate(MOVE, list(SHOWN))
        page.screenshot(path=HERE / "report.png", full_page=True)
        chromium.close()


if __name__ == "__main__":
    main()
