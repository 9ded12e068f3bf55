"""Fixtures of more than one kind of test: moto's clients, the functions, an account to live on."""

import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import count
from threading import Lock
from types import ModuleType
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, settings
from moto import mock_aws  # before any session of boto3 is made: else it is not asked

from keyjanitor.adapters.settings import REQUIRED
from sandbox.memory.clients.clients import Clients, clients_in_memory
from tests.account import Account

pytest_plugins = ["tests.processes", "tests.sandbox_fixtures"]

REGION = "us-east-1"
POLICY = '[tiers.unclaimed]\nidle_days = "never"\n'


# The examples of each property: few in `make check`, many in `make test`. No clock judges an example.
EXAMPLES = {"check": 25, "test": 200}
for name, examples in EXAMPLES.items():
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
if settings.get_current_profile_name() not in ("mutants", *EXAMPLES):
    settings.load_profile(os.environ.get("KEYJANITOR_PROFILE", "check"))


def pytest_configure(config: pytest.Config) -> None:
    # A hold, its end, and a run that fails count nothing, of which Powertools warns.
    config.addinivalue_line(
        "filterwarnings", "ignore:No application metrics to publish:UserWarning"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "moto" in getattr(item, "fixturenames", ()) or _is_a_later_case(item):
            item.add_marker("slow")


def _is_a_later_case(item: pytest.Item) -> bool:
    """Whether it is another than the first case of a sampled test."""
    case = getattr(item, "callspec", None)
    sampled = item.get_closest_marker("sampled") is not None
    return sampled and case is not None and any(case.indices.values())


def pytest_sessionfinish() -> None:
    """Under `make coverage` a process writes what it measured before it says that it is done.

    pytest-xdist kills a worker that takes longer than some seconds to end after that.
    """
    coverage = sys.modules.get("coverage")
    measured = coverage.Coverage.current() if coverage else None
    if measured is not None:
        measured.save()


@cache
def session() -> Any:
    """One session, for it reads AWS's models once. It is made after moto is imported: moto answers no other."""
    return boto3.session.Session(region_name=REGION)


def moto_clients() -> Clients:
    """Clients of the moto account, with a sealing key and an alert topic in it."""
    clients = {name: session().client(name) for name in ("dynamodb", "s3", "kms", "events", "sns")}
    answer_one_call_at_a_time(clients["dynamodb"])
    return Clients(
        **clients,
        key_arn=clients["kms"].create_key()["KeyMetadata"]["Arn"],
        topic_arn=a_topic_that_is_heard(clients["sns"]),
        counter=count(1),
    )


def answer_one_call_at_a_time(client: Any) -> None:
    """Makes moto answer as DynamoDB does, which carries out the writes to an item one by one.

    Moto answers in the thread that asks, and checks the condition of a transaction before it writes
    without a lock: of writers at once two can win (seen).
    """
    lock, answer = Lock(), client._make_api_call

    def one_at_a_time(*what: Any) -> Any:
        with lock:
            return answer(*what)

    client._make_api_call = one_at_a_time


def a_topic_that_is_heard(sns: Any) -> str:
    """Makes an alert topic with a subscription, which moto takes for confirmed and sends nothing."""
    topic: str = sns.create_topic(Name="alerts")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="api-team@example.org")
    return topic


@pytest.fixture
def clients() -> Clients:
    """An AWS in memory. What of it the ledger and the history use is tested beside moto's."""
    return clients_in_memory()


@pytest.fixture(scope="module")
def moto() -> Iterator[Clients]:
    """Moto's AWS for the tests of one module; each takes tables and buckets of its own."""
    with mock_aws():
        yield moto_clients()


@pytest.fixture(params=[pytest.param("moto", marks=pytest.mark.slow), "memory"])
def either(request: pytest.FixtureRequest) -> Clients:
    """Moto's AWS, then the one in memory: what is said of one has to be true of the other."""
    if request.param == "memory":
        return clients_in_memory()
    clients: Clients = request.getfixturevalue("moto")
    return clients


@pytest.fixture(scope="session")
def functions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModuleType]:
    """The functions' modules by name, imported as Lambda does: settings and policy beside them."""
    layer = tmp_path_factory.mktemp("policy-layer")
    (layer / "keyjanitor_policy").mkdir()
    (layer / "keyjanitor_policy" / "policy.toml").write_text(POLICY)
    environment = {name: "1" for names in REQUIRED.values() for name in names}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            **environment,
            "MODE": "observe",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "POWERTOOLS_SERVICE_NAME": "keyjanitor",
            "POWERTOOLS_METRICS_NAMESPACE": "keyjanitor",
        }.items():
            patch.setenv(name, value)
        patch.setattr(sys, "path", [*sys.path, os.fspath(layer)])
        return {name: import_module(f"functions.{name}.app") for name in REQUIRED}


@pytest.fixture
def account(clients: Clients, functions: dict[str, ModuleType]) -> Account:
    """An account with one plan and one busy key, on which the functions live their nights."""
    return Account(
        clients,
        functions["expire_keys"],
        functions["pull_usage"],
        functions["provision_keys"],
        functions["watch_capacity"],
        functions["publish_report"],
    )


@pytest.fixture
def an_account(clients: Clients, functions: dict[str, ModuleType]) -> Callable[..., Account]:
    """Makes such an account with a policy, or a mode, of its own."""

    def make(**more: Any) -> Account:
        return Account(
            clients,
            functions["expire_keys"],
            functions["pull_usage"],
            functions["provision_keys"],
            functions["watch_capacity"],
            functions["publish_report"],
            **more,
        )

    return make
