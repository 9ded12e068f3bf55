// Writes a table as CSV (RFC 4180) that a spreadsheet takes for text and numbers, never for formulas.
"use strict";

// OWASP, "CSV Injection": a cell that begins so is a formula, also with spaces before it or in full width.
const FORMULA = /^\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/u;

/** A cell: others' text has hidden characters written out, and an apostrophe before what may be a formula. */
function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return `"${shown(text).replaceAll('"', '""')}"`;
}

const csvOf = (heads, rows) => `\ufeff${[heads, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n")}\r\n`;

/** Gives the reader a file; no request is made. */
function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
