"""What a preflight has seen of an account: the answers, and the few things that are read out of them. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

from keyjanitor.domain.usage.access_log_format import AccessLog, read_format
from keyjanitor_cli.preflight.answers import NOT_ASKED, Answer
from keyjanitor_cli.preflight.rights import FUNCTION, KEY, SIMULATE, STREAMS

MARKS = frozenset({"ExpireKeysFunctionName", "LedgerTableName", "HistoryBucketName"})
ARN_OF_A_KEY = "/apikeys/"


def log_groups(stages: Iterable[Mapping[str, Any]]) -> list[str]:
    """The log groups that can be asked which keys called, by the stages' own settings."""
    settings = [stage.get("accessLogSettings") or {} for stage in stages]
    logs = [
        read_format(str(one.get("destinationArn", "")), str(one.get("format", "")))
        for one in settings
    ]
    return sorted({log.group for log in logs if isinstance(log, AccessLog)})


@dataclass(frozen=True)
class Seen:
    """The answers to all calls. Pages are in the order in which they came.

    `ranges` are the answers to GetUsage of one plan by how many days back it was asked to start,
    `usages` the first pages of some plans by the plan's id, `stages` those of some APIs by theirs.
    """

    today: date
    region: str
    partition: str
    stack_name: str
    sdk: str
    identity: Answer
    stacks: tuple[Answer, ...]
    keys: tuple[Answer, ...]
    plans: tuple[Answer, ...]
    ranges: Mapping[int, Answer]
    usages: Mapping[str, Answer]
    tags: tuple[Answer, ...]
    apis: Answer
    stages: Mapping[str, Answer]
    deployment: Answer
    incoming: Answer
    log_policies: Answer
    alarms: Answer
    metrics: Answer
    schedules: Answer
    layers: Answer
    updates: Answer
    imports: Answer
    plans_made: Answer
    tagged_key: Answer = field(default_factory=lambda: Answer(KEY, code=NOT_ASKED))
    updated_key: Answer = field(default_factory=lambda: Answer(KEY, code=NOT_ASKED))
    function: Answer = field(default_factory=lambda: Answer(FUNCTION, code=NOT_ASKED))
    lists_bucket: Answer = field(default_factory=lambda: Answer(SIMULATE, code=NOT_ASKED))
    reads_usage: Answer = field(default_factory=lambda: Answer(SIMULATE, code=NOT_ASKED))
    streams: Answer = field(default_factory=lambda: Answer(STREAMS, code=NOT_ASKED))

    @cached_property
    def key_items(self) -> tuple[Mapping[str, Any], ...]:
        """What GetApiKeys listed, of all pages that were read."""
        return tuple(item for page in self.keys for item in page.items("items"))

    @cached_property
    def key_ids(self) -> frozenset[str]:
        """The ids of the keys that were listed; some of them may be values."""
        return frozenset(str(item.get("id", "")) for item in self.key_items)

    @cached_property
    def plan_items(self) -> tuple[Mapping[str, Any], ...]:
        """What GetUsagePlans listed."""
        return tuple(item for page in self.plans for item in page.items("items"))

    @cached_property
    def tags_of_keys(self) -> dict[str, dict[str, str]]:
        """The tags of the keys that the tagging API listed, as far as it was read."""
        return dict(tags_of_keys(self.tags))

    @property
    def own_stacks(self) -> tuple[Mapping[str, Any], ...]:
        """The stacks that have the outputs of keyjanitor, and no others."""
        return tuple(own_stacks(self.stacks))

    @property
    def all_answers(self) -> Iterator[Answer]:
        """Every answer."""
        for one in vars(self).values():
            if isinstance(one, Answer):
                yield one
            elif isinstance(one, tuple):
                yield from (each for each in one if isinstance(each, Answer))
            elif isinstance(one, Mapping):
                yield from (each for each in one.values() if isinstance(each, Answer))


def is_whole(pages: tuple[Answer, ...], more: str = "position") -> bool:
    """Whether the last page was read, and all before it."""
    return bool(pages) and all(page.answered for page in pages) and not pages[-1].body.get(more)


def tags_of_keys(pages: tuple[Answer, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """The ids of keys with their tags, of pages of the tagging API."""
    for page in pages:
        for resource in page.items("ResourceTagMappingList"):
            path = str(resource.get("ResourceARN", "")).split("::", 1)[-1]
            if path.startswith(ARN_OF_A_KEY):
                listed = resource.get("Tags") or ()
                tags = {str(tag.get("Key", "")): str(tag.get("Value", "")) for tag in listed}
                yield path.removeprefix(ARN_OF_A_KEY), tags


def own_stacks(pages: tuple[Answer, ...]) -> Iterator[Mapping[str, Any]]:
    """The stacks of keyjanitor, of pages of DescribeStacks."""
    for page in pages:
        for stack in page.items("Stacks"):
            if outputs_of(stack).keys() >= MARKS:
                yield stack


def outputs_of(stack: Mapping[str, Any]) -> dict[str, str]:
    """The outputs of a stack by their names."""
    listed = stack.get("Outputs") or ()
    return {str(one.get("OutputKey", "")): str(one.get("OutputValue", "")) for one in listed}
