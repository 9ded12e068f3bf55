"""The key that has a value: found page by page, and its value is shown nowhere."""

from typing import Any

from keyjanitor.domain.model.key_ids import shown_id
from keyjanitor.domain.model.keys import Secret
from keyjanitor_cli.gateway import Gateway

VALUE = "a-value-of-twenty-characters"


class Client:
    """API Gateway's list of keys, in two pages; the last key has its value as its id."""

    def get_api_keys(self, **given: Any) -> dict[str, Any]:
        assert given["includeValues"]
        if "position" not in given:
            return {"items": [{"id": "k1", "value": "other"}], "position": "next"}
        return {"items": [{"id": "k2", "value": "second"}, {"id": VALUE, "value": VALUE}]}


def test_a_key_is_found_by_its_value_on_any_page() -> None:
    gateway = Gateway(Client())
    assert gateway.key_of_value(Secret("second")) == "k2"
    assert gateway.key_of_value(Secret("of no key")) is None


def test_its_pages_are_read_with_the_same_client_and_share() -> None:
    client = Client()
    assert Gateway(client).calls.client is client


def test_an_id_that_is_the_value_is_given_as_its_digest() -> None:
    found = Gateway(Client()).key_of_value(Secret(VALUE))
    assert found == shown_id(VALUE)
    assert VALUE not in str(found)
