// How counts, days and names are written. Names and owners are others' text.
"use strict";

const UNKNOWN = "not known";
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August",
  "September", "October", "November", "December"];
const DAY = 86400; // seconds
const SPACE = "\u00a0";
const THOUSANDS = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });

const COMPACT = new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 2 });

/** A number on an axis: from a million on as 1.5M. */
const short = (number) => (number >= 1e6 ? COMPACT.format(number).toUpperCase() : THOUSANDS.format(number));

const count = (number) => (number === null || number === undefined ? UNKNOWN : THOUSANDS.format(number));

const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

/** A share of 1 as a percentage; 100 is only said of the whole. */
function percent(share) {
  if (share === null || share === undefined) return UNKNOWN;
  const rounded = Math.round(share * 1000) / 10;
  return `${share < 1 ? Math.min(rounded, 99.9) : rounded}${SPACE}%`;
}

const signed = (number) => (number > 0 ? "+" : "") + number.toFixed(1).replace("-", "\u2212");

/** Seconds since 1970 of the day's beginning. */
const second = (day) => Date.parse(`${day}T00:00:00Z`) / 1000;

const dayOf = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

const later = (day, days) => dayOf(second(day) + days * DAY);

/** `2027-01-31` as `31 January 2027`. */
function inWords(day) {
  if (!day) return UNKNOWN;
  const [year, month, number] = day.split("-");
  return `${Number(number)} ${MONTHS[month - 1]} ${year}`;
}

/** `2027-01-31` as `31 Jan`. */
function inShort(day) {
  const [, month, number] = day.split("-");
  return `${Number(number)} ${MONTHS[month - 1].slice(0, 3)}`;
}

// Characters that are not seen or that turn the text around them; those that scripts and emoji need stay.
const UNSEEN = /(?![\u061c\u200c-\u200f])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** The text with every character that hides written out, as [U+202E]. */
function shown(text) {
  return text.replace(UNSEEN, (character) =>
    `[U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
}
