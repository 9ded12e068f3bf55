"""A key's value shows itself to nobody who does not ask by name; modes know their order."""

import copy
import json
import pickle
import traceback
from dataclasses import asdict, dataclass

import pytest

from keyjanitor.domain.model.keys import LIVE_STATES, Mode, Secret, State
from tests.builders import a_tombstone

VALUE = "abcdefghij0123456789"


@dataclass(frozen=True)
class Holder:
    secret: Secret


def test_a_secret_is_revealed_to_who_asks() -> None:
    assert Secret(VALUE).reveal() == VALUE


def test_no_way_of_showing_a_secret_shows_it() -> None:
    secret = Secret(VALUE)
    ways = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r}",
        "%s %r" % (secret, secret),  # noqa: UP031
        "{}".format(secret),  # noqa: UP032
        repr([secret]),
        repr({"value": secret}),
        repr(Holder(secret)),
        str(ValueError(secret)),
        "".join(traceback.format_exception(ValueError(secret))),
    ]
    assert [way for way in ways if VALUE in way] == []
    assert str(secret) == "Secret(***)"


def test_a_secret_has_no_dictionary_and_takes_no_attribute() -> None:
    secret = Secret(VALUE)
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(AttributeError):
        secret.value = VALUE  # type: ignore[attr-defined]


def test_a_secret_is_not_written_as_json_nor_pickled_nor_copied() -> None:
    secret = Secret(VALUE)
    for write in (json.dumps, pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError) as raised:
            write(secret)
        assert VALUE not in str(raised.value)
    with pytest.raises(TypeError):
        asdict(Holder(secret))


def test_secrets_are_compared_by_their_value() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret(VALUE[::-1])
    assert Secret(VALUE) != VALUE
    assert len({Secret(VALUE), Secret(VALUE), Secret("other")}) == 2


def test_a_tombstone_holds_a_value_only_as_it_was_sealed() -> None:
    assert VALUE not in repr(a_tombstone(sealed_value="c2VhbGVk"))


def test_a_mode_allows_itself_and_those_before_it() -> None:
    assert {mode: [asked for asked in Mode if mode.allows(asked)] for mode in Mode} == {
        Mode.OBSERVE: [Mode.OBSERVE],
        Mode.DISABLE: [Mode.OBSERVE, Mode.DISABLE],
        Mode.PARK: [Mode.OBSERVE, Mode.DISABLE, Mode.PARK],
    }


def test_the_states_of_keys_that_live_in_api_gateway() -> None:
    assert {State.ACTIVE, State.WARNED, State.DISABLED} == LIVE_STATES
