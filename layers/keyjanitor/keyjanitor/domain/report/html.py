"""Writes a night's report as one HTML file that loads nothing else. Pure.

`page/index.html` names its styles and scripts as any page does; here they are put into it,
and its content security policy allows these by their hashes and nothing else: no request, and no
script that a name in the document brings along.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

FOLDER = files("keyjanitor.domain.report") / "page"
_STYLE = re.compile(r'<link rel="stylesheet" href="([\w.]+)">')
_SCRIPT = re.compile(r'<script src="([\w.]+)"></script>')
_NOTICE = re.compile(r"<!-- licence: ([\w.]+) -->")
_POLICY = '<meta http-equiv="Content-Security-Policy" content="">'
_DOCUMENT = '<script type="application/json" id="report"></script>'
# `</script>` and `<!--` end or change a script element, whatever is around them.
_ESCAPED = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"))


def render(document: Mapping[str, Any]) -> bytes:
    """The page, in UTF-8, with the report's numbers inside as JSON in ASCII.

    Raises ValueError for a number that JSON does not have (NaN, infinity).
    """
    before, after = _page()
    text = json.dumps(dict(document), separators=(",", ":"), allow_nan=False).encode("ascii")
    for character, escape in _ESCAPED:
        text = text.replace(character, escape)
    return b"".join((before, text, after))


@cache
def _page() -> tuple[bytes, bytes]:
    """Text before the numbers, and text after them."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}

    def put_in(element: str, name: str) -> str:
        content = (FOLDER / name).read_text("utf-8")
        digest = b64encode(sha256(content.encode()).digest()).decode()
        hashes[element].append(f"'sha256-{digest}'")
        return f"<{element}>{content}</{element}>"

    page = (FOLDER / "index.html").read_text("utf-8")
    page = _NOTICE.sub(lambda found: f"<!--\n{(FOLDER / found[1]).read_text('utf-8')}\n-->", page)
    page = _STYLE.sub(lambda found: put_in("style", found[1]), page)
    page = _SCRIPT.sub(lambda found: put_in("script", found[1]), page)
    page = page.replace(_POLICY, _POLICY.replace('""', f'"{_policy(hashes)}"'))
    before, after = page.encode().split(_DOCUMENT.encode())
    opened, closed = _DOCUMENT.encode().split(b"><")
    return before + opened + b">", b"<" + closed + after


def _policy(hashes: Mapping[str, list[str]]) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(hashes['script'])}",
            f"style-src {' '.join(hashes['style'])}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
