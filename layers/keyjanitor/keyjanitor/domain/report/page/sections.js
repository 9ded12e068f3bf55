// What the report says, section by section, in the order of the page.
"use strict";

const fill = (id, ...nodes) => byId(id).replaceChildren(...nodes.flat().filter((node) => node !== null));

const STEPS = ["warn", "disable", "park", "purge"];

// --- capacity ----------------------------------------------------------------------------------------

/** The day on which the account is full, in one sentence. */
function forecastOf({ capacity, service_quota: limit, date }) {
  const { state, days, soonest, latest, on } = capacity.forecast;
  if (capacity.keys !== null && capacity.keys >= limit) return "It is full: nobody gets a new key.";
  if (state === "not_yet_known") return "When it will be full is not yet known: fewer than seven days are counted.";
  if (state === "not_in_sight") return "The limit is not in sight: the trend is flat or falling, or it is over two years away.";
  const range = latest === null ? `at the soonest in ${soonest}, perhaps never` : `between ${count(soonest)} and ${count(latest)}`;
  return `Full on about ${inWords(on ?? later(date, days))} (in ${many(days, "day")}; ${range}).`;
}

function countOf({ capacity, service_quota: limit }) {
  if (capacity.keys === null) return `The keys are not counted yet; the limit is ${count(limit)}.`;
  return `${count(capacity.keys)} of ${count(limit)} keys (${percent(capacity.share)})`;
}

const summaryOf = (report) => `${countOf(report)}. ${forecastOf(report)}`;

function showCapacity(report) {
  const { capacity, service_quota: limit } = report;
  const meter = bar([["used", Math.min(capacity.keys ?? 0, limit)]], limit);
  for (const level of capacity.levels) {
    const line = element("b");
    line.style.left = `${100 * level}%`;
    meter.append(line);
  }
  const { a_day: growth, low, high } = capacity.forecast;
  const last = capacity.counts[capacity.counts.length - 1];
  const facts = [
    ["Growth", growth === null ? UNKNOWN : `${signed(growth)} keys a day, between ${signed(low)} and ${signed(high)}`],
    ["Room left", capacity.keys === null ? UNKNOWN : many(Math.max(0, limit - capacity.keys), "key")],
    ["Last count", last ? `${inWords(last[0])}: ${count(last[2])} issued, ${count(last[3])} freed` : "none yet"],
    ["Usage plans", `${count(capacity.usage_plans)} of ${count(capacity.usage_plan_quota)}`],
    ["Somebody is told", `at ${listed(capacity.levels.map(percent))}, and ${listed(capacity.days_to_limit_marks.map(count))} days before the limit`],
  ];
  fill("capacity-words", paragraph(countOf(report), "big"), meter, paragraph(forecastOf(report), "lead"));
  fill("capacity-facts", element("dl", { class: "facts" }, facts.map(([term, text]) => element("div", {}, element("dt", {}, term), element("dd", {}, text)))));
  drawCapacity(report);
  fill("capacity-numbers", capacity.counts.length
    ? numbersOf("The counts as numbers", ["Day", "#Keys", "#Issued", "#Freed"], () =>
      [...capacity.counts].reverse().map(([day, keys, issued, freed]) => [day, count(keys), count(issued), count(freed)]))
    : null);
  showLadder(capacity);
  fill("tiers", share(capacity.tiers, (tier) => theirs(tier), "No key is counted yet."));
  fill("states", share(capacity.states, (state) => state.replaceAll("_", " "), "No key is counted yet."));
}

const listed = (texts) => (texts.length < 2 ? texts.join("") : `${texts.slice(0, -1).join(", ")} and ${texts[texts.length - 1]}`);

/** Counts by name as bars, the greatest first. */
function share(counts, name, otherwise) {
  const sorted = Object.entries(counts).sort((one, other) => other[1] - one[1]);
  const whole = sorted.reduce((sum, [, number]) => sum + number, 0);
  if (!sorted.length) return paragraph(otherwise, "faint");
  return element("ul", { class: "shares" }, sorted.map(([one, number]) => element("li", {},
    element("span", { class: "name" }, name(one)),
    element("span", { class: "n" }, count(number), element("span", { class: "faint" }, ` ${percent(whole ? number / whole : 0)}`)),
    bar([["used", number]], whole))));
}

