"""Takes pictures of a report in a browser, as a reader sees it: on a desktop and a phone, light and dark.

    python -m sandbox.portraits path/to/index.html docs/pictures

Debian's chromium is asked, and no browser is downloaded.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, ViewportSize, sync_playwright

# Nothing that a browser does by itself: no update, no account, no first visit anywhere.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP: ViewportSize = {"width": 1280, "height": 1450}
PHONE: ViewportSize = {"width": 390, "height": 844}
PIXELS = {"desktop": 1, "phone": 2}  # to each of the page's, as such screens have
MOST_BYTES = 300_000  # of one picture
NO_BROWSER = "there is no chromium on this machine (Debian's package is called chromium)"

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


def browser_path() -> str | None:
    """Where chromium is; None: nowhere."""
    return shutil.which("chromium")


@contextmanager
def a_browser(path: str) -> Iterator[Browser]:
    """A browser without a past, for as long as it is used."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def take(browser: Browser, report: Path, folder: Path) -> Iterator[Path]:
    """Four pictures of the report, `report-{desktop,phone}-{light,dark}.png` in the folder."""
    for screen, size in (("desktop", DESKTOP), ("phone", PHONE)):
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport=size, color_scheme=scheme, device_scale_factor=PIXELS[screen]
            )
            page = context.new_page()
            page.goto(report.resolve().as_uri())
            page.wait_for_function("performance.getEntriesByName('report-ready').length")
            picture = folder / f"report-{screen}-{scheme}.png"
            page.screenshot(path=picture, animations="disabled")
            context.close()
            yield picture


def main(report: str, folder: str) -> None:
    """Takes the pictures and says how large they are; exits if one is too large for the docs."""
    path = browser_path()
    if path is None:
        sys.exit(NO_BROWSER)
    with a_browser(path) as browser:
        for picture in take(browser, Path(report), Path(folder)):
            size = picture.stat().st_size
            print(f"{picture}: {size:,} bytes")
            if size > MOST_BYTES:
                sys.exit(f"that is more than {MOST_BYTES:,}")


if __name__ == "__main__":
    main(*sys.argv[1:])
