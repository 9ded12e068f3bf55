"""Finds out of a stage's access log setting how its lines say which key called. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

# The key's id; `$context.identity.apiKey` is its value (doc: AF-583).
KEY_ID = "$context.identity.apiKeyId"
API_ID = "$context.apiId"
STAGE = "$context.stage"
# What a stage without a useful format is told to log; any other format with the three will do.
SUGGESTED = (
    '{"requestId":"$context.requestId","apiId":"$context.apiId","stage":"$context.stage",'
    '"apiKeyId":"$context.identity.apiKeyId","status":"$context.status"}'
)
LONGEST_QUERY = 10_000  # characters (doc: AF-582)
NO_KEY = frozenset({"", "-", "null"})  # of a request without a key

_VARIABLE = re.compile(
    r"\$context(?:\.authorizer(?:\.[\w:-]+)+|(?:\.[A-Za-z][A-Za-z0-9_]*)+)", re.ASCII
)
# What may hold any text: callers send it, or an authorizer or an error writes it.
_FREE = re.compile(
    r"\$context\.(?:authorize|authorizer|error|path|requestTime$|identity\.userAgent|integration"
    r"|integrationErrorMessage|waf)"
)
# No text of 20 characters and more is taken for a key's id: it may be a value (seen: AF-213).
_GROUPS = {
    KEY_ID: r"(?<keyid>[a-z0-9]{1,19}|-|null|)",
    API_ID: r"(?<api>[a-z0-9]{1,20}|-)",
    STAGE: r"(?<stage>[A-Za-z0-9_-]{1,128}|-)",
}
_LOG_GROUP = re.compile(
    r"arn:aws[a-z-]*:logs:[a-z0-9-]+:\d{12}:log-group:(?P<name>[\w./#-]{1,512})(?::\*)?", re.ASCII
)
_FIREHOSE = re.compile(r"arn:aws[a-z-]*:firehose:")
_AROUND = '{}[],:"<>'  # beside these a space may be missing


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Setting of a stage whose lines say which key called.

    `group` is the name of the log group, `format` the setting's own text. `names_stage`: each line
    says the API and the stage too, so that it shows that this stage logs.
    """

    group: str
    format: str
    names_stage: bool

    @property
    def digest(self) -> str:
        """Another text for each other setting."""
        return sha256(f"{self.group}\n{self.format}".encode()).hexdigest()[:16]

    @property
    def query(self) -> str:
        """The Logs Insights query: requests, and the last of them, by key and stage.

        A line that the format does not fit is counted under no key.
        """
        fields = ["keyid", *(("api", "stage") if self.names_stage else ())]
        return (
            f"parse @message /{line_pattern(self.format)}/\n"
            f"| stats count(*) as requests, max(@timestamp) as last by {', '.join(fields)}"
        )


@dataclass(frozen=True, slots=True)
class NotReadable:
    """Why a stage's access log, or the lack of one, says nothing of keys; `fix` is what to do."""

    why: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.why}. {self.fix}" if self.fix else self.why


NO_LOG = NotReadable("it has no access log", f"Log to a log group of CloudWatch, as {SUGGESTED}")
NO_KEY_ID = NotReadable(f"its access log's format lacks {KEY_ID}", f"Add it, as in {SUGGESTED}")
FIREHOSE = NotReadable(
    "it logs to a Firehose stream, which cannot be asked", "Log to a log group of CloudWatch"
)
NO_GROUP = NotReadable("it logs to what is no log group of CloudWatch")
TOO_LONG = NotReadable("its access log's format is too long for a query", "Shorten it")
TWO_AT_ONCE = NotReadable(
    f"{KEY_ID} and another variable touch in its format", "Put a comma or a space in between"
)


def read_format(destination: str, form: str) -> AccessLog | NotReadable:
    """The log that a stage's `accessLogSettings` describe (doc: AF-587), whatever kind it is of.

    JSON, CLF, XML and CSV are told apart by nothing: a line is the format with its variables
    filled in (believed: AF-585), and so is the pattern that reads it.
    """
    if not destination or not form:
        return NO_LOG
    if _FIREHOSE.match(destination):
        return FIREHOSE
    found = _LOG_GROUP.fullmatch(destination)
    if found is None:
        return NO_GROUP
    variables = set(_VARIABLE.findall(form))
    if KEY_ID not in variables:
        return NO_KEY_ID
    if any(KEY_ID in (one, other) for one, other in _neighbours(form)):
        return TWO_AT_ONCE
    log = AccessLog(found["name"], form, {API_ID, STAGE} <= variables)
    return TOO_LONG if len(log.query) > LONGEST_QUERY else log


def line_pattern(form: str) -> str:
    """The regular expression of a line in this format, with the groups `keyid`, `api` and `stage`."""
    pattern, end, done = "", 0, set[str]()
    form = form.strip()
    for found in _VARIABLE.finditer(form):
        variable, after = found[0], form[found.end() : found.end() + 1]
        group = None if variable in done else _GROUPS.get(variable)
        done.add(variable)
        pattern += _literal(form[end : found.start()]) + (group or _any(variable, after))
        end = found.end()
    return rf"^\s*{pattern}{_literal(form[end:])}\s*$"


def _any(variable: str, after: str) -> str:
    """What a variable that does not matter may be filled with: anything up to what comes next."""
    if _FREE.match(variable):
        return ".*?"
    if not after or after.isspace():
        return r"[^\s]*"
    return f"[^{_escaped(after)}]*"


def _literal(text: str) -> str:
    """A pattern for the format's own text; beside brackets, quotes and commas spaces make no difference."""
    pattern = ""
    for place, part in _parts(text):
        if not part.isspace():
            pattern += _escaped(part)
            continue
        around = text[max(0, place - 1) : place] + text[place + len(part) :][:1]
        optional = "\n" in part or any(one in _AROUND for one in around)
        pattern += r"\s*" if optional else r"\s+"
    return pattern


def _parts(text: str) -> Iterator[tuple[int, str]]:
    for found in re.finditer(r"\s+|\S+", text):
        yield found.start(), found[0]


def _escaped(text: str) -> str:
    """A text as a pattern that is written between slashes."""
    return re.sub(r"([\\^$.|?*+()\[\]{}/-])", r"\\\1", text)


def _neighbours(form: str) -> Iterator[tuple[str, str]]:
    """Variables with no text in between, so that it is not known where one ends."""
    for one, other in pairwise(_VARIABLE.finditer(form)):
        if one.end() == other.start():
            yield one[0], other[0]
