"""The owner of a key as a value: how it is written down, and how the texts of before are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyjanitor.adapters.record_codec import from_values, to_values
from keyjanitor.domain.model.owners import Mark, Owner, Stack, owner_of, owner_of_text, owner_values
from keyjanitor.domain.model.records import Row
from tests.builders import a_row

owners = st.builds(Stack, st.text()) | st.builds(
    Mark, st.sampled_from(["tag", "description", "name_prefix"]), st.text()
)


@given(owners)
def test_an_owner_comes_back_as_it_was_written(owner: Owner) -> None:
    assert owner_of(owner_values(owner)) == owner
    row = a_row(owned_by=owner)
    assert from_values(Row, to_values(row)) == row


@given(owners)
def test_the_words_that_a_build_before_0_2_0_wrote_are_read_as_the_same_owner(owner: Owner) -> None:
    assert owner_of(str(owner)) == owner
    row = a_row(owned_by=owner)
    assert from_values(Row, {**to_values(row), "owned_by": str(owner)}) == row


@pytest.mark.parametrize("text", ["Terraform", "description of it", "name prefix [1]", ""])
def test_other_words_of_before_are_kept_as_they_are(text: str) -> None:
    assert owner_of_text(text) == Mark("text", text)
    assert str(owner_of_text(text)) == text


def test_an_owner_is_written_as_its_kind_and_value() -> None:
    assert to_values(a_row(owned_by=Stack("shop")))["owned_by"] == {
        "kind": "stack",
        "value": "shop",
    }
    assert owner_values(Mark("tag", "terraform=1")) == {"kind": "tag", "value": "terraform=1"}


@pytest.mark.parametrize("values", [{"kind": "planet", "value": "x"}, {"kind": "stack"}, {}])
def test_values_that_are_no_owner_are_refused(values: dict[str, str]) -> None:
    with pytest.raises((KeyError, ValueError)):
        owner_of(values)
