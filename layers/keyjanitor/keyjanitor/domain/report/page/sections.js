// What the report says, section by section, in the order of the page.
"use strict";

const fill = (id, ...nodes) => byId(id).replaceChildren(...nodes.flat().filter((node) => node !== null));

const STEPS = ["warn", "disable", "park", "purge"];

// --- capacity ----------------------------------------------------------------------------------------

/** The day on which the account is full, in one sentence. */
function forecastOf({ capacity, service_quota: limit, date }) {
  const { state, days, soonest, latest, on } = capacity.forecast;
  if (capacity.keys !== null && capacity.keys >= limit) return "It is full: no key can be issued.";
  if (state === "not_yet_known") return "The day on which it is full is not known yet: fewer than seven days are counted.";
  if (state === "not_in_sight") return "The limit is not in sight: the trend is flat or falling, or the limit is more than two years away.";
  const range = latest === null ? `in ${soonest} at the soonest, perhaps never` : `between ${count(soonest)} and ${count(latest)}`;
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
    ["Alerts", `at ${listed(capacity.levels.map(percent))}, and ${listed(capacity.days_to_limit_marks.map(count))} days before the limit`],
  ];
  fill("capacity-words", paragraph(countOf(report), "big"), meter, paragraph(forecastOf(report), "lead"));
  fill("capacity-facts", element("dl", { class: "facts" }, facts.map(([term, text]) => element("div", {}, element("dt", {}, term), element("dd", {}, text)))));
  drawCapacity(report);
  fill("capacity-numbers", capacity.counts.length
    ? numbersOf("The counts as numbers", ["Day", "#Keys", "#Issued", "#Freed"], () =>
      [...capacity.counts].reverse().map(([day, keys, issued, freed]) => [day, count(keys), count(issued), count(freed)]))
    : null);
  showPressure(capacity);
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

/** What the active pressure rule does, in one sentence; null if none is active. */
function pressureOf({ above, idle_factor: factor, frozen, least_idle_days: least }) {
  if (above === null) return null;
  const stops = frozen.length ? `, and no key is issued in ${frozen.length === 1 ? "tier" : "the tiers"} ${listed(frozen.map(shown))}` : "";
  return `The pressure rule above ${percent(above)} is active: idle limits are multiplied by ${factor} (an idle limit of ${least} days or more never falls below ${least})${stops}.`;
}

function showPressure({ pressure, pressure_rules: rules }) {
  const active = pressureOf(pressure) ?? "No pressure rule is active.";
  if (!rules.length) {
    fill("pressure-rules", paragraph(`${active} No stricter rule is defined, or no sweep has computed its effect yet.`));
    return;
  }
  fill("pressure-rules", paragraph(`${active} The next rules would free these keys within 30 days:`),
    table("Pressure rules", ["Above", "#Idle limits", "#More keys", "Of tier", "#Days gained"], rules.map((rule) => [
      percent(rule.above), `\u00d7 ${rule.idle_factor}`, count(rule.more_keys),
      Object.entries(rule.tiers).flatMap(([tier, number], n) => [n ? ", " : "", theirs(tier), ` ${count(number)}`]),
      count(rule.days_gained)]), { kind: "rules" }));
}

// --- nights ------------------------------------------------------------------------------------------

// What a verdict means; of those that lead to a step, what was done and what would be done.
const VERDICTS = {
  keep: ["no step: used within the idle limit, or not idle for long enough"],
  waiting: ["kept tonight: the next step has a later date, or waits for a later night"],
  unknown: ["kept: too little is known to call it idle"],
  protected: ["not touched: protected, or owned by another tool"],
  warn: ["idle too long: warned today", "idle too long: would be warned"],
  disable: ["still idle after the warning: disabled today", "still idle after the warning: would be disabled"],
  park: ["disabled and still idle: encrypted copy kept, key deleted today", "disabled and still idle: would be parked (deleted, with an encrypted copy)"],
};

/** Whether the last sweep carried out its verdicts of a kind. */
const wasDone = (word, { night, mode }) => night.swept && !night.brake.on && mode !== "observe" && (word !== "park" || mode === "park");