function showLadder({ pressure, ladder }) {
  const stands = pressure.above === null ? `No rung stands: keys have their tier's whole patience${pressure.patience === 1 ? "" : `, times ${pressure.patience}`}.`
    : `The rung above ${percent(pressure.above)} stands: keys have ${pressure.patience} times their tier's patience.`;
  if (!ladder.length) {
    fill("ladder-rungs", paragraph(`${stands} There is no rung above it, or no sweep has worked one out yet.`));
    return;
  }
  fill("ladder-rungs", paragraph(`${stands} What each rung above it would free within 30 days:`),
    table("Rungs of the ladder", ["Above", "#Patience", "#More keys", "Of tier", "#Days gained"], ladder.map((rung) => [
      percent(rung.above), `\u00d7 ${rung.patience}`, count(rung.more_keys),
      Object.entries(rung.tiers).flatMap(([tier, number], n) => [n ? ", " : "", theirs(tier), ` ${count(number)}`]),
      count(rung.days_gained)]), { kind: "rungs" }));
}

// --- nights ------------------------------------------------------------------------------------------

const VERDICTS = {
  keep: "no step: in use, or the next date has not come",
  unknown: "kept, for not enough is known of them",
  protected: "never touched: owned by others, or meant to stay",
  warn: "idle for too long, and told so",
  disable: "warned, and idle still: opens nothing until enabled",
  park: "disabled, and idle still: sealed and deleted",
};

function showBrake({ on, new: keys, causes }) {
  if (keys === null) return null;
  const why = Object.entries(causes).map(([cause, number]) => `${count(number)} ${cause.replaceAll("_", " ")}`).join(", ");
  return paragraph(`${on ? "The safety brake is on until a plan is approved. " : ""}Newly past the idle limit: ${why || "none"}.`, on ? "notice" : "faint");
}

function showNight({ night, mode, date }) {
  const words = [];
  if (night.held !== null) words.push(element("p", { class: "notice" }, night.swept ? "Since this night was swept, sweeps are on hold: " : "Sweeps are on hold: ", theirs(night.held)));
  if (night.observed_because) words.push(element("p", { class: "notice" }, "Sweeps only observed: ", theirs(night.observed_because)));
  if (night.untold) words.push(element("p", { class: "notice" }, `${count(night.untold.keys)} keys wait, for what tells of them could not be sent since ${inWords(night.untold.since)}.`));
  words.push(paragraph(night.swept
    ? `The night of ${inWords(date)} was swept, by the evidence of ${inWords(night.evidence)}.`
    : `The night of ${inWords(date)} was not swept${night.evidence ? `; there is evidence of ${inWords(night.evidence)}` : ": there was no evidence to judge by"}.`));
  if (mode === "observe") words.push(paragraph("Mode is observe: no key is touched. Verdicts say what would be done."));
  if (mode === "disable") words.push(paragraph("Mode is disable: keys are warned and disabled, none is parked."));
  words.push(showBrake(night.brake));
  const did = element("ul", { class: "tiles" }, Object.entries(night.did).map(([what, number]) =>
    element("li", {}, element("strong", {}, count(number)), ` ${what}`)));
  fill("night-words", ...words, did.children.length ? did : paragraph("What it did is not known.", "faint"));
  showVerdicts(night, date);
  fill("unread", night.unread.length
    ? element("ul", { class: "plain" }, night.unread.map((plan) => element("li", {}, planOf(plan), ": ", theirs(plan.reason))))
    : paragraph("None.", "faint"));
  fill("silent", night.silent.length
    ? [paragraph("No request was ever seen in them, so their keys are unknown and kept."),
      element("ul", { class: "plain" }, night.silent.map((plan) => element("li", {}, planOf(plan))))]
    : paragraph("None.", "faint"));
}

const planOf = ({ usage_plan_id: id, name }) => element("span", {}, named(name, "no name"), " ", element("span", { class: "id" }, `(${id})`));

