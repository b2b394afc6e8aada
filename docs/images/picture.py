"""Make docs/images/report.png: the first screen of results/report.html, in a headless Chromium.

python docs/images/picture.py [results/report.html]
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "workflow/scripts"))
SCREEN = {"width": 1280, "height": 1080}  # down to the caption of the first figure


def main() -> None:
    from lmm.report.printing import browser

    page_file = Path(sys.argv[1] if len(sys.argv) > 1 else "results/report.html").resolve()
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        page = chromium.new_page(viewport=SCREEN)
        page.goto(page_file.as_uri())
        page.screenshot(path=HERE / "report.png")
        chromium.close()


if __name__ == "__main__":
    main()