const isFromFiles = ({ account }) => account === null;

function showBrake({ on, new: keys, causes }) {
  if (keys === null) return null;
  const why = Object.entries(causes).map(([cause, number]) => `${count(number)} ${cause.replaceAll("_", " ")}`).join(", ");
  return paragraph(`${on ? "The safety brake is on until a plan is approved. " : ""}Newly past the idle limit: ${why || "none"}.`, on ? "notice" : "faint");
}

function showNight(report) {
  const { night, mode, date } = report;
  byId("night-title").textContent = isFromFiles(report) ? "What a sweep would do" : mode === "observe" ? "What the last sweep would have done" : "The last sweep";
  const words = isFromFiles(report) ? [paragraph(`Nothing was done: this report is made from the files of ${inWords(date)}.`)] : nightOf(night, mode, date);
  const did = element("ul", { class: "tiles" }, Object.entries(night.did).map(([what, number]) =>
    element("li", {}, element("strong", {}, count(number)), ` ${what}`)));
  fill("night-words", ...words, isFromFiles(report) ? null : did);
  showVerdicts(report);
  fill("unread", night.unread.length
    ? element("ul", { class: "plain" }, night.unread.map((plan) => element("li", {}, planOf(plan), ": ", theirs(plan.reason))))
    : paragraph("None.", "faint"));
  fill("silent", night.silent.length
    ? [paragraph("No request was ever seen in them, so their keys are unknown and kept."),
      element("ul", { class: "plain" }, night.silent.map((plan) => element("li", {}, planOf(plan))))]
    : paragraph("None.", "faint"));
}

function calledOf(called) {
  return element("div", { class: "notice" }, paragraph("Disabled keys were called:"), element("ul", { class: "plain" }, called.map((key) =>
    element("li", {}, theirs(`${key.key_id} ${key.name || ""}`), `: ${count(key.requests)} times, last at ${key.last}${key.enabled ? "; enabled again" : ""}`))));
}

function nightOf(night, mode, date) {
  const words = [];
  if (night.held !== null) words.push(element("p", { class: "notice" }, night.swept ? "Sweeps are on hold since this sweep: " : "Sweeps are on hold: ", theirs(night.held)));
  if (night.observed_because) words.push(element("p", { class: "notice" }, "The sweep only observed: ", theirs(night.observed_because)));
  if (night.called) words.push(calledOf(night.called));
  if (night.untold) words.push(element("p", { class: "notice" }, `${many(night.untold.keys, "key")} wait: their notices could not be sent since ${inWords(night.untold.since)}.`));
  words.push(paragraph(night.swept
    ? `The sweep of ${inWords(date)} ran, with the usage reading of ${inWords(night.evidence)}.`
    : `The sweep of ${inWords(date)} did not act${night.evidence ? `; the latest usage reading is of ${inWords(night.evidence)}` : ": there was no usage reading"}.`));
  if (mode === "observe") words.push(paragraph("Mode is observe: no key is touched. Verdicts say what would be done."));
  if (mode === "disable") words.push(paragraph("Mode is disable: keys are warned and disabled, none is parked."));
  if (night.tags_unlisted) words.push(paragraph(`The tagging API lists no tag of any API key, so of ${many(night.tags_unlisted, "key")} to warn it is not known whether a tag protects them. A sweep reads the tags of each key before it warns.`));
  words.push(showBrake(night.brake));
  return words;
}

const planOf = ({ usage_plan_id: id, name }) => element("span", {}, named(name, "no name"), " ", element("span", { class: "id" }, `(${id})`));

