// The table of every key: searched, filtered, sorted, and drawn a page at a time.
"use strict";

// A phone shows a key as a card: fewer of them, so that what is below can be reached.
const PAGE = matchMedia("(max-width: 760px)").matches ? 10 : 50;
const LATER = 1e6; // days: where what is not announced is sorted, after all that is

// A column of the table shows one field or two, the second below the first; each can be sorted by.
const COLUMNS = [
  { width: "11.5rem", fields: [["name", "Name"], ["key_id", "Key id"]] },
  { width: "8rem", fields: [["owner", "Owner"]] },
  { width: "7rem", fields: [["tier", "Tier"], ["plans", "Usage plans"]] },
  { width: "6rem", fields: [["state", "State"], ["verdict", "Verdict"]] },
  { width: "6rem", fields: [["last_used", "Last use"], ["idle_days", "Idle"]] },
  { width: "6rem", fields: [["next_step", "Next step"], ["next_on", "On"]] },
  { width: "3.7rem", number: true, fields: [["days_left", "Days left"]] },
  { width: "5.6rem", number: true, fields: [["requests_30d", "Requests, 30\u00a0days"]] },
  { width: "6rem", fields: [["created", "Created"], ["expires", "Ends"]] },
  { fields: [["reason", "Reason"]] },
];
const FIELDS = COLUMNS.flatMap(({ fields }) => fields);
const CHOICES = ["state", "tier", "verdict"];

class KeysTable {
  constructor(report) {
    const { keys } = report;
    this.report = report;
    this.rows = keys.rows;
    this.plans = report.plans;
    this.at = Object.fromEntries(keys.columns.map((field, n) => [field, n]));
    for (const row of this.rows) if (row[this.at.waits]) row[this.at.verdict] = "waiting";
    this.texts = this.rows.map((row) => this.searched(row));
    this.orders = new Map();
    this.sorted = "days_left";
    this.descending = false;
    this.page = 0;
    this.found = [];
    this.offer();
    this.listen();
    this.find();
  }

  get(row, field) {
    return this.rows[row][this.at[field]];
  }

  plansOf(row) {
    return this.get(row, "plans").map((id) => this.plans[id] || id).join(", ");
  }

  /** What a search looks at, of one key. */
  searched(row) {
    const fields = ["key_id", "name", "owner", "tier", "reason"].map((field) => row[this.at[field]] ?? "");
    for (const id of row[this.at.plans]) fields.push(id, this.plans[id] ?? "");
    const text = fields.join("\n");
    const seen = shown(text.replaceAll("\n", " "));
    return (seen.length === text.length ? text : `${text}\n${seen}`).toLowerCase();
  }

  /** Whether a key's next step is a warning that comes only if the key is not used until then. */
  isInUse(row) {
    return this.get(row, "next_step") === "warned" && !this.get(row, "announced");
  }

  /** What a key is sorted by; null comes last, whichever the direction. */
  sortKey(row, field) {
    const value = field === "plans" ? this.plansOf(row) : this.get(row, field);
    if (field === "days_left" && this.isInUse(row)) return LATER + value;
    return typeof value === "string" ? value.toLowerCase() || null : value;
  }

  /** All keys in a column's order, made once. */
  order(field, descending) {
    const name = `${field} ${descending}`;
    if (!this.orders.has(name)) {
      const by = this.rows.map((_, row) => this.sortKey(row, field));
      const known = [];
      const unknown = [];
      for (const row of this.rows.keys()) (by[row] === null ? unknown : known).push(row);
      const turn = descending ? -1 : 1;
      known.sort((one, other) => (by[one] < by[other] ? -turn : by[one] > by[other] ? turn : one - other));
      this.orders.set(name, known.concat(unknown));
    }
    return this.orders.get(name);
  }

  // --- what is chosen ------------------------------------------------------------------------------

