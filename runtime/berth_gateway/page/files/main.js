// The page's life: a key where one is asked for, then the gateway's state, again and again.

import * as api from "./api.js";
import { Chart } from "./chart.js";
import { byId, element, say } from "./dom.js";
import * as memory from "./memory.js";
import * as models from "./models.js";
import * as playground from "./playground.js";

const LOOK_MILLISECONDS = 2000;
const PAST_MILLISECONDS = 5000; // the gateway itself looks so often
const MOST_PAUSE_MILLISECONDS = 15_000; // between tries at a gateway that does not answer

let charts = [];
let failures = 0;
let seen = null; // when the gateway last answered
let wake = () => {};

begin();

async function begin() {
  playground.begin();
  charts = [
    new Chart(byId("requests"), "Requests", [
      { name: "Held", of: (point) => point[1], kind: "held" },
      { name: "In flight", of: (point) => point[2], kind: "flight" },
    ]),
    new Chart(byId("replicas"), "Replicas", [
      { name: "Ready", of: (point) => point[3], kind: "replicas" },
    ]),
  ];
  byId("door-form").addEventListener("submit", enter);
  byId("forget").addEventListener("click", leave);
  byId("past-model").addEventListener("change", lookBack);
  document.addEventListener("visibilitychange", () => wake());
  window.addEventListener("online", () => wake());
  every(PAST_MILLISECONDS, lookBack);
  for (;;) {
    if (!document.hidden) await look();
    await pause(Math.min(LOOK_MILLISECONDS * 2 ** failures, MOST_PAUSE_MILLISECONDS));
  }
}

function pause(milliseconds) {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    wake = () => {
      clearTimeout(timer);
      done();
    };
  });
}

function every(milliseconds, work) {
  setInterval(() => document.hidden || work(), milliseconds);
}

async function look() {
  try {
    show(await api.state());
  } catch (error) {
    if (error instanceof api.Denied) ask(api.key() ? "The gateway does not know this key." : "");
    else offline(error);
  }
}

function show(state) {
  failures = 0;
  seen = new Date();
  const first = byId("site").hidden;
  for (const id of ["site", "sections"]) byId(id).hidden = false;
  byId("door").hidden = true;
  byId("site").classList.remove("stale");
  told("good", `Live · ${state.gateway}${state.gateways > 1 ? `, one of ${state.gateways}` : ""}`);
  warn(state.synced ? "" : "This gateway has not seen the cluster yet. What it shows may be a part.");
  byId("holder").hidden = !state.key;
  say(byId("holder-name"), state.key ?? "");
  models.show(state);
  memory.show(state);
  playground.show(state);
  offer(state.models.map((one) => one.id));
  if (first) lookBack();
}

function offer(names) {
  const select = byId("past-model");
  const known = [...select.options].map((one) => one.value);
  if (known.join("\n") === ["", ...names].join("\n")) return;
  const chosen = names.includes(select.value) ? select.value : "";
  select.replaceChildren(
    element("option", { value: "", text: "all models" }),
    ...names.map((name) => element("option", { value: name, text: name })));
  select.value = chosen;
}

/** A failure here is one of `look`, too, which tells of it. */
async function lookBack() {
  if (byId("site").hidden) return;
  const past = await api.history(byId("past-model").value).catch(() => null);
  if (past) charts.forEach((chart) => chart.show(past));
}

function ask(why) {
  failures = 0;
  const first = byId("door").hidden;
  for (const id of ["site", "sections", "holder"]) byId(id).hidden = true;
  byId("door").hidden = false;
  warn("");
  told("warn", "Waiting for a key");
  if (why || first) say(byId("key-error"), why);
  byId("key").setAttribute("aria-invalid", String(Boolean(why)));
  if (first) byId("key").focus();
}

function enter(event) {
  event.preventDefault();
  const given = byId("key").value.trim();
  if (!given || !/^[\x21-\x7e]+$/.test(given)) {
    say(byId("key-error"), given ? "A key has letters, digits and dashes only." : "Type a key first.");
    byId("key").focus();
    return;
  }
  api.remember(given);
  byId("key").value = "";
  wake();
}

function leave() {
  api.remember("");
  location.reload(); // nothing of what was seen stays in the page
}

function offline(error) {
  failures += 1;
  byId("site").classList.add("stale");
  const since = seen ? ` What you see is of ${seen.toLocaleTimeString()}.` : "";
  told("bad", "Offline");
  warn(`No answer: ${error.message}. Trying again.${since}`);
}

function warn(text) {
  byId("banner").hidden = !text;
  say(byId("banner"), text);
}

function told(mood, text) {
  byId("link").dataset.mood = mood;
  say(byId("link-text"), text);
}