function showVerdicts(report) {
  const { night, date } = report;
  const { waiting, verdicts } = night;
  const counts = Object.entries({ ...verdicts, keep: (verdicts.keep ?? 0) - waiting, waiting })
    .filter(([, number]) => number).sort((one, other) => other[1] - one[1]);
  const whole = counts.reduce((sum, [, number]) => sum + number, 0);
  if (night.keys_file === null || !whole) {
    fill("verdicts", paragraph("No sweep has judged the keys yet.", "faint"));
    return;
  }
  const means = (word) => {
    const [done, would = done] = VERDICTS[word] ?? [""];
    return wasDone(word, report) ? done : would;
  };
  fill("verdicts",
    night.keys_file === date ? null : paragraph(`These verdicts, and those of every key below, are of ${inWords(night.keys_file)}: there are no newer ones.`, "notice"),
    bar(counts.map(([word, number]) => [word, number]), whole),
    element("dl", { class: "verdicts" }, counts.map(([word, number]) => element("div", {},
      element("dt", {}, badge(word), " ", element("strong", {}, count(number))),
      element("dd", { class: "faint" }, means(word))))));
}

const SHOWN_NIGHTS = 14;

function showAhead({ mode, ahead, ahead_mode: as, ahead_unknown: why, ahead_later: after }) {
  byId("ahead-title").textContent = ahead?.length ? `The next ${count(ahead.length)} nights` : "The next nights";
  if (ahead === null) {
    fill("ahead-nights", element("p", { class: "faint" }, "Not known", why ? [": ", theirs(why)] : "."));
    return;
  }
  const total = (night) => STEPS.reduce((sum, step) => sum + night[step], 0);
  const most = Math.max(1, ...ahead.map(total));
  const whole = Object.fromEntries(STEPS.map((step) => [step, ahead.reduce((sum, night) => sum + night[step], 0)]));
  const braked = (night) => (night.braked ? element("span", { class: "faint" }, " brake") : "");
  const row = (first, night, keys) => [first, ...STEPS.map((step) => (night[step] ? count(night[step]) : "0")), keys, bar(STEPS.map((step) => [step, night[step]]), most)];
  fill("ahead-nights",
    paragraph(`${mode === as ? "If nothing changes" : `What mode ${as} would do if nothing changes (mode ${mode} does nothing)`}: no key is created, changed or protected, keys that were used this week stay in use, the others stay unused, and each night keeps to its allowance.`),
    ahead.some((night) => night.braked)
      ? paragraph("On a night marked \u201cbrake\u201d the safety brake stops every step until an operator approves the plan.", "notice") : null,
    element("p", { class: "legend", "aria-hidden": "true" }, STEPS.map((step) => mark(`--${step}`, step, "area"))),
    table("The next nights", ["Night", "#Warn", "#Disable", "#Park", "#Purge", "#Keys then", "All steps"],
      ahead.map((night) => row([night.date, braked(night)], night, count(night.keys))),
      { kind: "nights", most: SHOWN_NIGHTS, foot: ahead.length ? [...row("Total", whole, "").slice(0, -1), ""] : null }),
    laterOf(after));
}

/** The steps after the last of these nights, of keys that are already on their way. */
function laterOf({ disable, park, first_disable: firstDisable, first_park: firstPark }) {
  const steps = [
    disable ? `${many(disable, "key")} disabled (the first on ${inWords(firstDisable)})` : null,
    park ? `${many(park, "key")} parked (the first on ${inWords(firstPark)}), which frees ${many(park, "slot")}` : null,
  ].filter(Boolean);
  return steps.length ? paragraph(`After these nights, of the keys that are due or on their way now: ${listed(steps)}.`) : null;
}

// --- what the sweeps cost ----------------------------------------------------------------------------

function showRegret({ regret, account }) {
  const { since, taken, back, percent: share, keys } = regret;
  if (!taken) {
    fill("regret-keys", paragraph(account === null ? "No sweep has run." : `No key was disabled or parked since ${inWords(since)}.`, "faint"));
    return;
  }
  const inUse = keys.filter((key) => key.used_since).length;
  fill("regret-keys",
    paragraph(`Of ${many(taken, "key")} disabled or parked since ${inWords(since)}, ${back ? `${count(back)} came back` : "none came back"}` +
      `${back ? ` within 30 days (${share}${SPACE}%); ${count(inUse)} of them ${inUse === 1 ? "has" : "have"} been used since` : ""}.` +
      " A key that comes back was taken too early: its holder had to ask for it."),
    keys.length ? table("Keys that came back", ["Key", "Owner", "Tier", "Was", "Back", "Used since"], keys.map((key) => [
      element("div", {}, clamped(named(key.name, "no name")), keyLink(key.key_id)),
      clamped(named(key.owner, UNKNOWN)), clamped(named(key.tier, UNKNOWN)),
      key.parked_on ? `parked ${key.parked_on}` : key.was,
      `${key.back_by} ${key.back_on}`,
      key.used_since === null ? faint(UNKNOWN) : key.used_since ? "yes" : "no"]), { most: 10, kind: "regrets" }) : null);
}

