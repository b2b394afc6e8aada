"""A page as a PDF, by the Chromium that is on this machine."""

import os
import shutil
import subprocess
from pathlib import Path

from lmm.core.errors import StudyError
from lmm.core.store import write_whole

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
)
PATIENCE = 300  # seconds


def browser() -> str | None:
    """The first of `BROWSERS` that is on the path."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def pdf(page: str | Path, output: str | Path) -> None:
    """Print a page as it is meant for paper.

    Parameters
    ----------
    page : str or Path
        An HTML file that needs no network.
    output : str or Path
        The PDF; whole or not at all.

    Raises
    ------
    StudyError
        There is no browser, or it did not print.
    """
    found = browser()
    if found is None:
        what = f"no browser to print with, expected one of {', '.join(BROWSERS)} (Debian: apt-get install chromium)"
        raise StudyError(str(output), f"{what}; or open {page} in any browser and print it there")
    # a sandbox cannot be had as root, and is not needed for a page of our own
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    options = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", *sandbox]

    def write(name: str) -> None:
        target = [f"--print-to-pdf={name}", "--no-pdf-header-footer", Path(page).resolve().as_uri()]
        try:
            done = subprocess.run(
                [found, *options, *target], capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            raise StudyError(str(output), f"{found} did not end in {PATIENCE} s, expected a PDF") from None
        if not Path(name).read_bytes().startswith(b"%PDF"):
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise StudyError(
                str(output), f"{found} ended with {done.returncode} and said: {said}; expected a PDF"
            )

    write_whole(output, write)
