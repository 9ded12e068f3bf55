"""Who a key belongs to, by the rules of the policy: order decides, and hostile texts find no one."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.domain.model.key_values import holds_a_value, new_value
from keyjanitor.domain.model.keys import ApiKey
from keyjanitor.domain.model.owner_pattern import LONGEST_TEXT
from keyjanitor.domain.model.owner_rules import FoundOwner, OwnerRules, is_open, owner_from
from keyjanitor.domain.model.policy import OwnerRule
from keyjanitor.domain.model.policy_file import parse_policy
from keyjanitor.domain.model.records import OwnerFrom
from keyjanitor.domain.model.safe_text import HIDDEN
from keyjanitor.errors import PolicyError
from tests.builders import a_key, a_row

DESCRIPTION = OwnerRule("description", r"user_id=(?P<owner>\S+)")
NAME = OwnerRule("name", r"^api-key-(?P<owner>[a-z0-9-]+)-(?:dev|prod)$")
CUSTOMER = OwnerRule("customer_id", "(?P<owner>.+)")
TAG = OwnerRule("tag:cost-owner", "(?P<owner>.+)")
ALL = (TAG, DESCRIPTION, NAME, CUSTOMER)


def find(rules: tuple[OwnerRule, ...], **of_key: Any) -> FoundOwner | None:
    return OwnerRules(rules).find(a_key(**{"tags": {}, **of_key}))


@pytest.mark.parametrize(
    ("of_key", "found"),
    [
        ({"description": "a key, user_id=8f1c."}, ("8f1c.", 1)),
        ({"name": "api-key-weather-app-prod"}, ("weather-app", 2)),
        ({"customer_id": " user 7 "}, ("user 7", 3)),
        ({"tags": {"CostOwner": "team-a"}}, ("team-a", 0)),
        ({"tags": {"cost_owner": "b", "Cost-Owner": "a"}}, ("a", 0)),
        ({"tags": {"owner": "team-a"}}, None),
        ({"name": "api-key-weather-app-test", "description": "userid=1"}, None),
        ({"tags": {"cost-owner": "t"}, "description": "user_id=1", "customer_id": "c"}, ("t", 0)),
        ({"description": "user_id=1", "customer_id": "c"}, ("1", 1)),
    ],
)
def test_the_first_rule_that_fits_says_whose_a_key_is(
    of_key: Mapping[str, Any], found: tuple[str, int] | None
) -> None:
    assert find(ALL, **of_key) == found


def test_no_later_rule_overtakes_one_that_needs_tags_which_are_not_known() -> None:
    assert find(ALL, tags=None, description="user_id=1") is None
    assert find((DESCRIPTION, TAG), tags=None, description="user_id=1") == ("1", 0)
    assert find((DESCRIPTION, TAG), tags=None) is None


@pytest.mark.parametrize(
    "owner",
    ["", "   ", "\u202eeve", "a\nb", "a\x00b", "\u200b", new_value().reveal()],
    ids=["empty", "spaces", "turned around", "two lines", "nul", "zero width", "a value"],
)
def test_what_is_empty_hidden_or_like_a_value_is_no_owner_and_the_next_rule_is_tried(
    owner: str,
) -> None:
    whole = OwnerRule("description", "^(?P<owner>[^~]*)$")
    assert find((whole, CUSTOMER), description=owner, customer_id="user-7") == ("user-7", 1)


def test_only_the_beginning_of_a_text_is_looked_at() -> None:
    behind = "x" * LONGEST_TEXT + " user_id=1"
    assert find((DESCRIPTION,), description=behind) is None
    across = "x" * (LONGEST_TEXT - len(" user_id=12")) + " user_id=1234"
    assert find((DESCRIPTION,), description=across) == ("12", 0)


TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["user_id=1", "user_id=\u202e", "api-key-a-prod", "user_id=" + "a" * 600]),
)
KEYS = st.builds(
    lambda description, name, customer, tags: a_key(
        description=description, name=name, customer_id=customer, tags=tags
    ),
    TEXTS,
    TEXTS,
    TEXTS,
    st.none() | st.dictionaries(st.sampled_from(["cost-owner", "Owner"]), TEXTS),
)
RULES = st.lists(st.sampled_from(ALL), unique=True).map(tuple)


@given(KEYS, RULES)
def test_an_owner_is_a_clean_text_that_the_first_fitting_rule_finds_alone(
    key: ApiKey, rules: tuple[OwnerRule, ...]
) -> None:
    found = OwnerRules(rules).find(key)
    alone = [OwnerRules((rule,)).find(key) for rule in rules]
    if found is None:
        asked_all = key.tags is not None or TAG not in rules
        assert not asked_all or not any(alone)
        return
    assert found.owner == found.owner.strip() != ""
    assert len(found.owner) <= LONGEST_TEXT
    assert not HIDDEN.search(found.owner)
    assert not holds_a_value(found.owner, of_an_id=True)
    assert alone[found.rule] == (found.owner, 0)
    assert not any(alone[: found.rule])


@pytest.mark.parametrize(
    ("row", "asked", "known_by"),
    [
        (a_row(), True, None),
        (a_row(owner="u", owner_from=OwnerFrom.FOUND), True, OwnerFrom.FOUND),
        (a_row(owner="u", owner_from=OwnerFrom.ASSIGNED), False, OwnerFrom.ASSIGNED),
        (a_row(owner="u", issued=True), False, OwnerFrom.ISSUED),
        (a_row(issued=True), False, None),
        (
            a_row(owner="u"),
            False,
            OwnerFrom.ASSIGNED,
        ),  # a later version wrote how, this one lost it
    ],
)
def test_rules_are_asked_only_about_keys_that_no_request_gave_to_anyone(
    row: Any, asked: bool, known_by: OwnerFrom | None
) -> None:
    assert (is_open(row), owner_from(row)) == (asked, known_by)


# --- in the file ----------------------------------------------------------------------------------

UNCLAIMED = '[tiers.unclaimed]\nidle_days = "never"\n'


def mistakes(text: str) -> list[str]:
    with pytest.raises(PolicyError) as wrong:
        parse_policy(UNCLAIMED + text)
    return [str(one) for one in wrong.value.mistakes]


def test_rules_are_read_in_their_order() -> None:
    policy = parse_policy(
        UNCLAIMED
        + "[[owners]]\nfrom = 'tag:cost-owner'\npattern = '(?P<owner>.+)'\n"
        + "[[owners]]\nfrom = 'customer_id'\npattern = '(?P<owner>.+)'\n"
    )
    assert policy.owners == (TAG, CUSTOMER)
    assert parse_policy(UNCLAIMED).owners == ()


PLACES = (
    'allowed: "description", "name", "customer_id", or "tag:" and the key of a tag, as "tag:Owner"'
)
NEEDED = (
    "allowed: a pattern of Python's re of at most 200 characters, with one group (?P<owner>...), in which "
    "nothing that repeats is repeated"
)
TWICE = "only one character, or a class such as [a-z0-9-], may be repeated, and only once"


def test_each_mistake_of_a_rule_has_its_line_and_why() -> None:
    wrong = (
        "[[owners]]\nfrom = 'customerId'\npattern = '(?P<owner>.+)'\n"
        "[[owners]]\nfrom = 'name'\npattern = '(?P<owner>(a+)+)$'\n"
        "[[owners]]\nfrom = 'tag:-'\nowner_hash = true\n"
    )
    assert mistakes(wrong) == [
        f"owners[0].from: 'customerId' is not allowed; {PLACES} (line 4)",
        f"owners[1].pattern: '(?P<owner>(a+)+)$' is not allowed: character 15: {TWICE} (line 8)",
        f"owners[2].pattern: is missing; {NEEDED} (line 9)",
        f"owners[2].from: 'tag:-' is not allowed; {PLACES} (line 10)",
        "owners[2].owner_hash: is not a field; allowed here: from, pattern (line 11)",
    ]
    assert mistakes("[owners]\nfrom = 'name'\n") == [
        "owners: {'from': 'name'} is not allowed; allowed: tables written [[owners]] (line 3)"
    ]
    many = "[[owners]]\nfrom = 'name'\npattern = '(?P<owner>.+)'\n" * 21
    assert mistakes(many) == ["owners[20]: is one too many; allowed: 20 rules (line 63)"]