// --- enabled beyond what is declared ------------------------------------------------------------------

// Why a key is enabled although it is inactive for longer than its tier declares.
const STILL_ENABLED = {
  protected: "protected",
  owned_elsewhere: "owned by another tool",
  never_expires: "its tier never expires keys",
  no_contact: "its tier has no contact",
  unknown: "too little is known of its use",
  within_idle_limit: "its idle limit is not over",
  waits_for_date: "warned: waits for the announced date",
  waits_for_allowance: "waits for a later night's allowance",
  not_told: "its notice could not be sent",
  not_tonight: "no step was possible that night",
  held: "sweeps are on hold",
  braked: "the safety brake is on",
  observed: "sweeps only observe",
  step_not_taken: "its step failed, or it was enabled again",
  not_judged: "no sweep has judged it yet",
};

/** Only for a policy that declares days: else the section stays hidden, and so does its link. */
function showInactivity({ inactivity }) {
  if (!inactivity) return;
  byId("inactive").hidden = byId("inactive-link").hidden = false;
  const { declared, keys, why, columns, rows } = inactivity;
  const limits = Object.entries(declared).map(([tier, days]) => `${many(days, "day")} in tier ${shown(tier)}`);
  const words = `The policy declares that no key is enabled without a request for longer than ${listed(limits)}.`;
  if (!keys) {
    fill("inactive-keys", paragraph(`${words} None is.`));
    return;
  }
  const of = (row) => Object.fromEntries(columns.map((column, n) => [column, row[n]]));
  fill("inactive-keys",
    paragraph(`${words} ${many(keys, "key is", "keys are")} all the same, each for one of these reasons:`),
    share(why, (reason) => STILL_ENABLED[reason] ?? reason, ""),
    table("Inactive and still enabled", ["Key", "Owner", "Tier", "#Days inactive", "Last used", "Why it is enabled"], rows.map(of).map((key) => [
      element("div", {}, clamped(named(key.name, "no name")), keyLink(key.key_id)),
      clamped(named(key.owner, UNKNOWN)), clamped(named(key.tier, UNKNOWN)),
      `${count(key.inactive_days)} of ${count(key.declared_days)}`,
      key.last_used ?? faint("no request known"),
      element("div", {}, STILL_ENABLED[key.why] ?? shown(key.why), element("div", { class: "faint" }, clamped(withDays(key.reason))))]), { most: 10, kind: "inactive" }));
}

// --- use ---------------------------------------------------------------------------------------------

function showUse(report) {
  const { use } = report;
  if (!use.days.length || !use.tiers.length) {
    byId("use-chart").closest("figure").remove();
    fill("use-tiers", paragraph("No use is known yet.", "faint"));
  } else {
    drawUse(report);
    fill("use-numbers", numbersOf("The days as numbers", ["Day", ...use.tiers.map((tier) => `#${shown(tier.tier)}`)], () =>
      use.days.map((day, n) => [day, ...use.tiers.map((tier) => count(tier.by_day[n]))]).reverse()));
    const most = Math.max(1, ...use.tiers.map((tier) => tier.requests ?? 0));
    fill("use-tiers",
      use.missing.length ? paragraph(`The use of ${listed(use.missing.map(inWords))} is not known, and not in the sums.`) : null,
      table("Use by tier", ["Tier", "#Keys", "#Used keys", "#Requests", "Share"], use.tiers.map((tier) => useRow(named(tier.tier, UNKNOWN), tier, most)), { kind: "uses" }));
  }
  showStages(report);
  showOwners(use);
}

