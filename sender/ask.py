"""A program that asks for a key, waits for the answer and opens the value: `python sender/ask.py --help`.

It is a sample. A program of yours gets the two queues' URLs from its settings instead of asking
CloudFormation, and keeps each request until its answer came, to send it again when in doubt.
"""

import argparse
import sys
import time
import uuid
from collections.abc import Mapping

import boto3

from keyjanitor_client import (
    AnswerQueue,
    Delivered,
    Done,
    Event,
    Issue,
    Notice,
    Refused,
    RequestQueue,
    open_key,
)


def outputs(stack: str) -> Mapping[str, str]:
    """The outputs of a stack by name."""
    [found] = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {one["OutputKey"]: one["OutputValue"] for one in found["Outputs"]}


def main() -> int:
    """Gives 0 if the key came, 1 if the request was refused or no answer came in time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", default="keyjanitor", help="keyjanitor's stack")
    parser.add_argument("--answers", default="portal-answers", help="the stack of answers.yaml")
    parser.add_argument("--prefix", default="portal-", help="its RequestIdPrefix")
    parser.add_argument("--tier", default="external")
    parser.add_argument("--owner", default="user-8f1c")
    parser.add_argument("--deliver-to", required=True, help="the ARN of your own role")
    parser.add_argument("--wait", type=float, default=180, help="seconds for an answer")
    asked = parser.parse_args()

    sqs = boto3.client("sqs")
    requests = RequestQueue(sqs, outputs(asked.stack)["RequestQueueUrl"])
    answers = AnswerQueue(sqs, outputs(asked.answers)["AnswerQueueUrl"])
    request = Issue(
        request_id=f"{asked.prefix}{uuid.uuid4()}",
        tier=asked.tier,
        owner=asked.owner,
        name="a sample",
        deliver_to=asked.deliver_to,
    )
    requests.send(request)
    print(f"sent {request.request_id}")
    found: list[Event] = []

    def handle(event: Event) -> None:
        print(f"received {event.kind}, key {event.key_id}")
        # A real program acts on notices and on the answers to its other requests too.
        if not isinstance(event, Notice) and event.request_id == request.request_id:
            found.append(event)

    until = time.monotonic() + asked.wait
    while not found and time.monotonic() < until:
        answers.take(handle, wait_s=5)
    match found:
        case [Delivered() as delivered, *_]:
            # The value is a secret: a real program hands it to its owner, and prints it nowhere.
            value = open_key(boto3.client("kms"), delivered)
            print(f"opened its value: {len(value)} characters")
            return 0
        case [Refused() as refused, *_]:
            print(f"refused, {refused.code}: {refused.reason}", file=sys.stderr)
        case [Done() as other, *_]:
            print(f"answered by {other.kind}", file=sys.stderr)
        case _:
            print(f"no answer in {asked.wait:g} s: send it again as it is", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
