"""Reads every usage plan of the account: members and use, page by page, one plan after the other."""

from collections.abc import Callable, Iterable, Iterator
from datetime import date

from aws_lambda_powertools import Logger

from keyjanitor.domain.model.keys import DAY
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.evidence import Evidence, UsagePlanAnswer
from keyjanitor.domain.usage.plan_usage import HISTORY_DAYS, USAGE_DAYS, PlanUsage
from keyjanitor.domain.usage.reading import history_from
from keyjanitor.domain.usage.usage_file import ROWS
from keyjanitor.errors import AccessDenied, CallFailed, EmptyListing, UnexpectedAnswer
from keyjanitor.services.ports import UsageGateway

# Of so many keys and days are the numbers kept until they are in the usage files: some 250 MB.
NUMBERS = 10_000_000

logger = Logger(child=True)


class _TimeIsUp(Exception):
    """The run has to end in the middle of a plan."""


class Reader:
    """Reads the plans that no earlier run of the night has read (`done`), as long as there is time.

    Plans are read in the order of their ids. Raises EmptyListing if no plan is listed where the
    evidence before had some, and what listing the plans raises.
    """

    def __init__(
        self,
        today: date,
        gateway: UsageGateway,
        before: Evidence | None,
        done: Iterable[UsagePlanAnswer] = (),
        time_is_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._today = today
        self._gateway = gateway
        self._before = before
        self._time_is_up = time_is_up
        plans = gateway.usage_plans()
        if not plans and before is not None and before.plans:
            raise EmptyListing("usage plans", len(before.plans))
        self._plans = {plan.usage_plan_id: plan for plan in plans}
        # What is no more was deleted since an earlier run read it.
        read = {answer.plan.usage_plan_id: answer for answer in done}
        self.answers = {
            plan_id: answer for plan_id, answer in read.items() if plan_id in self._plans
        }
        self._ids: dict[str, str] = {}
        self._rows = ROWS - sum(map(_rows, self.answers.values()))
        self._numbers = NUMBERS - sum(map(_numbers, self.answers.values()))

    @property
    def left(self) -> list[str]:
        """The ids of the plans that were not read yet."""
        return sorted(self._plans.keys() - self.answers.keys())

    def read(self) -> Iterator[UsagePlanAnswer]:
        """The answer for each plan that is left, one after the other, until time is up.

        A plan that fails is named unread, and the others go on.
        """
        for plan_id in self.left:
            if self._time_is_up():
                return
            try:
                answer = self._read(self._plans[plan_id])
            except _TimeIsUp:
                return
            self.answers[plan_id] = answer
            self._rows -= _rows(answer)
            self._numbers -= _numbers(answer)
            yield answer

    def _read(self, plan: UsagePlan) -> UsagePlanAnswer:
        members: tuple[str, ...] | None = None
        start, end = self._today - DAY * USAGE_DAYS, self._today
        usage = PlanUsage(plan, start, end)
        try:
            # The same id is told by many plans, and is kept once.
            members = tuple(
                self._ids.setdefault(key_id, key_id)
                for key_id in self._gateway.members(plan.usage_plan_id)
            )
            usage = self._usage(plan, len(members))
            for page in self._gateway.usage(plan.usage_plan_id, start, end):
                usage.add(page)
                if self._time_is_up():
                    raise _TimeIsUp
        except (AccessDenied, CallFailed, UnexpectedAnswer) as err:
            logger.error("usage plan %s is unread: %s", plan.usage_plan_id, err)
            # What came before it failed is use that a reading has shown; silence it is not.
            return UsagePlanAnswer(plan, members, usage, failed=str(err))
        return UsagePlanAnswer(plan, members, usage)

    def _usage(self, plan: UsagePlan, members: int) -> PlanUsage:
        """An empty PlanUsage, with as many days for the usage files as memory allows."""
        first = history_from(plan.usage_plan_id, self._today, self._before)
        room = max(HISTORY_DAYS, self._numbers // max(1, members))
        return PlanUsage(
            plan,
            self._today - DAY * USAGE_DAYS,
            self._today,
            max(first, self._today - DAY * min(room, USAGE_DAYS)),
            kept=members <= self._rows,
            same=self._ids,
        )


def read_plans(
    today: date, gateway: UsageGateway, before: Evidence | None
) -> list[UsagePlanAnswer]:
    """The answer for every plan, in one go."""
    return list(Reader(today, gateway, before).read())


def _rows(answer: UsagePlanAnswer) -> int:
    kept = answer.usage is not None and answer.usage.kept
    return len(answer.members or ()) if kept else 0


def _numbers(answer: UsagePlanAnswer) -> int:
    return _rows(answer) * answer.usage.days_kept if answer.usage else 0
