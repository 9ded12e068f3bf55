"""`policy.toml`: what is right is read as it says, what is wrong is told with its path and what is allowed."""

import re
from math import inf
from pathlib import Path

import pytest

from keyjanitor.domain.model.owners import Mark
from keyjanitor.domain.model.policy import (
    DESCRIPTIONS,
    TAGS,
    Alerts,
    Operators,
    Owned,
    Policy,
    Pressure,
    PressureRule,
    Quota,
    Rate,
    Sweep,
    Tier,
)
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.errors import Mistake, PolicyError
from tests.builders import a_policy, a_tier, unclaimed

SHIPPED = (Path(__file__).parents[3] / "layers" / "policy" / "policy.toml").read_text("utf-8")
LEAST = '[tiers.unclaimed]\nidle_days = "never"\n'

EXTERNAL = """
[tiers.external]
contact = "api-team@example.org"
usage_plans = ["external"]
stages = ["a1b2c3d4e5:prod"]
throttle = { rate_limit = 10, burst_limit = 20 }
quota = { limit = 50_000, period = "MONTH" }
method_throttle = { "/search/POST" = { rate_limit = 2, burst_limit = 4 } }
never_used_days = 14
idle_days = 60
warn_days = 14
grace_days = 14
retain_days = 365
orphan_days = 14
max_keys_per_owner = 2
reserve = 0
senders = ["*"]
admins = []
recipients = ["arn:aws:iam::123456789012:role/portal"]
"""


def shipped_with_examples() -> str:
    """The shipped file with its example tiers' comment marks taken away."""
    lines = SHIPPED.splitlines()
    start = lines.index("# [tiers.external]")
    end = next(index for index in range(start, len(lines)) if not lines[index].startswith("#"))
    lines[start:end] = [line.removeprefix("# ").removeprefix("#") for line in lines[start:end]]
    return "\n".join(lines)


# --- what is right --------------------------------------------------------------------------------

SHIPPED_UNCLAIMED = Tier(
    name="unclaimed",
    contact=None,
    usage_plans=(),
    stages=(),
    throttle=None,
    quota=None,
    method_throttle={},
    never_used_days=14,
    idle_days="never",
    warn_days=14,
    grace_days=14,
    retain_days=365,
    orphan_days=14,
    max_keys_per_owner=2,
    max_life_days=None,
    max_protect_days=90,
    new_keys_per_day=200,
    new_keys_per_sender_per_hour=100,
    reserve=0,
    senders=(),
    admins=(),
    recipients=(),
)


def test_the_shipped_policy_has_unclaimed_alone_which_sweeps_nobody() -> None:
    assert parse_policy(SHIPPED) == Policy(
        service_quota=10_000,
        silent_plans=(),
        sweep=Sweep(max_share=0.05, max_keys=500),
        owned=Owned(DESCRIPTIONS, TAGS, ()),
        tiers={"unclaimed": SHIPPED_UNCLAIMED},
        pressure=(PressureRule(above=0.9, idle_factor=0.5, freeze=()),),
        alerts=Alerts((0.8, 0.9, 0.95, 0.98), 0.03, (60, 30, 14)),
    )


def test_the_examples_of_the_shipped_policy_are_right_once_their_marks_are_taken_away() -> None:
    tiers = parse_policy(shipped_with_examples()).tiers
    assert list(tiers) == ["unclaimed", "external", "front-end", "partners"]
    assert tiers["external"] == Tier(
        name="external",
        contact="api-team@example.org",
        usage_plans=("external",),
        stages=("a1b2c3d4e5:prod",),
        throttle=Rate(10, 20),
        quota=Quota(50_000, "MONTH"),
        method_throttle={"/search/POST": Rate(2, 4)},
        never_used_days=14,
        idle_days=60,
        warn_days=14,
        grace_days=14,
        retain_days=365,
        orphan_days=14,
        max_keys_per_owner=2,
        max_life_days=365,
        declared_inactivity_days=90,
        max_protect_days=90,
        new_keys_per_day=200,
        new_keys_per_sender_per_hour=100,
        reserve=0,
        senders=("*",),
        admins=(),
        recipients=("arn:aws:iam::123456789012:role/portal",),
    )
    assert tiers["front-end"].idle_days == "never"
    assert tiers["partners"].idle_days == 180