  offer() {
    for (const field of CHOICES) {
      const counts = new Map();
      for (const row of this.rows) {
        const value = row[this.at[field]];
        counts.set(value, (counts.get(value) ?? 0) + 1);
      }
      const options = [...counts].filter(([value]) => value !== null).sort((one, other) => other[1] - one[1]);
      byId(`of-${field}`).append(element("option", { value: "" }, "any"),
        ...options.map(([value, number]) => element("option", { value }, `${shown(value)} (${count(number)})`)));
    }
    byId("sort-by").append(...FIELDS.map(([field, head]) => element("option", { value: field }, head)));
    byId("keys-widths").append(...COLUMNS.map(({ width }) => {
      const column = element("col");
      if (width) column.style.width = width;
      return column;
    }), element("col", { class: "more" }));
    byId("keys-heads").append(...COLUMNS.map(({ fields, number }) =>
      element("th", { scope: "col", class: number ? "n" : null }, fields.flatMap(([field, head]) => [
        element("button", { type: "button", "data-field": field, click: () => this.sortBy(field) }, head,
          element("span", { class: "arrow", "aria-hidden": "true" })),
        element("span", { class: "print-only" }, head), // a head with buttons is not repeated on each sheet
      ]))),
      element("th", { scope: "col", class: "more" }, element("span", { class: "unseen" }, "Details")));
  }

  listen() {
    byId("search").addEventListener("input", () => this.find());
    for (const field of CHOICES) byId(`of-${field}`).addEventListener("change", () => this.find());
    byId("sort-by").addEventListener("change", (event) => this.sortBy(event.target.value, false));
    byId("direction").addEventListener("click", () => this.sortBy(this.sorted));
    byId("clear").addEventListener("click", () => this.only(""));
    byId("csv").addEventListener("click", () => download(this.fileName(), this.csv()));
    byId("link").addEventListener("click", (event) => this.copyLink(event.currentTarget));
    byId("keys").querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    for (const button of document.querySelectorAll("[data-turn]")) {
      button.addEventListener("click", () => this.turn(button));
    }
  }

  /** Sorts by a column; by the one that it is sorted by, the other way round. */
  sortBy(field, descending = field === this.sorted && !this.descending) {
    this.sorted = field;
    this.descending = descending;
    this.find();
  }

  /** Searches for a text among all keys. */
  only(text) {
    this.choose(new URLSearchParams({ search: text }));
  }

  /** Searches and filters as a link says; what it does not name is not asked for. */
  choose(wanted) {
    byId("search").value = wanted.get("search") ?? "";
    for (const field of CHOICES) byId(`of-${field}`).value = wanted.get(field) ?? "";
    this.find();
  }

  /** What is searched and filtered for, as a link says it. */
  chosen() {
    const fields = ["search", ...CHOICES].map((field) => [field, byId(field === "search" ? field : `of-${field}`).value]);
    return new URLSearchParams(fields.filter(([, value]) => value));
  }

  copyLink(button) {
    const hash = `#${this.chosen().toString() || "keys"}`;
    copy(button, location.href.split("#")[0] + hash, "a link to these keys", () => {
      location.hash = hash; // the address bar has it then
      return "See address";
    });
  }

  // --- as a file -----------------------------------------------------------------------------------

  fileName() {
    const { account, region, date } = this.report;
    return `${["api-keys", account, region, date].filter(Boolean).join("-")}.csv`;
  }

  /** All keys that are found, in their order, with the columns of the table; empty: none, or not known. */
  csv() {
    const fields = [...FIELDS.map(([field]) => field), "reason_code", "announced"];
    return csvOf(fields, this.found.map((row) =>
      fields.map((field) => (field === "plans" ? this.plansOf(row) : this.get(row, field)))));
  }

  turn(button) {
    const page = this.page + Number(button.dataset.turn);
    if (page < 0 || page >= this.pages) return;
    this.page = page;
    this.draw();
    if (!button.closest(".last")) return;
    byId("keys-scroll").focus({ preventScroll: true });
    byId("keys-scroll").scrollIntoView({ block: "start" });
  }

