// Makes elements. Every value becomes text or a plain attribute; no text is read as markup.
"use strict";

const byId = (id) => document.getElementById(id);

/** `element("td", { class: "n" }, "text", node, ...)`; a function becomes a listener, null is left out. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const IS_DAY = /^\d{4}-\d\d-\d\d$/;

const paragraph = (text, kind = null) => element("p", { class: kind }, text);

/** Others' text, kept apart from the text around it, whichever way it is written. */
const theirs = (text) => element("bdi", {}, shown(text));

/** The same for a text of ours that names days: a day is not broken over two lines. */
const withDays = (text) => element("bdi", {}, shown(text).split(/(\d{4}-\d\d-\d\d)/).map((part, n) =>
  (n % 2 ? element("span", { class: "day" }, part) : part)));

const named = (text, otherwise) => (text?.trim() ? theirs(text) : element("span", { class: "faint" }, otherwise));

/** A bar of some share of its place; the number is beside it. */
function bar(parts, whole) {
  const made = element("span", { class: "bar", "aria-hidden": "true" });
  for (const [kind, value] of parts) {
    if (!value) continue;
    const part = element("i", { class: kind });
    part.style.width = `${(100 * value) / whole}%`;
    made.append(part);
  }
  return made;
}

/**
 * A table in a place of its own to scroll. `heads` are texts; one that begins with "#" is of a
 * column of numbers. Beyond `most` rows a button shows the rest. `foot` is a last row of sums.
 */
function table(label, heads, rows, { most = Infinity, kind = "", foot = null } = {}) {
  const numbers = heads.map((head) => head.startsWith("#"));
  const kindOf = (cell, n) => (numbers[n] ? "n" : typeof cell === "string" && IS_DAY.test(cell) ? "day" : null);
  const row = (cells) => element("tr", {}, cells.map((cell, n) =>
    element(n ? "td" : "th", { class: kindOf(cell, n), scope: n ? null : "row" }, cell)));
  const body = element("tbody", {}, rows.slice(0, most).map(row));
  const made = element("div", { class: "scroll", role: "region", "aria-label": `Table: ${label}` },
    element("table", { class: kind },
      element("thead", {}, element("tr", {}, heads.map((head, n) =>
        element("th", { scope: "col", class: numbers[n] ? "n" : null }, head.replace("#", ""))))),
      body, foot ? element("tfoot", {}, row(foot)) : null));
  if (rows.length <= most) return made;
  const rest = element("button", {
    type: "button",
    click: () => {
      body.append(...rows.slice(most).map(row));
      body.rows[most].querySelector("th").tabIndex = -1;
      body.rows[most].querySelector("th").focus();
      rest.remove();
    },
  }, `Show all ${count(rows.length)}`);
  return element("div", {}, made, rest);
}

/** A chart's numbers as a table, made when it is opened. */
function numbersOf(summary, heads, rows) {
  const made = element("details", {
    toggle: () => {
      if (made.open && made.children.length === 1) {
        made.append(table(summary, heads, rows()));
        mindScrolling();
      }
    },
  }, element("summary", {}, summary));
  return made;
}

/** What can be scrolled can be scrolled by keyboard; what cannot is not stopped at. */
function mindScrolling() {
  for (const place of document.querySelectorAll(".scroll")) {
    place.tabIndex = place.scrollWidth > place.clientWidth ? 0 : -1;
  }
}

/** Announces a text to screen readers. */
function say(text) {
  byId("said").textContent = text;
}
