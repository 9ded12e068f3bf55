"""A policy is suggested that warns no key which was in use, names every plan once, and passes the reader."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.expiry.sweep_input import SweepInput
from keyjanitor.domain.expiry.verdicts import decide
from keyjanitor.domain.model.owner_pattern import check_pattern
from keyjanitor.domain.model.policy import OwnerRule, Policy, Pressure
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.domain.usage.plan_usage import USAGE_DAYS, PlanUsage, UsagePage
from keyjanitor_cli.suggest.habits import Habit, habits_of
from keyjanitor_cli.suggest.in_use import WarnedInUse, warned_in_use
from keyjanitor_cli.suggest.owners import SuggestedRule, owner_rules_of, says_whose
from keyjanitor_cli.suggest.suggestion import AGGRESSIVE, CAREFUL, Strictness, Suggestion, suggest
from keyjanitor_cli.suggest.text import toml_of
from tests.builders import PLAN_ID, TODAY, a_key, a_usage_plan, days_ago, pairs
from tests.unit.suggest.accounts import Made, accounts, made

CONTACT = "api-team@example.org"
strictness = st.sampled_from((CAREFUL, AGGRESSIVE))


def suggestion_for(account: Made, strict: Strictness = CAREFUL) -> Suggestion:
    return suggest(account.read(), strict, CONTACT)


def policy_for(account: Made, strict: Strictness = CAREFUL) -> Policy:
    return parse_policy(toml_of(suggestion_for(account, strict)))


def limits(account: Made, strict: Strictness = CAREFUL) -> tuple[int, int]:
    """The idle limit, and that of keys that were never used, of the only tier."""
    (tier,) = suggestion_for(account, strict).tiers
    return tier.idle_days, tier.never_used_days


# --- laws -----------------------------------------------------------------------------------------


@pytest.mark.slow
@given(accounts(), strictness)
def test_every_plan_is_in_one_tier_or_left_in_unclaimed(account: Made, strict: Strictness) -> None:
    suggestion = suggestion_for(account, strict)
    policy = parse_policy(toml_of(suggestion))
    bound = policy.bind({plan.usage_plan_id: plan.name for plan in account.plans})
    assert bound.problems == ()
    named = [plan.plan_id for tier in suggestion.tiers for plan in tier.plans]
    left = [plan.plan_id for plan in suggestion.left]
    assert sorted(named + left) == sorted(plan.usage_plan_id for plan in account.plans)
    assert {plan_id: tier.name for plan_id, tier in bound.tier_of_plan.items()} == {
        plan.plan_id: tier.name for tier in suggestion.tiers for plan in tier.plans
    }
    assert all(tier.contact for tier in policy.tiers.values())


def warned_on(account: Made, policy: Policy, night: date) -> set[str]:
    """The keys that the rules of a night find past their limit, under the strictest pressure rule."""
    read = account.read(night)
    factor = min((rule.idle_factor for rule in policy.pressure), default=1.0)
    tonight = SweepInput(
        today=night,
        keys=read.keys,
        rows={},
        shelf=(),
        evidence=read.evidence,
        stepped={},
        warnings_only="it is the first night",
    )
    plan = decide(tonight, policy.bind(read.evidence.plan_names()), Pressure(1.0, factor))
    return {verdict.key.key_id for verdict in plan.verdicts if verdict.past is not None}


@pytest.mark.slow
@given(accounts(), strictness)
def test_no_key_that_is_used_again_is_warned_on_any_night_of_the_90_days(
    account: Made, strict: Strictness
) -> None:
    policy = policy_for(account, strict)
    assert warned_in_use(account.read(), policy) == ()
    # A key is silent for longest on the night before its use is seen.
    backs = {back for keys in account.used.values() for used in keys.values() for back in used}
    for night in map(days_ago, backs):
        used_again = {
            key_id
            for keys in account.used.values()
            for key_id, backs in keys.items()
            if any(days_ago(back) >= night for back in backs)
        }
        assert not warned_on(account, policy, night) & used_again


@given(accounts(), strictness)
def test_no_key_that_was_used_within_its_limit_is_warned_tonight(
    account: Made, strict: Strictness
) -> None:
    policy = policy_for(account, strict)
    bound = policy.bind({plan.usage_plan_id: plan.name for plan in account.plans})
    factor = min((rule.idle_factor for rule in policy.pressure), default=1.0)
    within = set()
    for key in account.keys:
        plans = [plan_id for plan_id, keys in account.used.items() if key.key_id in keys]
        limit = bound.tier_by_plans(plans).idle_limit(never_used=False, factor=factor)
        backs = [back for plan_id in plans for back in account.used[plan_id][key.key_id]]
        if backs and (limit is None or min(backs) < limit):
            within.add(key.key_id)
    assert not warned_on(account, policy, TODAY) & within


@pytest.mark.slow
@given(accounts(), strictness)
def test_the_order_of_keys_and_plans_makes_no_difference(account: Made, strict: Strictness) -> None:
    turned = replace(account, keys=account.keys[::-1])
    assert toml_of(suggestion_for(account, strict)) == toml_of(suggestion_for(turned, strict))


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backs", "careful", "aggressive"),
    [
        ((), 60, 35),
        ((3,), 135, 105),  # silent for at least 87 days before
        (range(0, 90, 7), 60, 35),
        (range(1, 90, 31), 60, 40),  # a monthly client: 31, and 5 days
        ((2, 47), 70, 55),  # it came back after 45 days
        ((2, 82), 120, 95),
    ],
)
def test_an_idle_limit_is_above_the_longest_silence_by_a_margin(
    backs: tuple[int, ...], careful: int, aggressive: int
) -> None:
    account = made(a_key("k"), k=backs)
    assert limits(account, CAREFUL)[0] == careful
    assert limits(account, AGGRESSIVE)[0] == aggressive


def test_the_days_before_the_first_use_of_an_old_key_are_a_silence_too() -> None:
    assert limits(made(a_key("k", age=400), k=[10]))[0] == 120  # 80 days, and 40 more


@pytest.mark.parametrize(("begins", "gap"), [(20, 18), (USAGE_DAYS, USAGE_DAYS - 2)])
def test_days_of_which_a_plan_tells_nothing_are_no_silence(begins: int, gap: int) -> None:
    """API Gateway may answer with fewer days than were asked for, as of a plan that is new."""
    usage = PlanUsage(a_usage_plan(), days_ago(USAGE_DAYS), TODAY, days_ago(USAGE_DAYS))
    start = days_ago(begins)
    usage.add(UsagePage(start, TODAY, {"k": pairs({days_ago(2): 1}, start=start, end=TODAY)}))
    [habit] = habits_of(TODAY, [a_key("k", age=400)], {PLAN_ID: usage}).values()
    assert habit == Habit(days_used=1, gap=gap, first_use_after=None)


@pytest.mark.parametrize(
    ("used", "careful", "aggressive"), [(50, 14, 7), (40, 20, 15), (5, 70, 55)]
)
def test_the_limit_of_unused_keys_is_above_the_longest_time_to_a_first_use(
    used: int, careful: int, aggressive: int
) -> None:
    account = made(a_key("k", age=50), k=[used])
    assert limits(account, CAREFUL)[1] == careful
    assert limits(account, AGGRESSIVE)[1] == aggressive


def test_the_days_on_which_a_quota_was_used_up_are_use() -> None:
    account = made(a_key("k"), k=[80, 2]).read()
    usage = account.usages["plan1"]
    usage.days["k"][2 * 50 + 1] = 0  # nothing was left 40 days ago
    (tier,) = suggest(account, CAREFUL, CONTACT).tiers
    assert tier.gap is not None
    assert tier.gap.days == 40


def test_a_pressure_rule_never_reaches_what_was_seen() -> None:
    assert suggestion_for(made(a_key("k"))).factor == 0.5
    assert suggestion_for(made(a_key("k"), k=[2, 47])).factor == 0.8  # 70 days; 56 are over 52
    assert suggestion_for(made(a_key("k"), k=[2, 47]), AGGRESSIVE).factor == 0.9
    assert suggestion_for(made(a_key("k", age=50), k=[20]), AGGRESSIVE).factor is None


def test_a_policy_that_warns_a_key_in_use_is_told_so() -> None:
    account = made(a_key("k"), k=[2, 47]).read()
    strict = parse_policy(
        '[tiers.unclaimed]\nidle_days = "never"\n[tiers.external]\ncontact = "me"\n'
        'usage_plans = ["external"]\nidle_days = 60\n[[pressure]]\nabove = 0.9\nidle_factor = 0.5\n'
    )
    assert warned_in_use(account, strict) == (WarnedInUse("k", "external", 45, 35),)
    assert warned_in_use(account, replace(strict, pressure=())) == ()


# --- plans ----------------------------------------------------------------------------------------


def left_because(account: Made) -> dict[str, str | None]:
    return {plan.plan_id: plan.doubt for plan in suggestion_for(account).left}


def test_plans_whose_silence_proves_nothing_stay_in_unclaimed_with_the_reason() -> None:
    silent = made(a_key("k"), busy=False)
    assert left_because(silent) == {
        "plan1": "no request was seen in it, so its silence proves nothing"
    }
    assert '# silent_plans = ["external"]\nsilent_plans = []' in toml_of(suggestion_for(silent))
    shut = made(a_key("k"), plan=a_usage_plan(stages=()))
    assert left_because(shut) == {"plan1": "it opens no stage, so no use of its keys can show"}
    assert left_because(made(busy=False)) == {"plan1": "it has no keys"}


def many_plans(*names: str) -> Made:
    """Plans with a key each that is used every day."""
    plans = tuple(a_usage_plan(f"p{n:02}", name=name) for n, name in enumerate(names))
    return Made((), plans)


def test_a_few_plans_are_a_tier_each_under_their_own_names() -> None:
    tiers = suggestion_for(many_plans("Front End", "unclaimed", "gold/1", "gold-1", "  ")).tiers
    assert [tier.name for tier in tiers] == [
        "front-end",
        "plan-unclaimed",
        "gold-1",
        "gold-1-2",
        "plan",
    ]


def test_many_plans_are_put_together_by_the_first_word_of_their_names() -> None:
    names = [*(f"gold-{n}" for n in range(8)), *(f"silver-{n}" for n in range(4)), "other", "one"]
    tiers = suggestion_for(many_plans(*names)).tiers
    assert [(tier.name, len(tier.plans)) for tier in tiers] == [
        ("gold", 8),
        ("silver", 4),
        ("plans-60-days", 2),
    ]


def test_what_is_left_of_many_plans_is_put_together_by_its_idle_limit() -> None:
    account = many_plans(*(f"{letter} one" for letter in "abcdefghijklm"))
    account = replace(account, keys=(a_key("k"),), used={"p03": {"k": [2, 47]}})
    tiers = suggestion_for(account).tiers
    assert [(tier.name, len(tier.plans), tier.idle_days) for tier in tiers] == [
        ("plans-60-days", 12, 60),
        ("plans-70-days", 1, 70),
    ]


@pytest.mark.parametrize("name", ["", "two\nlines", "\u202ereversed", "p01", "twin", "x" * 200])
def test_a_plan_whose_name_is_not_clear_is_written_by_its_id(name: str) -> None:
    account = many_plans(name, "twin", "twin")
    policy = policy_for(account)
    written = {plan for tier in policy.tiers.values() for plan in tier.usage_plans}
    assert written == {"p00", "p01", "p02"}


# --- marks and owners -----------------------------------------------------------------------------


def test_marks_of_other_tools_are_counted_and_new_ones_are_added() -> None:
    keys = (
        a_key("a", description="Managed by Terraform, see git"),
        a_key("b", tags={"managed_by": "x"}),
        a_key("c", tags={"ManagedBy": "y", "terraform": "1"}),
        a_key("d", tags={"aws:cloudformation:stack-name": "web", "ManagedBy": "cdk"}),
        a_key("e", tags={"Keyjanitor:Keep": ""}),
        a_key("f", tags={"Ansible-Role": "x"}),
        a_key("g", tags={"ansible_role": "x"}),
        a_key("h", description="Created by Spinnaker on Monday"),
        a_key("i", name="sls-orders"),
        a_key("j", name="chefs-table", tags={"team": "helmet"}, description="made by hand"),
    )
    suggestion = suggestion_for(made(*keys))
    assert suggestion.marks.known == {
        ("tags", "ManagedBy"): 1,
        ("tags", "Terraform"): 1,
        ("descriptions", "Managed by Terraform"): 1,
    }
    assert suggestion.marks.new == {
        ("tags", "Ansible-Role"): 2,
        ("descriptions", "Created by Spinnaker"): 1,
        ("name_prefixes", "sls-"): 1,
    }
    assert (suggestion.marks.stacks, suggestion.marks.kept) == (1, 1)
    owned = parse_policy(toml_of(suggestion)).owned
    assert owned.tags[-1] == "Ansible-Role"
    assert owned.descriptions[-1] == "Created by Spinnaker"
    assert owned.name_prefixes == ("sls-",)


THREE_WAYS = (
    *(a_key(f"a{n}", description=f"user_id={n} of the shop") for n in range(8)),
    *(a_key(f"b{n}", name=f"api-key-{name}-prod") for n, name in enumerate(("geo", "tax", "ads"))),
    *(a_key(f"c{n}", tags={"Owner": "ann"}, customer_id=f"{n}") for n in range(2)),
)


def test_rules_are_suggested_for_what_most_texts_of_a_place_say() -> None:
    suggestion = suggestion_for(made(*THREE_WAYS))
    stages = "dev|test|qa|uat|stage|staging|preprod|prod|production|live|sandbox"
    assert suggestion.owners == (
        SuggestedRule(OwnerRule("tag:Owner", "(?P<owner>.+)"), 2, 2),
        SuggestedRule(OwnerRule("customer_id", "(?P<owner>.+)"), 2, 2),
        SuggestedRule(OwnerRule("description", r"\buser_id\s*=\s*(?P<owner>[^\s,;]+)"), 8, 8),
        SuggestedRule(OwnerRule("name", rf"^api-key-(?P<owner>.+)[-_](?:{stages})$"), 3, 14),
    )
    text = toml_of(suggestion)
    assert [rule.place for rule in parse_policy(text).owners] == [
        "tag:Owner",
        "customer_id",
        "description",
    ]
    assert (
        "# 8 of 8 keys that have a text there:\n[[owners]]\n"
        'from = "description"\n'
        "pattern = '\\buser_id\\s*=\\s*(?P<owner>[^\\s,;]+)'\n"
    ) in text
    assert (
        "# 3 of 14 keys that have a text there:\n# [[owners]]\n"
        '# from = "name"\n'
        f"# pattern = '^api-key-(?P<owner>.+)[-_](?:{stages})$'\n"
    ) in text


def test_an_account_that_names_no_owner_gets_no_rule() -> None:
    suggestion = suggestion_for(made(a_key("a", description="a key"), a_key("b", name="b")))
    assert suggestion.owners == ()
    assert "[[owners]]" not in toml_of(suggestion)


@given(st.lists(st.text(st.sampled_from("aA1-_:= .@'\"\\\n\u202e"), max_size=12), max_size=8))
def test_whatever_names_and_descriptions_hold_the_suggested_rules_are_a_policy(
    texts: list[str],
) -> None:
    keys = [
        a_key(f"k{n}", name=f"app-x-{text}-prod", description=f"user id: {text}", customer_id=text)
        for n, text in enumerate(texts)
    ]
    rules = owner_rules_of(keys)
    for one in rules:
        check_pattern(one.rule.pattern)
    assert says_whose(keys, rules) <= len(keys)


# --- the text -------------------------------------------------------------------------------------


def test_each_limit_says_why_it_is_so() -> None:
    account = made(
        a_key("monthly"), a_key("late", age=50), a_key("prompt", age=20), a_key("silent"),
        monthly=range(1, 90, 31), late=[20], prompt=[20],
    )  # fmt: skip
    text = toml_of(suggestion_for(account))
    tier = text[text.index("# 5 keys in 1") : text.index("# When the account")]
    assert (
        tier
        == """\