function showVerdicts(night, date) {
  const counts = Object.entries(night.verdicts);
  const whole = counts.reduce((sum, [, number]) => sum + number, 0);
  if (night.keys_file === null || !whole) {
    fill("verdicts", paragraph("No key has been judged yet.", "faint"));
    return;
  }
  fill("verdicts",
    night.keys_file === date ? null : paragraph(`These verdicts, and those of every key below, are of ${inWords(night.keys_file)}: nothing newer is known.`, "notice"),
    bar(counts.map(([word, number]) => [word, number]), whole),
    element("dl", { class: "verdicts" }, counts.map(([word, number]) => element("div", {},
      element("dt", {}, badge(word), " ", element("strong", {}, count(number))),
      element("dd", { class: "faint" }, VERDICTS[word] ?? "")))));
}

function showAhead({ mode, ahead, ahead_mode: as, ahead_unknown: why }) {
  if (ahead === null) {
    fill("ahead-nights", element("p", { class: "faint" }, "Not known", why ? [": ", theirs(why)] : ".", ));
    return;
  }
  const total = (night) => STEPS.reduce((sum, step) => sum + night[step], 0);
  const most = Math.max(1, ...ahead.map(total));
  const whole = Object.fromEntries(STEPS.map((step) => [step, ahead.reduce((sum, night) => sum + night[step], 0)]));
  const braked = (night) => (night.braked ? element("span", { class: "faint" }, " brake") : "");
  const row = (first, night, keys) => [first, ...STEPS.map((step) => (night[step] ? count(night[step]) : "0")), keys, bar(STEPS.map((step) => [step, night[step]]), most)];
  fill("ahead-nights",
    paragraph(`${mode === as ? "If nothing changes" : `What mode ${as} would do (in ${mode} nothing is done)`}: no key is made, changed or protected until then, keys that were used this week go on being used, and the others stay unused. The allowance of a night is kept to.`),
    ahead.some((night) => night.braked)
      ? paragraph("On a night marked \u201cbrake\u201d nothing goes until a plan is approved.", "notice") : null,
    element("p", { class: "legend", "aria-hidden": "true" }, STEPS.map((step) => mark(`--${step}`, step, "area"))),
    table("The next 14 nights", ["Night", "#Warn", "#Disable", "#Park", "#Purge", "#Keys then", "All steps"],
      [...ahead.map((night) => row([night.date, braked(night)], night, count(night.keys))),
        ahead.length ? [...row("Together", whole, "").slice(0, -1), ""] : null].filter(Boolean), { kind: "nights" }));
}

// --- use ---------------------------------------------------------------------------------------------

function showUse(report) {
  const { use } = report;
  if (!use.days.length || !use.tiers.length) {
    byId("use-chart").closest("figure").remove();
    fill("use-tiers", paragraph("Nothing is known of any use yet.", "faint"));
  } else {
    drawUse(report);
    fill("use-numbers", numbersOf("The days as numbers", ["Day", ...use.tiers.map((tier) => `#${shown(tier.tier)}`)], () =>
      use.days.map((day, n) => [day, ...use.tiers.map((tier) => count(tier.by_day[n]))]).reverse()));
    const most = Math.max(1, ...use.tiers.map((tier) => tier.requests ?? 0));
    fill("use-tiers",
      use.missing.length ? paragraph(`Of ${listed(use.missing.map(inWords))} nothing is known: what was used then is missing in the sums.`) : null,
      table("Use by tier", ["Tier", "#Keys", "#Used keys", "#Requests", "Share"], use.tiers.map((tier) => useRow(named(tier.tier, UNKNOWN), tier, most)), { kind: "uses" }));
  }
  if (!use.owners.length) {
    fill("use-owners", paragraph("No owner is known to have used a key.", "faint"));
    return;
  }
  const most = Math.max(1, ...use.owners.map((owner) => owner.requests ?? 0));
  fill("use-owners",
    paragraph(use.owners_total > use.owners.length ? `The ${count(use.owners.length)} with the most requests, of ${many(use.owners_total, "owner")}.` : `${many(use.owners_total, "owner")}.`),
    table("Use by owner", ["Owner", "#Keys", "#Used keys", "#Requests", "Share"],
      use.owners.map((owner) => useRow(clamped(named(owner.owner, "owner unknown")), owner, most)), { most: 10, kind: "uses" }));
}

const useRow = (name, { keys, used_keys: used, requests }, most) =>
  [name, count(keys), count(used), count(requests), bar([["used", requests]], most)];

