"""Reads what the doctor looks at beyond keys, rows and evidence: limits, stages, and their stacks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TypeVar

from aws_lambda_powertools import Logger

from keyjanitor.domain.doctor.checks import find_problems
from keyjanitor.domain.doctor.checkup import Checkup
from keyjanitor.domain.expiry.ownership import STACK_TAG
from keyjanitor.domain.model.apis import Method, RestApi, ServedStage, Stage
from keyjanitor.domain.model.key_ids import may_be_value
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.policy import BoundPolicy
from keyjanitor.domain.model.records import Row
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.evidence import Evidence
from keyjanitor.errors import AccessDenied, CallFailed, UnexpectedAnswer
from keyjanitor.services.ports import CheckupGateway, StackFinder

T = TypeVar("T")
STACKS_ASKED = 20  # of those that keys are tagged with

logger = Logger(child=True)


def check_up(
    today: date,
    keys: Sequence[ApiKey],
    rows: Mapping[str, Row] | None,
    evidence: Evidence | None,
    bound: BoundPolicy,
    gateway: CheckupGateway,
    owners: StackFinder,
    *,
    parked_plans: frozenset[str] | None,
    time_is_up: Callable[[], bool],
) -> Checkup:
    """All that the doctor looks at; what could not be read is unknown, and named in `unread`.

    Takes the keys (with their tags), the ledger's rows and the evidence as the caller has read
    them, and the plans that parked keys come back into. Once `time_is_up` no further call is made.
    Costs a call for each API and for each deployment that a stage serves, of two apiece beside the
    lists. Raises nothing for a call that failed.
    """
    reader = _Reader(gateway, owners, time_is_up)
    plans = reader.plans()
    checkup = Checkup(
        today=today,
        keys=keys,
        bound=bound,
        rows=rows,
        evidence=evidence,
        plans=plans,
        stages=reader.stages(plans or ()),
        parked_plans=parked_plans,
    )
    # Ask CloudFormation only about the resources that a finding names: each is one call.
    stacks = reader.stacks([*_changeable(checkup), *_one_of_each_stack(keys)])
    return replace(checkup, stacks=stacks, unread=tuple(reader.unread))


def _changeable(checkup: Checkup) -> list[str]:
    """The usage plans and APIs that a finding would have changed."""
    plans = {plan.usage_plan_id for plan in checkup.plans or ()}
    apis = {stage.partition(":")[0] for stage in checkup.stages}
    found = {
        part
        for finding in find_problems(checkup)
        for one in finding.about
        for part in (one, one.partition(":")[0])
    }
    return sorted(found & (plans | apis))


def _one_of_each_stack(keys: Iterable[ApiKey]) -> list[str]:
    """A key of each of the stacks that most keys are tagged with: whether the stack is still there."""
    keys_of: dict[str, list[str]] = {}
    for key in keys:
        if (stack := (key.tags or {}).get(STACK_TAG)) and not may_be_value(key.key_id):
            keys_of.setdefault(stack, []).append(key.key_id)
    ranked = sorted(keys_of, key=lambda stack: (-len(keys_of[stack]), stack))
    return [min(keys_of[stack]) for stack in ranked[:STACKS_ASKED]]


class _Reader:
    """Reads piece by piece, and notes what it could not read."""

    def __init__(
        self, gateway: CheckupGateway, owners: StackFinder, time_is_up: Callable[[], bool]
    ) -> None:
        self._gateway = gateway
        self._owners = owners
        self._time_is_up = time_is_up
        self._is_over = False
        self.unread: list[str] = []

    def plans(self) -> list[UsagePlan] | None:
        return self._read("the usage plans", self._gateway.usage_plans)

    def stages(self, plans: Iterable[UsagePlan]) -> dict[str, ServedStage]:
        """The methods that each stage serves; stages that plans open come first: time may run out."""
        opened = {stage.partition(":")[0] for plan in plans for stage in plan.stages}
        apis = self._read("the REST APIs", self._gateway.rest_apis) or []
        served: dict[str, ServedStage] = {}
        for api in sorted(apis, key=lambda api: (api.api_id not in opened, api.api_id)):
            for stage in self._stages_of(api):
                served[stage.stage] = stage
        return served

    def _stages_of(self, api: RestApi) -> list[ServedStage]:
        what, gateway = f"API {api.api_id}", self._gateway
        stages = self._read(f"the stages of {what}", gateway.stages, api.api_id) or []
        deployments = {
            one: self._read(
                f"deployment {one} of {what}", gateway.deployed_methods, api.api_id, one
            )
            for one in sorted({one for stage in stages for one in stage.deployment_ids})
        }
        served = []
        for stage in stages:
            methods = _methods(stage, deployments)
            if methods is not None:
                name = f"{stage.api_id}:{stage.name}"
                served.append(ServedStage(name, api.name, api.key_source, methods))
        return served

    def stacks(self, ids: Iterable[str]) -> dict[str, str | None]:
        """The stack that owns each plan or API; those that could not be asked about are left out."""
        stacks: dict[str, str | None] = {}
        for one in ids:
            answered = self._read(f"the stack of {one}", self._stack_of, one)
            if answered is None:
                # CloudFormation is down, or may not be asked: nor will it be about the others.
                break
            stacks[one] = answered[0]
        return stacks

    def _stack_of(self, one: str) -> tuple[str | None]:
        return (self._owners.stack_of(one),)

    def _read(self, what: str, call: Callable[..., T], *given: str) -> T | None:
        """The result of a call; None, with a note in `unread`, if it failed or time is up."""
        if not self._is_over and self._time_is_up():
            self._is_over = True
            self.unread.append(f"{what}, and all that comes after: no time was left")
        if self._is_over:
            return None
        try:
            return call(*given)
        except (AccessDenied, CallFailed, UnexpectedAnswer) as err:
            logger.error("%s could not be read: %s", what, err)
            self.unread.append(f"{what}: {err}")
            return None


def _methods(
    stage: Stage, deployments: Mapping[str, tuple[Method, ...] | None]
) -> tuple[Method, ...] | None:
    """All that a stage and its canary serve; None if it is not known of both."""
    methods: list[Method] = []
    for deployment_id in stage.deployment_ids:
        deployed = deployments[deployment_id]
        if deployed is None:
            return None
        methods += deployed
    return tuple(methods) or None