# 5 keys in 1 usage plan; 4 of them were used in the last 90 days.
# 1 key came back after a silence of 25 days or longer.
[tiers.external]
contact = "api-team@example.org"   # a label that warnings carry; a tier without one is never swept
usage_plans = ["external"]
# The longest seen: key monthly was silent for 31 days and then used again. With a margin of 16 days, and not under 60:
idle_days = 60
# The longest seen: key late was used first 30 days after it was made. With a margin of 15 days, and not under 14:
never_used_days = 45
warn_days = 14           # from the warning until the key is disabled
grace_days = 14          # from there until it is parked

"""
    )
    prompt = toml_of(suggestion_for(made(a_key("prompt", age=20), prompt=[20])))
    assert "key prompt was used first on the day on which it was made. With" in prompt
    silent = toml_of(suggestion_for(made(a_key("silent"))))
    assert (
        "# No use of these keys says how long the next limit has to be. It is the lowest" in silent
    )


def test_a_text_of_others_ends_no_comment_and_no_string() -> None:
    keys = [a_key("k", tags={"owner\nidle_days = 1": "x"}, description='Made by chef"\n[tiers.x]')]
    plans = (a_usage_plan("p0", name='a"]\nidle_days = 1'), a_usage_plan("p1", name="# b"))
    policy = policy_for(Made(tuple(keys), plans))
    assert set(policy.tiers) == {"unclaimed", "a-idle-days-1", "b"}
    assert {tier.idle_days for tier in policy.tiers.values()} == {"never", 60}
