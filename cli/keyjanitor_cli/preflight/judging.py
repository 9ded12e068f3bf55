"""Judges all that a preflight has seen, and names the rights that were missing. Pure."""

from collections.abc import Iterator

from keyjanitor_cli.preflight import ground, questions
from keyjanitor_cli.preflight.findings import Found, Missing
from keyjanitor_cli.preflight.rights import line_of, resource, statement
from keyjanitor_cli.preflight.seen import Seen

STACK = "keyjanitor"  # what the policy's names begin with, if no stack is there


def judge(seen: Seen, calls: int) -> Found:
    """The findings, and the rights that were missing; `calls` is how many calls were made."""
    return Found(
        account=str(seen.identity.body.get("Account", "")),
        who=str(seen.identity.body.get("Arn", "")),
        region=seen.region,
        questions=questions.judge(seen),
        ground=ground.judge(seen),
        missing=tuple(_missing(seen)),
        calls=calls,
    )


def _missing(seen: Seen) -> Iterator[Missing]:
    """Each right that a call lacked, once, in the order of the policy's lines."""
    where = (seen.partition, seen.region, seen.stack_name or STACK)
    lacked = {answer.call.right for answer in seen.all_answers if answer.denied}
    for right in sorted((one for one in lacked if one is not None), key=line_of):
        yield Missing(right, resource(right, *where), line_of(right), statement(right, *where))