def test_the_least_policy_has_the_shipped_defaults() -> None:
    least, shipped = parse_policy(LEAST), parse_policy(SHIPPED)
    assert least == Policy(
        service_quota=shipped.service_quota,
        silent_plans=shipped.silent_plans,
        sweep=shipped.sweep,
        owned=shipped.owned,
        tiers=shipped.tiers,
        pressure=(),
        alerts=shipped.alerts,
    )


@pytest.mark.parametrize(
    "text",
    [
        'silent_plans = ["p1", "p2"]\n' + LEAST,
        "service_quota = 1\n" + LEAST,
        LEAST + "warn_days = 1\ngrace_days = 3650\nretain_days = 3650\norphan_days = 365\n",
        LEAST + "reserve = 10_000\n",
        LEAST + "[sweep]\nmax_share = 1\nmax_keys = 10_000\n",
        LEAST + "[owned]\ndescriptions = []\ntags = []\nname_prefixes = ['tf-']\n",
        LEAST
        + "[[pressure]]\nabove = 0.8\nidle_factor = 1\n[[pressure]]\nabove = 1\nidle_factor = 0.01\n",
        LEAST + "[[pressure]]\nabove = 0.8\nidle_factor = 1\nfreeze = ['unclaimed']\n",
        LEAST + "[alerts]\nlevels = []\ndays_to_limit = []\n",
        LEAST + "[operators]\n",
        LEAST + "[operators]\nids = ['AROAEXAMPLEEXAMPLE012', 'AIDAEXAMPLEEXAMPLE012']\n",
        LEAST + EXTERNAL,
        LEAST + EXTERNAL.replace("throttle = { rate_limit = 10, burst_limit = 20 }\n", "", 1),
        LEAST + EXTERNAL.replace('quota = { limit = 50_000, period = "MONTH" }\n', ""),
        LEAST + '[tiers.other]\nidle_days = 1\nusage_plans = ["other"]\n' + EXTERNAL,
    ],
)
def test_what_is_allowed_at_the_edge_is_allowed(text: str) -> None:
    assert parse_policy(text).tiers["unclaimed"].idle_days == "never"


def test_the_operators_are_the_ids_of_their_table() -> None:
    assert parse_policy(LEAST).operators == Operators()
    listed = f"[operators]\nids = ['{ROLE}']\n"
    assert parse_policy(LEAST + listed).operators == Operators((ROLE,))


# --- what is wrong --------------------------------------------------------------------------------


def in_unclaimed(line: str) -> str:
    return LEAST + line + "\n"


def in_external(field: str, value: str | None) -> str:
    """The example tier with one field's line changed, or taken away."""
    line = "" if value is None else f"{field} = {value}"
    return LEAST + re.sub(rf"(?m)^{field} = .*$", line, EXTERNAL)


