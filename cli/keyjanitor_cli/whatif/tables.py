"""Shows the results of a what-if in tables. Names and owners are hostile text: they are never markup."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keyjanitor.domain.expiry import reasons
from keyjanitor.domain.expiry.alert_text import CAUSES
from keyjanitor.domain.expiry.outlook import NightAhead
from keyjanitor.domain.expiry.reasons import AwaitsAllowance, Reason
from keyjanitor.domain.expiry.safety_brake import Brake
from keyjanitor.domain.expiry.sweep_plan import VERDICT_WORDS, Verdict
from keyjanitor.domain.model.keys import DAY, SweepAction
from keyjanitor.domain.model.safe_text import harmless, visible
from keyjanitor_cli.whatif import owners
from keyjanitor_cli.whatif.account import Account
from keyjanitor_cli.whatif.difference import Difference, Moved
from keyjanitor_cli.whatif.replay import Replay
from keyjanitor_cli.whatif.verdicts import Judged, word
from keyjanitor_cli.words import many

LONGEST = 48  # letters of a name that are shown
REASONS = 12
EXAMPLES = 3
SLOTS = (1, 100, 250, 500, 1_000, 2_500, 5_000)
MONTH = 30
BLOCKS = "▁▂▃▄▅▆▇█"


def shown(text: str, longest: int = LONGEST) -> Text:
    """Text that others wrote, made harmless for a terminal."""
    return Text(harmless(text, longest))


def told(text: str, longest: int) -> Text:
    """A sentence of ours that names files or quotes what others wrote."""
    return Text(visible(text, longest))


def _show(console: Console, title: str, table: Table) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    console.print(table)


def _table(*columns: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table()
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    return table


# --- verdicts -------------------------------------------------------------------------------------


def show_verdicts(console: Console, account: Account, judged: Judged) -> None:
    """The account, and tonight's verdicts on its keys."""
    plan, quota = judged.plan, judged.bound.policy.service_quota
    pressure = plan.pressure
    console.print(
        f"{account.today}: {len(account.keys):,} of {quota:,} API keys ({pressure.used:.1%}), "
        f"usage plans: {len(account.evidence.plans):,}"
        + (
            f"; idle limits x {pressure.idle_factor:g}, above {pressure.above:.0%}"
            if pressure.above
            else ""
        )
    )
    verdicts = plan.verdicts
    _show(console, "verdicts by tier", _by_tier(verdicts))
    _show(console, f"why: the {REASONS} most frequent reasons", _by_reason(verdicts))


def _by_tier(verdicts: Sequence[Verdict]) -> Table:
    words = [one for one in VERDICT_WORDS if one not in ("disable", "park")]
    table = _table("tier", "keys", *words, "of these tonight")
    tiers = {verdict.tier.name: 0 for verdict in verdicts}
    for name in (*sorted(tiers), None):
        of_tier = [one for one in verdicts if name is None or one.tier.name == name]
        counts = Counter(map(word, of_tier))
        numbers = [len(of_tier), *(counts[one] for one in words)]
        tonight = sum(one.word == "warn" for one in of_tier)
        first = Text("all") if name is None else shown(name)
        table.add_row(first, *(f"{number:,}" for number in (*numbers, tonight)))
    return table


def _by_reason(verdicts: Sequence[Verdict]) -> Table:
    found: Counter[tuple[str, str]] = Counter((word(one), said(one.because)) for one in verdicts)
    table = _table("verdict", "keys")
    table.add_column("reason", overflow="fold")
    for (verdict, reason), count in found.most_common(REASONS):
        table.add_row(verdict, f"{count:,}", shown(reason, 120))
    return table


def said(because: Reason) -> str:
    """A reason without the facts of one key, so that keys can be counted by it."""
    match because:
        case AwaitsAllowance():
            return said(because.because)
        case reasons.Idle():
            return "never used, for too long" if because.never_used else "idle for too long"
        case reasons.WithinIdleLimit():
            return f"idle for less than {because.idle_limit} days"
        case reasons.OwnedBy():
            return f"owned by a {because.owner.kind.replace('_', ' ')}"
        case reasons.TierUnclear():
            return f"the tier of its usage plan is not known: {because.path} is wrong"
        case _:
            return str(because)


