"""Accounts to suggest a policy for: keys in usage plans, with the days on which they were used."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from hypothesis import strategies as st

from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.usage_plan import UsagePlan
from keyjanitor.domain.usage.evidence import UsagePlanAnswer
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS, PlanUsage, UsagePage
from keyjanitor.domain.usage.reading import take_evidence
from keyjanitor_cli.whatif.account import Account
from tests.builders import DAY, TODAY, a_key, a_usage_plan, days_ago, pairs

FIRST = days_ago(USAGE_DAYS)


@dataclass(frozen=True)
class Made:
    """An account as it was made up: who was used in which plan, how many days ago."""

    keys: tuple[ApiKey, ...]
    plans: tuple[UsagePlan, ...]
    used: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)  # plan, key
    busy: bool = True  # every plan has a key that is used every day

    def read(self, today: date = TODAY) -> Account:
        """The account as it is read on a day, which sees the use of the days before it."""
        keys = [*self.keys, *(a_key(f"busy{n}") for n in range(len(self.plans)) if self.busy)]
        keys = [key for key in keys if key.created_date.date() < today]
        listed = {key.key_id for key in keys}
        answers = [self._answer(n, plan, today, listed) for n, plan in enumerate(self.plans)]
        evidence, usages = take_evidence(today, answers, None)
        # What was before the first of the days that were made up is not known, whatever is asked.
        return Account(today, tuple(keys), replace(evidence, first_day=FIRST), True, usages)

    def _answer(
        self, number: int, plan: UsagePlan, today: date, listed: set[str]
    ) -> UsagePlanAnswer:
        start = today - DAY * USAGE_DAYS
        used = {
            key_id: {days_ago(back): 1 for back in backs if days_ago(back) < today}
            for key_id, backs in self.used.get(plan.usage_plan_id, {}).items()
            if key_id in listed
        }
        if self.busy:
            used[f"busy{number}"] = {FIRST + DAY * n: 9 for n in range((today - FIRST).days)}
        usage = PlanUsage(plan, start, today, start)
        items = {key_id: pairs(days, start=start, end=today) for key_id, days in used.items()}
        usage.add(UsagePage(start, today, items))
        return UsagePlanAnswer(plan, tuple(used), usage)


def made(
    *keys: ApiKey, busy: bool = True, plan: UsagePlan | None = None, **used: Iterable[int]
) -> Made:
    """Keys in one plan, of which some were used so many days ago."""
    plan = plan or a_usage_plan()
    members = {key.key_id: tuple(used.get(key.key_id, ())) for key in keys}
    return Made(keys, (plan,), {plan.usage_plan_id: members}, busy)


NAMES = (
    *(
        "external",
        "partners",
        "Partners",
        "unclaimed",
        "gold-1",
        "gold-2",
        "gold 3",
        "",
        "   ",
        "x.y",
    ),
    *('the "blue" one', "a\nb", "ключ", "\u202ereversed", "[tiers.x]", "plan0", "# no", "'''", "9"),
)
MARKS = ("", "Managed by Terraform", "Created by Ansible", "user_id=7", "made by hand")


@st.composite
def accounts(draw: st.DrawFn) -> Made:
    """Accounts of up to sixteen plans and twelve keys, with whatever names, marks and days of use."""
    plans = tuple(
        a_usage_plan(
            f"plan{n}",
            name=draw(st.sampled_from(NAMES)),
            stages=draw(st.sampled_from(((), ("api1:prod",), (f"api{n}:prod",)))),
            has_quota=draw(st.booleans()),
        )
        for n in range(draw(st.integers(1, 16)))
    )
    used: dict[str, dict[str, Sequence[int]]] = {plan.usage_plan_id: {} for plan in plans}
    keys = []
    for n in range(draw(st.integers(0, 12))):
        age = draw(st.integers(1, 120))
        tags = {"Owner": "me", "ansible:role": "web"} if draw(st.booleans()) else {}
        keys.append(a_key(f"k{n}", age=age, tags=tags, description=draw(st.sampled_from(MARKS))))
        days = st.lists(st.integers(1, min(age, USAGE_DAYS)), unique=True, max_size=5)
        for plan_id in draw(st.lists(st.sampled_from(list(used)), unique=True, max_size=2)):
            used[plan_id][f"k{n}"] = draw(days)
    return Made(tuple(keys), plans, used, busy=draw(st.booleans()))
