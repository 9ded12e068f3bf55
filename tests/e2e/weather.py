"""Bad weather between the deployed functions and their AWS: microburst as a proxy on the wire."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.work import WAIT

Rule = dict[str, Any]

# Each service by its name in signatures, with the throttle that AWS answers with.
THROTTLES = {
    "apigateway": ("TooManyRequestsException", 429),
    "cloudformation": ("Throttling", 400),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
    "events": ("ThrottlingException", 400),
    "kms": ("ThrottlingException", 400),
    "s3": ("SlowDown", 503),
    "sns": ("Throttled", 429),
    "tagging": ("ThrottledException", 400),
}
SERVICES = tuple(THROTTLES)
KINDS = ("throttles", "errors", "resets", "slow", "cut")


def weather(kind: str, services: Sequence[str] = SERVICES, chance: float = 0.15) -> list[Rule]:
    """The rules of one kind of weather over some services; `chance` is that of each call."""
    rules: list[Rule] = []
    for service in services:
        code, status = THROTTLES[service]
        kinds: dict[str, Rule] = {
            "throttles": {"error": {"code": code, "status": status}},
            "errors": {"error": {"code": "InternalFailure", "status": 500}},
            "resets": {"reset": True},
            "slow": {"latency": {"min": 50, "max": 400}},
            "cut": {"response": {"truncate_frac": 0.5}},
        }
        rules.append({"service": service, "probability": chance, **kinds[kind]})
    return rules


# As it is, microburst puts another host into a request, and writes its path another way (`=` for
# `%3D`), than the caller has signed.
AS_SIGNED = """
from aiohttp import ClientSession
from microburst.cli import main
from microburst.forward import Upstream
from yarl import URL

outbound, request = Upstream._outbound_headers, ClientSession._request
Upstream._outbound_headers = lambda self, asked: {
    **outbound(self, asked), "host": asked.headers["Host"]
}
ClientSession._request = lambda self, method, url, **more: request(
    self, method, URL(str(url), encoded=True), **more
)
main()
"""


class Proxy:
    """A running proxy; clear weather until `blow`."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"

    def blow(self, rules: Sequence[Rule]) -> None:
        """The weather from now on."""
        self._ask("POST", "rules", list(rules))

    def calm(self) -> Counter[str]:
        """Clear weather; gives how often what was done to whom, such as `s3 error:SlowDown`."""
        self.blow(())
        fired = self._ask("GET", "fired?limit=1000000")
        self._ask("DELETE", "fired")
        return Counter(f"{one['service']} {one['action']}" for one in fired)

    def is_ready(self) -> bool:
        try:
            self._ask("GET", "health")
        except OSError:
            return False
        return True

    def _ask(self, method: str, name: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.endpoint}/_microburst/{name}", data=data, method=method
        )
        with urllib.request.urlopen(request, timeout=WAIT) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def proxy_before(upstream: str) -> Iterator[Proxy]:
    """A proxy in front of an endpoint, on the loopback alone, for as long as the block runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-c", AS_SIGNED, "-u", upstream, "-p", str(port), "--no-resign"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            proxy = Proxy(port)
            while (
                not proxy.is_ready()
            ):  # the test's own timeout ends it, however busy the machine is
                assert process.poll() is None, "microburst did not start"
                time.sleep(0.1)
            yield proxy
        finally:
            process.terminate()