def show_ahead(console: Console, nights: Sequence[NightAhead], keys: int) -> None:
    """Slots that come free, by week, if nothing else changes; `keys` is the number of keys tonight."""
    freed = [keys - night.keys for night in nights]
    most = freed[-1] if freed else 0
    table = _table("slots", "on", "days")
    for slots in (*(one for one in SLOTS if one < most), *([most] if most else [])):
        night = next(index for index, count in enumerate(freed) if count >= slots)
        table.add_row(f"{slots:,}", str(nights[night].date), f"{night}")
    if most:
        _show(console, "slots that come free in Mode=park, if nothing else changes", table)
    else:
        console.print(f"\nNo slot comes free by {nights[-1].date}.")
    braked = [(night.date, night.brake) for night in nights if night.brake is not None]
    if braked:
        day, brake = braked[0]
        console.print(
            f"The safety brake stops the night of {day}: {brake_words(brake)}. It stays on, here for "
            f"{len(braked):,} nights, until an operator approves, which is not counted here."
        )


def show_owners(console: Console, found: owners.OwnersFound) -> None:
    """Whose the keys are by the rules of the policy, if it has some."""
    if not found.rules:
        return
    known = found.keys - found.without
    title = f"owners that the rules find: of {known:,} of {many(found.keys)}"
    _show(console, title, owners.table(found))
    if said := owners.sentence(found):
        console.print(Text(said))


def brake_words(brake: Brake) -> str:
    """Why the brake is on, as part of a sentence."""
    why = ", ".join(f"{one.keys:,} {CAUSES[one.cause]}" for one in brake.causes)
    return f"{many(brake.new)} newly past the idle limit ({why})"


def show_problems(console: Console, problems: Iterable[str]) -> None:
    """Plans that the policy names and the account has not; keys of plans that may be meant are unknown."""
    for problem in problems:
        console.print(told(problem, 400), style="red")


def show_unknown(console: Console, account: Account, judged: Judged) -> None:
    """Limits of these files."""
    console.print()
    console.print(Text("not known from this", style="bold"))
    for line in unknown(account, judged):
        console.print(Text("- ").append_text(line))


def unknown(account: Account, judged: Judged) -> Iterator[Text]:
    """Limits of these files, a sentence each."""
    if not account.tags_known:
        yield Text(
            "the tags (tags.json is missing or not whole): every idle key is unknown, for others may own it"
        )
    yield Text(
        "which stack owns a key, beyond its tags: keyjanitor asks CloudFormation about each key "
        "right before it touches it"
    )
    yield Text(
        "owners that requests assigned, agreed ends and protection by request: they are in a ledger, once there is one"
    )
    for plan in account.evidence.plans.values():
        about = Text("usage plan ").append_text(shown(plan.name)).append(f" ({plan.usage_plan_id})")
        silent = plan.usage_plan_id in judged.bound.silent_plans
        if plan.unread is not None:
            yield about.append(" was not read: ").append_text(shown(plan.unread, 160))
        elif plan.members and not plan.stages:
            yield about.append(": it opens no stage, so no use of its keys can show")
        elif plan.members and not silent and account.evidence.is_silent(plan):
            yield about.append(": no request was ever seen, so its silence means nothing")
        if plan.unread is None and plan.unknown_ids:
            yield about.append(f": its usage names {plan.unknown_ids:,} ids that no plan has")


def show_written(console: Console, files: Mapping[str, Path]) -> None:
    """The files that were written, and what is in each."""
    about = {
        "keys": "every key, with its reason and dates",
        "page": "the same to look at, in a browser",
        "moved": "every key that the edit moves",
    }
    for what, path in files.items():
        console.print(told(f"{about[what]}: {path}", 500))


# --- an edit --------------------------------------------------------------------------------------


def show_difference(console: Console, difference: Difference) -> None:
    """What an edit of the policy changes."""
    moves = Text(f"this edit moves {many(len(difference.moved))}", style="bold")
    rest = (
        f"; of the others {difference.earlier:,} would be parked earlier and {difference.later:,} "
        f"later; {many(difference.tiers)} in all would be in another tier"
    )
    console.print()
    console.print(moves.append(rest, style="not bold"))
    if not difference.moved:
        return
    table = _table("before -> after", "keys")
    table.add_column("for example", overflow="ellipsis", no_wrap=True)
    for verdicts, count in difference.counts.most_common():
        examples = [one for one in difference.moved if one.verdicts == verdicts][:EXAMPLES]
        table.add_row(" -> ".join(verdicts), f"{count:,}", _examples(examples))
    console.print(table)


def _examples(moved: Iterable[Moved]) -> Text:
    return Text("\n").join(
        shown(one.key_id)
        .append(" ")
        .append_text(shown(one.name, 24))
        .append(": ")
        .append_text(shown(one.reasons[1], 60))
        for one in moved
    )


# --- the days of a record ------------------------------------------------------------------------