function showStages({ use: { stages }, plans }) {
  if (!stages.length) {
    fill("use-stages", paragraph("No usage plan opens a stage.", "faint"));
    return;
  }
  const shares = stages.some((stage) => stage.shared_requests || stage.shared_requests === null);
  const all = ({ requests, shared_requests: shared }) => (requests ?? 0) + (shared ?? 0);
  const most = Math.max(1, ...stages.map(all));
  const nameOf = (stage) => [stage.api ? clamped(theirs(stage.api)) : null, element("span", { class: "id" }, shown(stage.stage))];
  const plansOf = (stage) => clamped(theirs(stage.plans.map((id) => plans[id] || id).join(", ")));
  fill("use-stages",
    paragraph(`API Gateway counts requests by usage plan and key.${shares ? " The requests of a plan that opens several stages cannot be divided: they are under Shared of each of its stages." : ""}`),
    table("Use by stage", ["Stage", "Usage plans", "#Keys", "#Used keys", "#Requests", ...(shares ? ["#Shared"] : []), "Share"],
      stages.map((stage) => [nameOf(stage), plansOf(stage), count(stage.keys), count(stage.used_keys), count(stage.requests),
        ...(shares ? [count(stage.shared_requests)] : []), bar([["used", stage.requests], ["shared", stage.shared_requests]], most)]), { most: 10, kind: "stages" }));
}

function showOwners({ owners, owners_total: total, owners_used: used, owners_unknown: unknown }) {
  const not = unknown ? ` Of ${many(unknown, "owner")} the use is not known.` : "";
  const words = `${count(used)} of ${many(total, "owner")} used a key.${not}`;
  if (!owners.length) {
    fill("use-owners", paragraph(total ? words : "No key has a known owner, or none was used.", "faint"));
    return;
  }
  const named50 = owners.filter((owner) => owner.owner !== null).length;
  const most = Math.max(1, ...owners.map((owner) => owner.requests));
  fill("use-owners",
    paragraph(`${words}${used > named50 ? ` These are the ${count(owners.length)} with the most requests.` : ""}`),
    table("Use by owner", ["Owner", "#Keys", "#Used keys", "#Requests", "Share"],
      owners.map((owner) => useRow(clamped(named(owner.owner, "owner unknown")), owner, most)), { most: 10, kind: "uses" }));
}

const useRow = (name, { keys, used_keys: used, requests }, most) =>
  [name, count(keys), count(used), count(requests), bar([["used", requests]], most)];

function showQuota({ near_quota: near }) {
  if (!near.length) {
    fill("quota-keys", paragraph("No key will use up its quota before the quota starts again.", "faint"));
    return;
  }
  const gone = near.filter((key) => key.remaining === 0).length;
  fill("quota-keys",
    paragraph(`${many(near.length, "key")} will use up ${near.length === 1 ? "its" : "their"} quota before it starts again` +
      `${gone ? `; ${gone === 1 ? "1 has" : `${count(gone)} have`} done so already and ${gone === 1 ? "is" : "are"} refused with 429` : ""}.`),
    table("Keys that will hit their quota", ["Key", "Owner", "Tier", "Usage plan", "#Used", "#Limit", "#Left", "Used up on", "Starts again", "Use"], near.map((key) => [
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
    paragraph("These could not be checked:", "notice"),
    element("ul", {}, unread.map((one) => element("li", {}, theirs(one)))),
  ] : null;
  if (!findings.length) {
    fill("findings-list", paragraph("No problem found in keys, plans and stages.", "faint"), left);
    return;
  }
  const at = keys.columns.indexOf("key_id");
  const known = new Set(keys.rows.map((row) => row[at]));
  fill("findings-list", paragraph(`${many(findings.length, "problem")}. A key can appear in more than one.`),
    findings.map((finding) => findingOf(finding, known, plans)), left);
}

function findingOf({ what, why, slots, command, about: all }, known, plans) {
  const [about, total] = [all.slice(0, LISTED), all.length];
  return element("article", { class: "finding" },
    element("header", {}, element("h3", {}, theirs(what)),
      element("p", { class: slots ? "slots" : "slots faint" }, slots ? `would free ${many(slots, "slot")}` : "does not free any keys")),
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