function showQuota({ near_quota: near }) {
  if (!near.length) {
    fill("quota-keys", paragraph("No key is on its way to use up its quota before the quota begins anew.", "faint"));
    return;
  }
  const gone = near.filter((key) => key.remaining === 0).length;
  fill("quota-keys",
    paragraph(`${many(near.length, "key")} will use up ${near.length === 1 ? "its" : "their"} quota before it begins anew` +
      `${gone ? `; ${gone === 1 ? "1 has" : `${count(gone)} have`} done so already and ${gone === 1 ? "is" : "are"} refused` : ""}.`),
    table("Keys that will hit their quota", ["Key", "Owner", "Tier", "Usage plan", "#Used", "#Limit", "#Left", "Used up on", "Begins anew", "Use"], near.map((key) => [
      element("div", {}, clamped(named(key.name, "no name")), keyLink(key.key_id)),
      clamped(named(key.owner, UNKNOWN)), clamped(named(key.tier, UNKNOWN)), clamped(named(key.plan, key.usage_plan_id)),
      count(key.used), `${count(key.limit)} a ${key.period.toLowerCase()}`, count(key.remaining),
      key.runs_out_on ?? UNKNOWN, key.resets_on ?? UNKNOWN,
      bar([[key.remaining ? "warn" : "full", Math.min(key.used, key.limit)]], key.limit)]), { most: 20, kind: "quotas" }));
}

const keyLink = (id) => element("a", { class: "id", href: `#key=${encodeURIComponent(id)}` }, shown(id));

// --- keys and findings -------------------------------------------------------------------------------

function showKeys(report) {
  const { night, date, keys } = report;
  fill("keys-about", night.keys_file !== null && night.keys_file !== date && keys.rows.length
    ? paragraph(`As they were on ${inWords(night.keys_file)}.`, "notice") : null);
  return new KeysTable(report);
}

const LISTED = 100; // of what a finding is about; report.json has them all

function showFindings({ findings, keys, plans, unread }) {
  const left = unread.length ? [
    paragraph("Not everything could be looked at. Nothing is said of:", "notice"),
    element("ul", {}, unread.map((one) => element("li", {}, theirs(one)))),
  ] : null;
  if (!findings.length) {
    fill("findings-list", paragraph("Nothing: no key, plan or stage that asks for mending.", "faint"), left);
    return;
  }
  const at = keys.columns.indexOf("key_id");
  const known = new Set(keys.rows.map((row) => row[at]));
  fill("findings-list", paragraph(`${many(findings.length, "finding")}. One key may stand in several.`),
    findings.map((finding) => findingOf(finding, known, plans)), left);
}

function findingOf({ what, why, slots, command, about: all }, known, plans) {
  const [about, total] = [all.slice(0, LISTED), all.length];
  return element("article", { class: "finding" },
    element("header", {}, element("h3", {}, theirs(what)),
      element("p", { class: slots ? "slots" : "slots faint" }, slots ? `would free ${many(slots, "slot")}` : "frees no slot")),
    element("p", {}, theirs(why)),
    command ? commandOf(command) : null,
    about.length ? element("details", {},
      element("summary", {}, about.length < total ? `Show the first ${count(about.length)} of ${count(total)} (report.json has them all)` : `Show ${total === 1 ? "which" : `all ${count(total)}`}`),
      element("ul", { class: "about" }, about.map((id) => element("li", {}, aboutOf(id, known, plans))))) : null);
}

function aboutOf(id, known, plans) {
  if (known.has(id)) return keyLink(id);
  if (Object.hasOwn(plans, id)) return planOf({ usage_plan_id: id, name: plans[id] });
  return theirs(id);
}

/** A command with a button that copies it; where the browser does not let it, it is selected. */
function commandOf(command) {
  const words = command.split(/(\s+)/).map((word, n) => (n % 2 ? word : element("span", {}, shown(word))));
  const code = element("code", {}, words); // a line breaks between words, not at their hyphens
  return element("div", { class: "command" }, element("pre", {}, code),
    element("button", {
      type: "button",
      click: async (event) => {
        const button = event.currentTarget;
        try {
          await navigator.clipboard.writeText(command);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(code);
          button.textContent = "Selected";
        }
        say(`${button.textContent}: the command`);
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      },
    }, "Copy"));
}
