"""Judges all that a preflight has seen, and names the rights that were missing. Pure."""

from collections.abc import Iterator

from keyjanitor_cli.preflight import ground, questions, trial
from keyjanitor_cli.preflight.findings import Found, Missing
from keyjanitor_cli.preflight.rights import line_of, resource, statement
from keyjanitor_cli.preflight.seen import Seen
from keyjanitor_cli.preflight.trying import Tried

STACK = "keyjanitor"  # what the policy's names begin with, if no stack is there


def judge(seen: Seen, calls: int, tried: Tried | None = None) -> Found:
    """The findings, and the rights that were missing; `calls` is how many calls were made.

    `tried` is what `--write` made, if it was asked for.
    """
    return Found(
        account=str(seen.identity.body.get("Account", "")),
        who=str(seen.identity.body.get("Arn", "")),
        region=seen.region,
        questions=questions.judge(seen),
        ground=ground.judge(seen),
        missing=tuple(_missing(seen, tried)),
        calls=calls,
        trial=trial.judge(tried) if tried else (),
    )


def _missing(seen: Seen, tried: Tried | None) -> Iterator[Missing]:
    """Each right that a call lacked, once, in the order of the policy's lines."""
    where = (seen.partition, seen.region, seen.stack_name or STACK)
    answers = [*seen.all_answers, *(tried.answers if tried else ())]
    lacked = {answer.call.right for answer in answers if answer.denied}
    for right in sorted((one for one in lacked if one is not None), key=line_of):
        yield Missing(right, resource(right, *where), line_of(right), statement(right, *where))
