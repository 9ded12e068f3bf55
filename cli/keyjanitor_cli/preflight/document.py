"""The document that can be attached to an issue: ids and names are tokens, answers are shapes. Pure."""

from collections.abc import Sequence
from typing import Any

from keyjanitor_cli.preflight.findings import Finding, Found
from keyjanitor_cli.preflight.phrases import Tokens

VERSION = 1


def document(found: Found, release: str, day: str, sdk: str) -> dict[str, Any]:
    """What was found, for others; no id and no name of the account is in it."""
    tokens = Tokens()
    return {
        "version": VERSION,
        "keyjanitor": release,
        "boto3": sdk,
        "date": day,
        "region": found.region,
        "calls": found.calls,
        "missing_rights": [{"action": one.right.action, "line": one.line} for one in found.missing],
        "questions": _rows(found.questions, tokens),
        "ground": _rows(found.ground, tokens),
    } | ({"trial": _rows(found.trial, tokens)} if found.trial else {})


def _rows(findings: Sequence[Finding], tokens: Tokens) -> list[dict[str, Any]]:
    return [
        {
            "row": one.number,
            "asked": one.asked,
            "said": tokens.text(one.said),
            "believed": one.believed,
            "outcome": str(one.outcome),
        }
        | ({} if one.shape is None else {"shape": one.shape})
        for one in findings
    ]