  find() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = CHOICES
      .map((field) => [this.at[field], byId(`of-${field}`).value]).filter(([, value]) => value);
    this.found = this.order(this.sorted, this.descending).filter((row) =>
      wanted.every(([column, value]) => this.rows[row][column] === value) &&
      words.every((word) => this.texts[row].includes(word)));
    this.page = 0;
    this.draw();
  }

  // --- what is drawn -------------------------------------------------------------------------------

  get pages() {
    return Math.max(1, Math.ceil(this.found.length / PAGE));
  }

  draw() {
    const first = this.page * PAGE;
    const rows = this.found.slice(first, first + PAGE);
    byId("keys-rows").replaceChildren(...(rows.length ? rows.map((row) => this.row(row)) : [this.nothing()]));
    const which = this.which(first, rows.length);
    byId("found").textContent = which;
    const search = byId("search").value;
    byId("printed").textContent = `On paper: ${which}${search ? `, found by \u201c${shown(search)}\u201d` : ""}. The file itself holds every key.`;
    for (const place of document.querySelectorAll(".pager .page")) {
      place.textContent = `Page ${count(this.page + 1)} of ${count(this.pages)}`;
    }
    for (const button of document.querySelectorAll("[data-turn]")) {
      const page = this.page + Number(button.dataset.turn);
      button.setAttribute("aria-disabled", page < 0 || page >= this.pages);
    }
    const direction = this.descending ? "descending" : "ascending";
    byId("sort-by").value = this.sorted;
    byId("direction").textContent = this.descending ? "Descending" : "Ascending";
    for (const head of byId("keys-heads").children) {
      head.removeAttribute("aria-sort");
      for (const button of head.querySelectorAll("button")) {
        const isSorted = button.dataset.field === this.sorted;
        button.classList.toggle("sorted", isSorted);
        if (isSorted) head.setAttribute("aria-sort", direction);
      }
    }
  }

  /** Which keys are drawn, of how many. */
  which(first, drawn) {
    const [found, all] = [this.found.length, this.rows.length];
    if (found === 0) return all ? `No key, of ${count(all)}` : "No key";
    const range = found === drawn ? count(found) : `${count(first + 1)}\u2013${count(first + drawn)} of ${count(found)}`;
    return found === all ? `${found === drawn ? "All " : ""}${range} ${all === 1 ? "key" : "keys"}` : `${range} found, of ${many(all, "key")}`;
  }

  nothing() {
    return element("tr", {}, element("td", { colspan: COLUMNS.length + 1, class: "nothing" },
      this.rows.length ? "No key matches. Clear the search to see all keys." : "No key is known yet: no sweep has judged any."));
  }

  row(row) {
    const value = this.values(row);
    const id = this.get(row, "key_id");
    const made = element("tr", {}, COLUMNS.map(({ fields, number }, n) =>
      element(n ? "td" : "th", { scope: n ? null : "row", class: number ? "n" : null }, fields.map(([field, head], below) =>
        element("div", { class: below ? `${field} second` : field, "data-head": head }, value[field])))),
      element("td", { class: "more" }, element("button", {
        type: "button", class: "quiet", "aria-expanded": "false", "aria-label": `More of key ${id}`,
        click: (event) => this.open(row, made, event.currentTarget),
      }, "More")));
    return made;
  }

  /** What a key's row shows, by field. */
  values(row) {
    const get = (field) => this.get(row, field);
    const idle = get("idle_days");
    const inUse = this.isInUse(row);
    const limit = this.limitOf(row);
    return {
      name: clamped(named(get("name"), "no name")),
      key_id: element("span", { class: "id" }, get("key_id")),
      owner: clamped(named(get("owner"), UNKNOWN)),
      tier: clamped(named(get("tier"), UNKNOWN)),
      plans: clamped(get("plans").length ? theirs(this.plansOf(row)) : "no plan"),
      state: badge(get("state")),
      verdict: (get("verdict") ?? UNKNOWN),
      last_used: get("last_used") ?? faint("none seen"),
      idle_days: idle === null ? `idle ${UNKNOWN}` : many(idle, "day"),
      next_step: inUse || get("next_step") === null ? faint("none") : get("announced") ? get("next_step") : `would be ${get("next_step")}`,
      next_on: inUse ? element("span", {}, "if not used, warned ", element("span", { class: "day" }, get("next_on"))) : element("span", { class: "day" }, get("next_on") ?? ""),
      days_left: inUse || get("days_left") === null ? faint("none") : count(get("days_left")),
      requests_30d: get("requests_30d") === null ? faint(UNKNOWN) : count(get("requests_30d")),
      created: get("created") ?? faint(UNKNOWN),
      expires: get("expires") ?? "no end",
      reason: clamped(element("span", {}, withDays(get("reason")), limit ? faint(` (limit: ${limit})`) : "")),
    };
  }

  /** Shows everything about one key below its row, or takes it away again. */
  open(row, below, button) {
    const opened = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", !opened);
    if (opened) {
      below.nextElementSibling.remove();
      return;
    }
    const get = (field) => this.get(row, field);
    const plans = get("plans").map((id) => element("li", {}, named(this.plans[id], "no name"), " ", element("span", { class: "id" }, `(${id})`)));
    const told = [
      ["Name", named(get("name"), "no name")],
      ["Owner", named(get("owner"), UNKNOWN)],
      ["Reason", withDays(get("reason"))],
      ["Next step", this.nextOf(row)],
      ["Idle limit", this.limitOf(row)],
      ["Usage plans", plans.length ? element("ul", {}, plans) : "in none"],
    ].filter(([, text]) => text !== null);
    below.after(element("tr", { class: "details" }, element("td", { colspan: COLUMNS.length + 1 },
      element("dl", {}, told.map(([term, text]) => element("div", {}, element("dt", {}, term), element("dd", {}, text)))),
      this.commandsOf(row))));
  }

  /** What happens to a key next, in one sentence. */
  nextOf(row) {
    const get = (field) => this.get(row, field);
    const [step, on] = [get("next_step"), get("next_on")];
    if (step === null) return "none";
    if (this.isInUse(row)) return `None is planned. If no request comes before, the key is warned on ${inWords(on)}.`;
    const facts = get("facts");
    const ends = get("reason_code") === "ends" || facts.due?.reason_code === "ends";
    const unless = step === "purged" ? "After that it cannot be restored."
      : ends ? "This is its agreed end, used or not."
        : step === "disabled" ? "A request, a renew or a protect stops it." : "A renew or a protect stops it.";
    return `${get("announced") ? "" : "Would be "}${step} on ${inWords(on)}. ${unless}`;
  }

  /** Where a pressure rule shortens a key's idle limit: from which number of days, and why; else null. */
  limitOf(row) {
    const { capacity: { pressure }, tier_limits: tiers } = this.report;
    const { above, idle_factor: factor, least_idle_days: least } = pressure;
    const days = this.get(row, "facts").idle_limit;
    const tier = tiers[this.get(row, "tier")];
    if (above === null || factor === 1 || days === undefined || !tier) return null;
    const shortened = (whole) => Math.ceil(whole * factor);
    const why = `\u00d7 ${factor}, by the pressure rule above ${percent(above)}`;
    const floor = Math.min(tier.idle_days, least);
    if (days === Math.max(floor, shortened(tier.idle_days))) {
      return `${many(tier.idle_days, "day")} ${why}${shortened(tier.idle_days) < floor ? `, but at least ${floor}` : ""}`;
    }
    return days === Math.max(1, shortened(tier.never_used_days)) ? `${many(tier.never_used_days, "day")} ${why}` : null;
  }

  /** What an operator can type about a key; nothing without a stack. */
  commandsOf(row) {
    const found = this.report.account === null ? [] : commandsFor(this.get(row, "key_id"), this.get(row, "state"), this.report);
    if (!found.length) return null;
    return element("ul", { class: "commands" }, found.map(([command, what]) => element("li", {}, paragraph(what, "faint"), commandOf(command))));
  }
}

/** Text of any length in the room of a few lines; a row's details hold all of it. */
const clamped = (node) => element("div", { class: node.textContent?.length > 60 ? "clamp long" : "clamp" }, node);

const badge = (word) => (word ? element("span", { class: `badge ${word.replace(/\W/g, "-")}` }, word.replaceAll("_", " ")) : UNKNOWN);

const faint = (text) => element("span", { class: "faint" }, text);