ROLE = "AROAEXAMPLEEXAMPLE012"
WHOLE_DAYS = "allowed: a whole number of days from 1 to 3650"
# A text, the path of what is wrong in it, and a part of what is said to be allowed there.
WRONG = [
    ("= 1", "(file)", "is not TOML"),
    (LEAST + "idle_days = 5", "(file)", "is not TOML"),
    ("", "tiers.unclaimed", "it has the keys that no tier names"),
    ("[tiers.external]\nidle_days = 60", "tiers.unclaimed", "it has the keys that no tier names"),
    ("tiers = 5", "tiers.unclaimed", "is missing"),
    ("tiers.unclaimed = 5", "tiers.unclaimed", "must be a table"),
    ("[tiers.unclaimed]\nwarn_days = 14", "tiers.unclaimed.idle_days", '3650, or "never"'),
    ('[tiers.unclaimed]\nidle_days = "Never"', "tiers.unclaimed.idle_days", '3650, or "never"'),
    ("[tiers.unclaimed]\nidle_days = 0", "tiers.unclaimed.idle_days", '3650, or "never"'),
    ("[tiers.unclaimed]\nidle_days = true", "tiers.unclaimed.idle_days", '3650, or "never"'),
    ("[tiers.unclaimed]\nidle_days = 60.0", "tiers.unclaimed.idle_days", '3650, or "never"'),
    (in_unclaimed("idle_day = 5"), "tiers.unclaimed.idle_day", "allowed here: admins, contact"),
    (in_unclaimed('usage_plans = ["x"]'), "tiers.unclaimed.usage_plans", "what no tier names"),
    (in_unclaimed("never_used_days = 0"), "tiers.unclaimed.never_used_days", WHOLE_DAYS),
    (in_unclaimed("max_life_days = 0"), "tiers.unclaimed.max_life_days", WHOLE_DAYS),
    (in_unclaimed("max_protect_days = 3651"), "tiers.unclaimed.max_protect_days", WHOLE_DAYS),
    (in_unclaimed("new_keys_per_day = 0"), "tiers.unclaimed.new_keys_per_day", "1 to 10000"),
    (
        in_unclaimed("new_keys_per_sender_per_hour = true"),
        "tiers.unclaimed.new_keys_per_sender_per_hour",
        "1 to 10000",
    ),
    (in_unclaimed("warn_days = 0"), "tiers.unclaimed.warn_days", WHOLE_DAYS),
    (in_unclaimed("warn_days = -1"), "tiers.unclaimed.warn_days", WHOLE_DAYS),
    (in_unclaimed('warn_days = "14"'), "tiers.unclaimed.warn_days", WHOLE_DAYS),
    (in_unclaimed("warn_days = true"), "tiers.unclaimed.warn_days", WHOLE_DAYS),
    (in_unclaimed("grace_days = 0"), "tiers.unclaimed.grace_days", WHOLE_DAYS),
    (in_unclaimed("retain_days = 3651"), "tiers.unclaimed.retain_days", WHOLE_DAYS),
    (in_unclaimed("orphan_days = 366"), "tiers.unclaimed.orphan_days", "from 1 to 365"),
    (in_unclaimed("max_keys_per_owner = 0"), "tiers.unclaimed.max_keys_per_owner", "1 to 10000"),
    (in_unclaimed("reserve = -1"), "tiers.unclaimed.reserve", "a whole number from 0 to 10000"),
    (in_unclaimed('contact = ""'), "tiers.unclaimed.contact", "allowed: a text in one line"),
    (in_unclaimed('contact = " "'), "tiers.unclaimed.contact", "allowed: a text in one line"),
    (LEAST + '[tiers."a b"]\nidle_days = 60', 'tiers."a b"', "a name of letters"),
    (in_unclaimed("contact = 5"), "tiers.unclaimed.contact", "allowed: a text in one line"),
    (in_unclaimed('senders = "*"'), "tiers.unclaimed.senders", "allowed: a list"),
    (in_unclaimed(f'admins = ["{ROLE}", "{ROLE}"]'), "tiers.unclaimed.admins[1]", "there twice"),
    (in_unclaimed(f'admins = ["{ROLE}", ""]'), "tiers.unclaimed.admins[1]", "allowed: the id of"),
    (LEAST + "operators = []\n", "tiers.unclaimed.operators", "is not a field"),
    (LEAST + '[operators]\nids = ["*"]\n', "operators.ids[0]", "allowed: the id of"),
    (LEAST + '[operators]\nids = ["oncall"]\n', "operators.ids[0]", "allowed: the id of"),
    (LEAST + "[operators]\nadmins = []\n", "operators.admins", "allowed here: ids"),
    (in_external("usage_plans", "[5]"), "tiers.external.usage_plans[0]", "allowed: a text"),
    (in_external("stages", '["prod"]'), "tiers.external.stages[0]", '"API_ID:STAGE"'),
    (in_external("stages", None), "tiers.external.stages", "needs recipients, stages"),
    (in_external("stages", "[]"), "tiers.external.stages", "needs recipients, stages"),
    (in_external("recipients", None), "tiers.external.recipients", "needs recipients, stages"),
    (
        in_external("throttle", None).replace("quota = {", "#"),
        "tiers.external.throttle",
        "a throttle or a quota",
    ),
    (in_external("recipients", '["portal"]'), "tiers.external.recipients[0]", "the ARN of a role"),
    (in_external("throttle", "10"), "tiers.external.throttle", "must be a table"),
    (
        in_external("throttle", "{ rate_limit = 10 }"),
        "tiers.external.throttle.burst_limit",
        "a whole number from 1 to 5000",
    ),
    (
        in_external("throttle", "{ burst_limit = 10 }"),
        "tiers.external.throttle.rate_limit",
        "a number above 0, at most 10000",
    ),
    (
        in_external("throttle", "{ rate_limit = 0, burst_limit = 1 }"),
        "tiers.external.throttle.rate_limit",
        "a number above 0, at most 10000",
    ),
    (
        in_external("throttle", "{ rate_limit = 1, burst_limit = 1.5 }"),
        "tiers.external.throttle.burst_limit",
        "a whole number from 1 to 5000",
    ),
    (
        in_external("throttle", "{ rate_limit = 1, burst_limit = 1, per = 's' }"),
        "tiers.external.throttle.per",
        "allowed here: burst_limit, rate_limit",
    ),
    (
        in_external("quota", '{ limit = 5, period = "YEAR" }'),
        "tiers.external.quota.period",
        '"DAY", "WEEK" or "MONTH"',
    ),
    (
        in_external("quota", '{ limit = 0, period = "DAY" }'),
        "tiers.external.quota.limit",
        "a whole number from 1 to 2147483647",
    ),
    (
        in_external("quota", "{ limit = 5 }"),
        "tiers.external.quota.period",
        '"DAY", "WEEK" or "MONTH"',
    ),
    (in_external("method_throttle", "5"), "tiers.external.method_throttle", "a table such as"),
    (
        in_external("method_throttle", '{ "POST" = { rate_limit = 1, burst_limit = 1 } }'),
        'tiers.external.method_throttle."POST"',
        '"/PATH/METHOD"',
    ),
    (
        in_external("method_throttle", '{ "/a/POST" = { rate_limit = 1 } }'),
        'tiers.external.method_throttle."/a/POST".burst_limit',
        "a whole number from 1 to 5000",
    ),
    (
        in_external(
            "method_throttle",
            "{ "
            + ", ".join(f'"/a{n}/GET" = {{ rate_limit = 1, burst_limit = 1 }}' for n in range(21))
            + " }",
        ),
        "tiers.external.method_throttle",
        "holds at most 20",
    ),
    ("service_quota = 0\n" + LEAST, "service_quota", "a whole number from 1 to 10000"),
    ("service_quota = 10_001\n" + LEAST, "service_quota", "a whole number from 1 to 10000"),
    ("service_quota = '1'\n" + LEAST, "service_quota", "a whole number from 1 to 10000"),
    ("silent_plans = 'x'\n" + LEAST, "silent_plans", "allowed: a list"),
    (
        "silent = []\n" + LEAST,
        "silent",
        "allowed here: access_logs, access_logs_max_gb, alerts, operators, owned, owners, pressure, service_quota",
    ),
    (LEAST + "reserve = 6_000\n[tiers.a]\nidle_days = 1\nreserve = 4_001", "tiers", "10000 keys"),
    (LEAST + "[sweep]\nmax_share = 0", "sweep.max_share", "a number above 0, at most 1"),
    (LEAST + "[sweep]\nmax_share = 1.01", "sweep.max_share", "a number above 0, at most 1"),
    (LEAST + "[sweep]\nmax_share = nan", "sweep.max_share", "a number above 0, at most 1"),
    (LEAST + "[sweep]\nmax_share = true", "sweep.max_share", "a number above 0, at most 1"),
    (LEAST + "[sweep]\nmax_keys = 0", "sweep.max_keys", "a whole number from 1 to 10000"),
    (LEAST + "[sweep]\nmaxkeys = 5", "sweep.maxkeys", "allowed here: max_keys, max_share"),
    ("sweep = 5\n" + LEAST, "sweep", "must be a table"),
    (LEAST + "[owned]\ntags = [5]", "owned.tags[0]", "allowed: the key of a tag"),
    (LEAST + "[owned]\nprefixes = []", "owned.prefixes", "allowed here: descriptions"),
    ("pressure = 5\n" + LEAST, "pressure", "[[pressure]]"),
    (LEAST + "[pressure]\nabove = 1\nidle_factor = 1", "pressure", "[[pressure]]"),
    (LEAST + "[[ladder]]\nabove = 0.9\npatience = 0.5", "ladder", "is called pressure now"),
    (
        LEAST + "[[pressure]]\nabove = 0.9\nidle_factor = 0.5\npatience = 0.5",
        "pressure[0].patience",
        "is called idle_factor now",
    ),
    (LEAST + "[[pressure]]\nidle_factor = 1", "pressure[0].above", "a number above 0, at most 1"),
    (LEAST + "[[pressure]]\nabove = 0.9", "pressure[0].idle_factor", "a number above 0, at most 1"),
    (
        LEAST + "[[pressure]]\nabove = 0.9\nidle_factor = 0",
        "pressure[0].idle_factor",
        "above 0, at most 1",
    ),
    (
        LEAST + "[[pressure]]\nabove = 0.9\nidle_factor = 1.5",
        "pressure[0].idle_factor",
        "at most 1",
    ),
    (
        LEAST
        + "[[pressure]]\nabove = 0.9\nidle_factor = 0.5\n[[pressure]]\nabove = 0.9\nidle_factor = 0.4",
        "pressure[1].above",
        "allowed: each above the one before",
    ),
    (
        LEAST
        + "[[pressure]]\nabove = 0.8\nidle_factor = 0.5\n[[pressure]]\nabove = 0.9\nidle_factor = 0.5",
        "pressure[1].idle_factor",
        "allowed: each below the one before",
    ),
    (
        LEAST + "[[pressure]]\nabove = 0.9\nidle_factor = 0.5\nfreeze = ['external']",
        "pressure[0].freeze",
        "one of ['unclaimed']",
    ),
    (LEAST + "[alerts]\nlevels = [0.9, 0.8]", "alerts.levels[1]", "each above the one before"),
    (LEAST + "[alerts]\nlevels = [1.1]", "alerts.levels[0]", "a number above 0, at most 1"),
    (
        LEAST + "[alerts]\ndays_to_limit = [14, 30]",
        "alerts.days_to_limit[1]",
        "each below the one before",
    ),
    (LEAST + "[alerts]\nclear_margin = 0.6", "alerts.clear_margin", "above 0, at most 0.5"),
    (LEAST + "[alerts]\nlevel = []", "alerts.level", "allowed here: clear_margin"),
]


