"""What one call of the command works with: the person's account, the stack, its ledger and its bucket."""

from collections.abc import Callable, Mapping
from functools import cached_property, wraps
from typing import Any

import click

from keyjanitor.adapters.bucket import Bucket
from keyjanitor.adapters.dynamodb import Table
from keyjanitor.adapters.kms import ValueSealer
from keyjanitor.adapters.ledger import Ledger
from keyjanitor.adapters.ownership import Ownership
from keyjanitor.errors import AccessDenied, CallFailed
from keyjanitor_cli.aws import SDK, Account, Function, Stack, denied
from keyjanitor_cli.console import Console
from keyjanitor_cli.errors import CommandFailed
from keyjanitor_cli.files import Files
from keyjanitor_cli.gateway import Gateway
from keyjanitor_cli.preflight.answers import MOST_CALLS
from keyjanitor_cli.probe import Probe

__all__ = ["SDK", "Session", "command"]


class Session:
    """One call of the command. What it needs of AWS is looked up when it is first asked for."""

    def __init__(
        self,
        console: Console,
        *,
        profile: str | None = None,
        region: str | None = None,
        stack: str | None = None,
        yes: bool = False,
    ) -> None:
        self.console = console
        self.yes = yes
        self._profile, self._region, self._stack = profile, region, stack

    @cached_property
    def account(self) -> Account:
        """The person's profile and Region."""
        return Account(self._profile, self._region)

    @cached_property
    def stack(self) -> Stack:
        """The stack that was named, or the one that there is."""
        return self.account.stack(self._stack)

    @property
    def stack_name(self) -> str | None:
        """The stack that was named, if one was."""
        return self._stack

    def probe(self, say: Callable[[str], None], most: int = MOST_CALLS) -> Probe:
        """What asks the account, call by call and so many at most; `say` is told each."""
        return Probe(self.account, most=most, say=say)

    @cached_property
    def ledger(self) -> Ledger:
        """The stack's table, read with the person's rights."""
        name = self.stack.output("LedgerTableName")
        return Ledger(Table(self.account.client("dynamodb"), name))

    @cached_property
    def files(self) -> Files:
        """The stack's history bucket, read with the person's rights."""
        name = self.stack.output("HistoryBucketName")
        return Files(Bucket(self.account.client("s3"), name))

    @cached_property
    def sealer(self) -> ValueSealer:
        """The stack's sealing key, used with the person's rights: it opens what is delivered to them."""
        return ValueSealer(self.account.client("kms"), self.stack.output("SealingKeyArn"))

    @cached_property
    def gateway(self) -> Gateway:
        """API Gateway, read with the person's rights."""
        return Gateway(self.account.gateway_client())

    @cached_property
    def ownership(self) -> Ownership:
        """The tags of keys, read with the person's rights."""
        client = self.account.client
        return Ownership(client("resourcegroupstaggingapi"), client("cloudformation"))

    def planned(self, answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The lines of the keys file that a sweep's answer names; what the date did already is `stepped`."""
        return self.files.keys(answer["keys_file"]) if answer.get("keys_file") else []

    def invoke(self, function: Function, event: Mapping[str, Any], doing: str) -> dict[str, Any]:
        """Invokes a function once and gives its answer; `doing` is shown with the seconds meanwhile."""
        stack = self.stack
        with self.console.waiting(doing):
            return self.account.invoke(stack, function, event)

    def confirm(self, question: str) -> None:
        """Returns if the person agrees; raises CommandFailed if not, or if no one can be asked."""
        self.console.confirm(question, yes=self.yes)


def command(name: str, *, acts: bool = False) -> Callable[[Callable[..., int]], click.Command]:
    """Makes a command of a function that takes a Session and gives the exit code.

    Every command has --profile, --region, --stack and --json, one that `acts` --yes too.
    """

    def decorate(function: Callable[..., int]) -> click.Command:
        @wraps(function)
        def run(
            *,
            profile: str | None,
            region: str | None,
            stack: str | None,
            as_json: bool,
            yes: bool = False,
            **given: Any,
        ) -> int:
            console = Console(as_json=as_json)
            session = Session(console, profile=profile, region=region, stack=stack, yes=yes)
            try:
                return function(session, **given)
            except AccessDenied as err:
                raise denied(err.action, _who(err)) from None
            except CallFailed as err:
                raise CommandFailed(str(err)) from None

        for option in (*_OPTIONS, *((_YES,) if acts else ())):
            run = option(run)
        return click.command(name)(run)

    return decorate


def _who(err: AccessDenied) -> str:
    return "your role" if err.role == "the function's role" else err.role


_OPTIONS = (
    click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
    click.option("--stack", metavar="NAME", envvar="KEYJANITOR_STACK", help="The stack."),
    click.option("--region", metavar="REGION", help="The AWS Region."),
    click.option("--profile", metavar="NAME", help="The AWS profile."),
)
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
