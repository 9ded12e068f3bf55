// Reads the numbers, shows them, and minds colours, paper and links.
"use strict";

function start() {
  const report = JSON.parse(byId("report").textContent);
  const name = report.account === null ? "API keys of an account, from files"
    : `API keys of account ${report.account} in ${report.region}`;
  document.title = `${name}, ${report.date}`;
  byId("title").textContent = name;
  byId("about").textContent = `${inWords(report.date)} \u00b7 ` +
    `${report.account === null ? "what if, nothing is deployed" : `mode ${report.mode}`} \u00b7 ` +
    `written ${report.made_at.slice(0, 16).replace("T", " ")} UTC by keyjanitor ${report.code_version}`;
  const keys = showKeys(report);
  performance.mark("keys-drawn");
  showCapacity(report);
  showNight(report);
  showAhead(report);
  showRegret(report);
  showInactivity(report);
  showUse(report);
  showQuota(report);
  showFindings(report);
  mindScrolling();
  addEventListener("resize", mindScrolling);
  mindScheme();
  mindLinks(keys);
  performance.mark("report-ready");
}

/** Dark or light as the reader's system is set, until the button is used. Paper is light. */
function mindScheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = byId("scheme");
  const root = document.documentElement;
  const isDark = () => (root.dataset.scheme ? root.dataset.scheme === "dark" : dark.matches);
  const show = () => {
    button.textContent = isDark() ? "Light colours" : "Dark colours";
    drawAgain();
  };
  button.addEventListener("click", () => {
    root.dataset.scheme = isDark() ? "light" : "dark";
    show();
  });
  dark.addEventListener("change", show);
  matchMedia("print").addEventListener("change", drawAgain);
  button.textContent = isDark() ? "Light colours" : "Dark colours";
}

/** `#key=ID` opens the table at that key, `#search=...&tier=...` at what was found; from a link or the address. */
function mindLinks(keys) {
  const go = (hash) => {
    const wanted = /^#key=(.+)$/s.exec(hash);
    if (wanted) keys.only(decoded(wanted[1]));
    else if (/^#(search|state|tier|verdict)=/.test(hash)) keys.choose(new URLSearchParams(hash.slice(1)));
    else return;
    byId("keys").scrollIntoView();
    byId("search").focus({ preventScroll: true });
  };
  addEventListener("hashchange", () => go(location.hash));
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#key="]');
    if (link && link.hash === location.hash) go(link.hash);
  });
  go(location.hash);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a percent sign that was typed
  }
}

start();
