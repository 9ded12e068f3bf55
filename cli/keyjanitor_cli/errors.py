"""Why a command ended without having done its work, and the exit codes of the command."""

from keyjanitor.errors import KeyjanitorError

DONE = 0
FAILED = 1  # refused or failed
WRONG_USE = 2
NEEDS_PERSON = 3


class CommandFailed(KeyjanitorError):
    """What was wrong and where, and `then`: what to do next, one line a step."""

    def __init__(self, what: str, *then: str, exit_code: int = FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.then = then
        self.exit_code = exit_code


class WrongUse(CommandFailed):
    """The command was typed in a way that makes no sense."""

    def __init__(self, what: str, *then: str) -> None:
        super().__init__(what, *then, exit_code=WRONG_USE)


# What to do next, by the class of a function's error; of all others its log says more.
_NEXT = {
    "NoEvidence": "read it now: keyjanitor read",
    "AlreadyRunning": "type it again when the other run is over",
    "UnknownPlan": "keyjanitor status names the plans that wait for an approval",
    "ModeRefused": "deploy the stack with a higher Mode, then type it again",
}


class FunctionFailed(CommandFailed):
    """A function of the stack ended with an error: `kind` is its class, `message` its text."""

    def __init__(self, function: str, kind: str, message: str) -> None:
        super().__init__(
            f"{function} failed: {message or kind}",
            _NEXT.get(kind, f"look at its log: keyjanitor logs {function}"),
        )
        self.function = function
        self.kind = kind
        self.message = message
