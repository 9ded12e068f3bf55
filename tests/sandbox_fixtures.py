"""Fixtures for tests against a running sandbox: one process for all of them."""

from collections.abc import Iterator

import pytest

from sandbox.driver.client import Sandbox


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Sandbox]:
    """The one sandbox of this test run."""
    with Sandbox.start(speed=None) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: Sandbox) -> Sandbox:
    """A sandbox without keys, plans or faults, at real time, with the throttles off."""
    running_sandbox.wipe()
    running_sandbox.behave()
    running_sandbox.reset_clock()
    running_sandbox.set_throttles(None)
    running_sandbox.forget_calls()
    return running_sandbox