def show_replays(console: Console, replays: Sequence[tuple[str, Replay]], requests: str) -> None:
    """Result of several policies on the days of a record."""
    first = replays[0][1]
    days = [count.day for count in first.counts]
    gaps = (days[-1] - days[0]).days + 1 - len(days)
    console.print(
        f"nights: {len(days):,}, {days[0]} to {days[-1]}; {gaps:,} are not recorded, and on "
        f"{first.unread:,} no run had read the usage: nothing happens on those"
    )
    for name, replay in replays:
        console.print(Text(sentence(name, replay)))
    show_problems(console, dict.fromkeys(one for _, replay in replays for one in replay.problems))
    _show(console, "what it would have done", _of_replays(replays))
    if requests:
        console.print(requests)
    _show(console, "keys at the end of each week", _by_week(replays))


def sentence(name: str, replay: Replay) -> str:
    """One policy in a sentence."""
    parked = sum(one.parked_on is not None for one in replay.shut)
    back = sum(one.back_on is not None for one in replay.shut)
    told = f"{name} would have parked {many(parked)}, {back:,} came back"
    high = highest(replay)
    if high is None:
        days = (replay.counts[-1].day - replay.counts[0].day).days + 1
        return (
            f"{told}; {many(days, 'day')} of record cannot tell its highest count: what was idle "
            "before them is not gone yet"
        )
    since, recorded, replayed = high
    return f"{told}, the highest count since {since} {replayed:,} instead of {recorded:,}"


def highest(replay: Replay) -> tuple[date, int, int] | None:
    """First night that counts, and the highest counts of record and replay since then; None if it is too early."""
    since = replay.acts_from
    counts = [count for count in replay.counts if since is not None and count.day >= since]
    if since is None or not counts:
        return None
    return since, max(one.recorded for one in counts), max(one.replayed for one in counts)


def _of_replays(replays: Sequence[tuple[str, Replay]]) -> Table:
    table = _table("", *("" for _ in replays))
    for column, (name, _) in zip(table.columns[1:], replays, strict=True):
        column.header = shown(name)
    columns = [measured(replay) for _, replay in replays]
    for measure in columns[0]:
        table.add_row(measure, *(numbers[measure] for numbers in columns))
    return table


def measured(replay: Replay) -> dict[str, str]:
    """Numbers of a replay, by their names in the table."""
    shut, high = replay.shut, highest(replay)
    regretted = sum(one.regretted for one in shut)
    numbers = {
        "warned": replay.did[SweepAction.WARN],
        "disabled": len(shut),
        "parked": sum(one.parked_on is not None for one in shut),
        "came back: used, renewed or changed after that": sum(
            one.back_on is not None for one in shut
        ),
        f"not back, but watched for less than {MONTH} days": sum(
            one.back_on is None and replay.watched(one) < MONTH for one in shut
        ),
        "nights that the brake would have stopped": len(replay.braked),
        "keys at the end": replay.counts[-1].replayed,
    }
    return {
        **{name: f"{number:,}" for name, number in numbers.items()},
        "keys at the end of the record": f"{replay.counts[-1].recorded:,}",
        "highest count, once it could act": f"{high[2]:,}" if high else "?",
        "highest count of the record since": f"{high[1]:,}" if high else "?",
        f"regret: of the disabled, back within {MONTH} days": (
            f"{regretted / len(shut):.1%}" if shut else "-"
        ),
    }


def _by_week(replays: Sequence[tuple[str, Replay]]) -> Table:
    """Chart of the number of keys at the end of each week."""
    recorded = _weekly([(one.day, one.recorded) for one in replays[0][1].counts])
    lines = [("as recorded", recorded)]
    lines += [
        (name, _weekly([(one.day, one.replayed) for one in replay.counts]))
        for name, replay in replays
    ]
    low = min(min(numbers) for _, numbers in lines)
    high = max(max(numbers) for _, numbers in lines)
    table = _table("policy", "first", "weeks", "last")
    for name, numbers in lines:
        drawn = "".join(_block(number, low, high) for number in numbers)
        table.add_row(shown(name), f"{numbers[0]:,}", drawn, f"{numbers[-1]:,}")
    table.caption = f"from {low:,} to {high:,} keys"
    table.caption_justify = "left"
    return table


def _weekly(counts: Sequence[tuple[date, int]]) -> list[int]:
    """The last number of each seven days; a week without a night shows the one before it."""
    first = counts[0][0]
    weeks = {(day - first).days // 7: number for day, number in counts}
    numbers = [counts[0][1]]
    for week in range((counts[-1][0] - first) // (DAY * 7) + 1):
        numbers.append(weeks.get(week, numbers[-1]))
    return numbers


def _block(number: int, low: int, high: int) -> str:
    return BLOCKS[(number - low) * (len(BLOCKS) - 1) // max(1, high - low)]