@pytest.mark.parametrize(("text", "path", "allowed"), WRONG)
def test_a_wrong_policy_is_told_with_its_path_and_what_is_allowed(
    text: str, path: str, allowed: str
) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(text)
    assert (raised.value.path, allowed in raised.value.reason) == (path, True), str(raised.value)
    assert str(raised.value).startswith(f"policy.toml: {path}: ")


# --- as it is saved, and as people write it -------------------------------------------------------


@pytest.mark.parametrize("data", [f"\ufeff{LEAST}", f"\ufeff{LEAST}".encode(), LEAST.replace("\n", "\r\n").encode()])  # fmt: skip
def test_a_byte_order_mark_and_the_line_ends_of_windows_say_nothing(data: str | bytes) -> None:
    assert parse_policy(data) == parse_policy(LEAST)


@pytest.mark.parametrize(
    ("data", "reason", "line"),
    [
        (LEAST.encode("utf-16"), "is UTF-16; save it as UTF-8", None),
        (LEAST.encode("utf-32"), "is UTF-32; save it as UTF-8", None),
        (LEAST.encode("utf-16-le"), "has zero bytes, as UTF-16 has; save it as UTF-8", None),
        (
            (LEAST + 'contact = "büro@example.org"').encode("latin-1"),
            "is not UTF-8: the byte 0xFC, in Latin-1 'ü'; save it as UTF-8",
            3,
        ),
        (
            LEAST + "admins = [“x”]",
            'is not TOML: Invalid value: the character U+201C (left double quotation mark); write " in its place',
            3,
        ),
        (
            LEAST + "warn_days =\u00a014",
            "is not TOML: Invalid value: the character U+00A0 (no-break space); write a plain space in its place",
            3,
        ),
        (
            LEAST + "warn_days = 14\u200b",
            (
                "is not TOML: Expected newline or end of document after a statement: the character "
                "U+200B (zero width space); take it out"
            ),
            3,
        ),
        (LEAST + "warn_days = 14\nwarn_days", "is not TOML: Expected '=' after a key in a key/value pair (at end of document)", None),
        ("a = " + "[" * 5000 + "]" * 5000, "is nested too deep", None),
        ("a = " + "9" * 5000, "is not TOML: a number has too many digits", None),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_file_as_a_whole_is_named(
    data: str | bytes, reason: str, line: int | None
) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(data)
    assert raised.value.mistakes == (Mistake("(file)", reason, line),)


def test_an_error_names_the_file_that_it_was_read_from() -> None:
    with pytest.raises(PolicyError, match=re.escape("before.toml: tiers.unclaimed: is missing")):
        parse_policy("", "before.toml")


@pytest.mark.parametrize("senders", [None, "[]"])
def test_a_tier_without_senders_issues_keys_to_operators_alone(senders: str | None) -> None:
    tier = parse_policy(in_external("senders", senders)).tiers["external"]
    assert (tier.senders, tier.only_operators_ask) == ((), True)
    assert not parse_policy(in_external("idle_days", "60")).tiers["external"].only_operators_ask
    assert not parse_policy(LEAST).tiers["unclaimed"].only_operators_ask


@pytest.mark.parametrize("kind", ["senders", "admins"])
@pytest.mark.parametrize(
    ("sender", "hint"),
    [
        ("arn:aws:iam::123456789012:role/a/portal", "get-role --role-name portal --query Role.RoleId"),
        ("arn:aws-cn:iam::123456789012:user/jo", "get-user --user-name jo --query User.UserId"),
        ("arn:aws:sts::123456789012:assumed-role/portal/x", "get-role --role-name NAME"),
        ("AROA*", "get-role --role-name NAME"),
        ("portal", "get-role --role-name NAME"),
        ("jo@example.org", "get-role --role-name NAME"),
        ("123456789012", "get-role --role-name NAME"),
        ("aroaexampleexample012", "get-role --role-name NAME"),
        (" AROAEXAMPLEEXAMPLE012", "get-role --role-name NAME"),
        ("AKIAEXAMPLEEXAMPLE01", "get-role --role-name NAME"),
        ("AROAEXAMPLEEXAMPLE012:portal-session", 'all after it: "AROAEXAMPLEEXAMPLE012"'),
    ],
)  # fmt: skip
def test_who_may_ask_is_named_by_an_id_and_told_how_to_find_it(
    kind: str, sender: str, hint: str
) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(in_external(kind, f'["{sender}"]'))
    [mistake] = raised.value.mistakes
    assert (mistake.path, hint in mistake.reason) == (f"tiers.external.{kind}[0]", True), mistake


def test_everyone_may_be_a_sender_and_nobody_is_admin_unnamed() -> None:
    tier = parse_policy(in_external("senders", f'["*", "{ROLE}", "AIDAEXAMPLEEXAMPLE012"]')).tiers
    assert tier["external"].senders == ("*", ROLE, "AIDAEXAMPLEEXAMPLE012")
    with pytest.raises(PolicyError, match=r"admins\[0\]: '\*' is not allowed"):
        parse_policy(in_external("admins", '["*"]'))


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("*/*", "set `throttle` of the tier in its place"),
        ("/GET", 'the root\'s method is written "//GET"'),
        ("GET", 'for example "/search/POST"'),
    ],
)
def test_a_method_that_aws_writes_otherwise_is_told_how(method: str, hint: str) -> None:
    rates = f'{{ "{method}" = {{ rate_limit = 1, burst_limit = 1 }} }}'
    with pytest.raises(PolicyError) as raised:
        parse_policy(in_external("method_throttle", rates))
    assert hint in raised.value.reason


