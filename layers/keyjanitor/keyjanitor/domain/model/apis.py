"""REST APIs, their stages and the methods that the stages serve. Pure."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RestApi:
    """A REST API. `key_source`: HEADER, or AUTHORIZER where a Lambda authorizer names the key."""

    api_id: str
    name: str
    key_source: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage, and the deployments that it serves: its own, and its canary's if it has one.

    `log_destination` (an ARN) and `log_format` are those of its access log, empty if it has none;
    `updated` is when anything of it was last changed, None if AWS does not say.
    """

    api_id: str
    name: str
    deployment_ids: tuple[str, ...]
    log_destination: str = ""
    log_format: str = ""
    updated: datetime | None = None
    canary: bool = False


@dataclass(frozen=True, slots=True)
class Method:
    """A method as it was deployed."""

    path: str
    http_method: str
    authorization_type: str
    api_key_required: bool


@dataclass(frozen=True, slots=True)
class ServedStage:
    """Methods that a stage (`api_id:stage`) serves to its callers, canary included."""

    stage: str
    api_name: str
    key_source: str
    methods: tuple[Method, ...]

    @property
    def requires_keys(self) -> bool:
        """True if a method requires an API key."""
        return any(method.api_key_required for method in self.methods)

    @property
    def ignores_keys(self) -> bool:
        """True if no method requires an API key, by itself or by an authorizer."""
        named_by_authorizer = self.key_source == "AUTHORIZER" and any(
            method.authorization_type == "CUSTOM" for method in self.methods
        )
        return bool(self.methods) and not self.requires_keys and not named_by_authorizer
