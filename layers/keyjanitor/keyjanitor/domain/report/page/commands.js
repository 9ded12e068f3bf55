// Commands to type, each with a button that copies it.
"use strict";

// What a shell takes as one plain word. An id that may be a key's value is shown as `id-` and twelve digits.
const PLAIN_ID = /^[A-Za-z0-9][A-Za-z0-9_]{0,18}$/;
const LIVING = ["active", "warned", "disabled"];
const KEY_COMMANDS = [
  ["key", "Everything known about this key", [...LIVING, "disabled_by_others", "parked", "gone"]],
  ["renew", "Its holder needs it: the idle time starts again, and a disabled key works again", LIVING],
  ["protect", "Keep it until a date, used or not", LIVING],
  ["restore", "Bring it back with the same value", ["parked"]],
];

const PROTECTED_DAYS = 30; // as proposed; whoever types it may write another date

/** What an operator can type about a key of a report, from anywhere, as [command, what it does]. */
const commandsFor = (id, state, { date, stack, region }) => (PLAIN_ID.test(id) ? KEY_COMMANDS : [])
  .filter(([, , states]) => states.includes(state))
  .map(([verb, what]) => {
    const until = verb === "protect" ? ` --until ${later(date, PROTECTED_DAYS)}` : "";
    return [`keyjanitor ${verb} ${id}${until} --stack ${stack} --region ${region}`, what];
  });

/** Copies a text and says so on its button; where the browser does not allow it, `otherwise` is done. */
async function copy(button, text, what, otherwise) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = otherwise();
  }
  say(`${button.textContent}: ${what}`);
  setTimeout(() => { button.textContent = label; }, 2000);
}

let commands = 0;

/** A command with its button; where the browser does not allow copying, the command is selected. */
function commandOf(command) {
  const words = command.split(/(\s+)/).map((word, n) => (n % 2 ? word : element("span", {}, shown(word))));
  const id = `command-${commands += 1}`;
  const code = element("code", { id }, words); // a line breaks between words, not at their hyphens
  const select = () => {
    getSelection().selectAllChildren(code);
    return "Selected";
  };
  return element("div", { class: "command" }, element("pre", {}, code),
    element("button", {
      type: "button", "aria-describedby": id,
      click: (event) => copy(event.currentTarget, command, "the command", select),
    }, "Copy"));
}