def test_two_tiers_that_name_one_plan_are_refused() -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(LEAST + '[tiers.a]\nidle_days = 1\nusage_plans = ["external"]\n' + EXTERNAL)
    assert raised.value.mistakes == (
        Mistake(
            "tiers.external.usage_plans[0]",
            "'external' is in tiers.a.usage_plans[0] too; a plan belongs to one tier",
            9,
        ),
    )


# --- marks of other tools -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mark", ["terraform=true", "*", "^Managed", "tf-*", "-", "_ -", "a[b]", ""]
)
def test_a_tag_that_can_never_match_is_refused(mark: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(f"{LEAST}[owned]\ntags = ['{mark}']\n")
    assert raised.value.path == "owned.tags[0]"


@pytest.mark.parametrize("field", ["descriptions", "name_prefixes"])
@pytest.mark.parametrize("mark", ["*", "Managed by *", "^Managed", "", " ", "-"])
def test_a_beginning_that_can_never_match_or_always_does_is_refused(field: str, mark: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_policy(f"{LEAST}[owned]\n{field} = ['{mark}']\n")
    assert raised.value.path == f"owned.{field}[0]"


@pytest.mark.parametrize(
    "tag",
    ["Terraform", "TERRAFORM", "managed-by", "managed_by", "Managed By", "createdBy", "iac", "opentofu",
     "Crossplane-Kind", "crossplane_name", "pulumi:project", "provisioner", "CDK"],
)  # fmt: skip
def test_the_shipped_marks_know_the_tags_of_other_tools(tag: str) -> None:
    owned = parse_policy(SHIPPED).owned
    assert owned.mark_on("", {"team": "x", tag: "y"}, "") == Mark("tag", f"{tag}=y")


@pytest.mark.parametrize("tool", ["Terraform", "OpenTofu", "Pulumi", "Crossplane", "CDK"])
def test_the_shipped_marks_know_the_descriptions_of_other_tools(tool: str) -> None:
    owned = parse_policy(SHIPPED).owned
    for description in (f"Managed by {tool}", f"managed_by-{tool.lower()}, stage prod"):
        assert owned.mark_on(description, {}, "") == Mark("description", f"Managed by {tool}")
    assert owned.mark_on(f"not Managed by {tool}", {"team": "terraform"}, tool) is None


def test_a_name_prefix_keeps_its_joint() -> None:
    owned = Owned((), (), ("tf-",))
    assert [bool(owned.mark_on("", {}, name)) for name in ("tf-a", "TF_a", "tfa", "a-tf-")] == [
        True,
        True,
        False,
        False,
    ]


# --- idle limits and pressure ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("idle_days", "factor", "idle_limit"),
    [
        (60, 1.0, 60),
        (180, 0.5, 90),
        (75, 0.5, 38),  # rounded up
        (60, 0.5, 35),
        (70, 0.5, 35),
        (72, 0.5, 36),
        (36, 0.1, 35),
        (35, 0.5, 35),
        (34, 0.5, 34),
        (10, 0.5, 10),
    ],
)
def test_a_pressure_rule_shortens_idle_days_and_never_under_35(
    idle_days: int, factor: float, idle_limit: int
) -> None:
    tier = a_tier(idle_days=idle_days)
    assert tier.idle_limit(never_used=False, factor=factor) == idle_limit


@pytest.mark.parametrize(
    ("days", "factor", "idle_limit"), [(14, 1.0, 14), (14, 0.5, 7), (15, 0.5, 8), (1, 0.1, 1)]
)
def test_a_pressure_rule_shortens_never_used_days(
    days: int, factor: float, idle_limit: int
) -> None:
    tier = a_tier(never_used_days=days)
    assert tier.idle_limit(never_used=True, factor=factor) == idle_limit


@pytest.mark.parametrize("never_used", [False, True])
def test_never_is_never_whatever_the_rule(never_used: bool) -> None:
    assert a_tier(idle_days="never").idle_limit(never_used=never_used, factor=0.1) is None


def test_the_highest_rule_that_is_passed_counts() -> None:
    policy = a_policy(
        pressure=(PressureRule(0.5, 0.8, ()), PressureRule(0.9, 0.4, ())), service_quota=10_000
    )
    assert [policy.pressure_at(keys) for keys in (0, 5_000, 5_001, 9_000, 9_001, 10_000)] == [
        Pressure(0.0, 1.0),
        Pressure(0.5, 1.0),
        Pressure(0.5001, 0.8, above=0.5),
        Pressure(0.9, 0.8, above=0.5),
        Pressure(0.9001, 0.4, above=0.9),
        Pressure(1.0, 0.4, above=0.9),
    ]


def test_a_pressure_rule_is_left_only_a_margin_below_its_edge() -> None:
    policy = a_policy(
        pressure=(PressureRule(0.5, 0.8, ()), PressureRule(0.9, 0.4, ())), service_quota=10_000
    )
    margin = int(policy.alerts.clear_margin * 10_000)
    stands = [
        policy.pressure_at(keys, standing=0.9).above
        for keys in (9_001, 9_000, 9_001 - margin, 9_000 - margin, 5_001 - margin, 5_000 - margin)
    ]
    assert stands == [0.9, 0.9, 0.9, 0.5, 0.5, None]
    # What did not stand is not reached by the margin.
    assert policy.pressure_at(9_000, standing=0.5).above == 0.5


def test_the_more_patient_tier_is_the_one_that_waits_longer() -> None:
    ranked = [
        a_tier(idle_days=30),
        a_tier(idle_days=60, never_used_days=7),
        a_tier(idle_days=60),
        a_tier(idle_days=60, orphan_days=30),
        a_tier(idle_days=60, orphan_days=30, warn_days=15),
        a_tier(idle_days=60, orphan_days=30, warn_days=15, grace_days=15),
        a_tier(idle_days="never"),
        a_tier(idle_days=1, contact=None),
    ]
    assert sorted({tier.idle_limit_rank(): tier for tier in ranked}) == [
        tier.idle_limit_rank() for tier in ranked
    ]
    assert a_tier(idle_days="never").idle_limit_rank()[1] == inf


# --- tied to the account --------------------------------------------------------------------------

PLANS = {"p1": "external", "p2": "partners", "p3": "twin", "p4": "twin", "p5": "p1"}


def test_a_tier_names_plans_by_id_or_by_name() -> None:
    policy = a_policy(a_tier("a", usage_plans=("external",)), a_tier("b", usage_plans=("p2", "p3")))
    bound = policy.bind(PLANS)
    assert {plan: tier.name for plan, tier in bound.tier_of_plan.items()} == {
        "p1": "a",
        "p2": "b",
        "p3": "b",
    }


def test_silent_plans_are_named_by_id_or_by_name() -> None:
    policy = a_policy(unclaimed(), silent_plans=("external", "p3"))
    assert policy.bind(PLANS).silent_plans == {"p1", "p3"}


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("gone", "this account has no usage plan 'gone'"),
        ("twin", "2 usage plans are called 'twin'; name one by its id: p3, p4"),
    ],
)
def test_a_name_that_is_missing_or_twofold_is_a_problem_and_stops_nothing(
    named: str, reason: str
) -> None:
    bound = a_policy(a_tier("a", usage_plans=("p1", named))).bind(PLANS)
    assert [(one.path, one.reason) for one in bound.problems] == [
        ("tiers.a.usage_plans[1]", reason)
    ]
    assert bound.tier_by_plans(["p1"]).name == "a"
    assert [
        one.path for one in a_policy(unclaimed(), silent_plans=(named,)).bind(PLANS).problems
    ] == ["silent_plans[0]"]


def test_a_plan_that_is_named_in_an_account_without_plans_is_missing() -> None:
    assert str(a_policy().bind({}).problems[0]) == (
        "policy.toml: tiers.external.usage_plans[0]: this account has no usage plan 'external'"
    )


def test_the_tier_of_a_key_is_the_most_patient_of_its_plans_else_unclaimed() -> None:
    policy = a_policy(
        a_tier("a", usage_plans=("p1",)), a_tier("b", usage_plans=("p2",), idle_days=90)
    )
    bound = policy.bind(PLANS)
    assert [
        bound.tier_by_plans(plans).name for plans in (["p1", "p2"], ["p1", "p3"], ["p3"], [])
    ] == [
        "b",
        "a",
        "unclaimed",
        "unclaimed",
    ]
