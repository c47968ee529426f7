// The table of models: what `berth ps` says, and two buttons.

import * as api from "./api.js";
import { byId, element, keep, say } from "./dom.js";
import { DASH, bytes, number, plural, seconds } from "./format.js";

// A browser has six connections to a gateway, and a load holds one until the model answers.
const MOST_LOADS = 2;
const COLUMNS = [
  ["Phase", ""], ["Processor", ""], ["Memory", "number"], ["Measured", "number"],
  ["Context", "number"], ["Until", ""], ["In flight", "number"], ["Held", "number"],
  ["Replicas", "number"],
];
const MOODS = { Serving: "good", Idle: "quiet", Failed: "bad", Draining: "warn" };

const EXAMPLE = `apiVersion: berth.dev/v1alpha1
kind: ModelDeployment
metadata: {name: smollm2}
spec:
  model: {source: "hf://HuggingFaceTB/SmolLM2-135M-Instruct"}`;

const rows = new Map();
let loads = 0;

export function show({ models, key }) {
  keep(byId("models-rows"), rows, models, (one) => `${one.namespace}/${one.name}`, () => new Row());
  byId("models-table").hidden = !models.length;
  byId("models-empty").hidden = Boolean(models.length);
  if (!models.length) byId("models-empty").replaceChildren(...nothing(key));
  say(byId("figures"), figures(models));
}

function nothing(key) {
  const why = key ? `No model that the key ${key} may use.` : "No models yet.";
  return [
    element("p", { class: "large", text: why }),
    element("p", { text: "Apply a ModelDeployment; this one is small enough for a CPU:" }),
    element("pre", { text: EXAMPLE }),
  ];
}

function figures(models) {
  const sum = (of) => models.reduce((total, one) => total + of(one), 0);
  const ready = sum((one) => (one.replicas.reached ? 1 : 0));
  const parts = [
    `${ready} of ${models.length} answer`,
    `${sum((one) => one.inFlight)} in flight`,
    `${sum((one) => one.held)} held`,
  ];
  const oldest = Math.max(0, ...models.map((one) => one.oldestHeldSeconds));
  return parts.join(" · ") + (oldest ? ` for up to ${seconds(oldest)}` : "");
}

/** The same words in the same order as the terminal's. */
function cells(model) {
  const { replicas, memory } = model;
  return [
    [model.phase ?? (replicas.reached ? "Routed" : DASH), model.progress].filter(Boolean).join(" "),
    model.processor ?? DASH,
    bytes(memory.plannedBytes),
    bytes(memory.measuredBytes),
    number(model.context),
    model.until ?? DASH,
    number(model.inFlight),
    number(model.held),
    model.namespace ? `${number(replicas.ready)}/${number(replicas.wanted)}` : number(replicas.reached),
  ];
}

class Row {
  constructor() {
    this.title = element("span", { class: "name" });
    this.place = element("span", { class: "muted small" });
    this.cells = COLUMNS.map(([label, kind]) =>
      element("td", { role: "cell", class: kind, "data-label": label }));
    this.phase = element("span", { class: "phase" });
    this.bar = element("progress", { max: 100, "aria-label": "Progress of this phase" });
    this.cells[0].append(this.phase, this.bar);
    this.button = element("button", { type: "button" });
    this.button.addEventListener("click", () => this.act());
    this.row = element("tr", { role: "row" },
      element("th", { role: "rowheader", scope: "row" }, this.title, this.place),
      ...this.cells, element("td", { role: "cell", class: "act" }, this.button));
    this.words = element("td", { role: "cell", colspan: COLUMNS.length + 2 });
    this.note = element("tr", { role: "row", class: "note" }, this.words);
    this.nodes = [this.row, this.note];
    this.asked = ""; // what was asked for and is not there yet
    this.failure = "";
  }

  update(model) {
    this.model = model;
    say(this.title, model.id);
    say(this.place, model.namespace ? `${model.namespace}/${model.name}` : "");
    const [phase, ...others] = cells(model);
    say(this.phase, phase);
    this.phase.dataset.mood = MOODS[model.phase] ?? (model.phase ? "busy" : "quiet");
    this.bar.hidden = !model.progress;
    this.bar.value = parseFloat(model.progress ?? "0");
    others.forEach((text, place) => say(this.cells[place + 1], text));
    this.showNote();
    this.showButton();
  }

  showNote() {
    const { phase, reason, message } = this.model;
    const settled = phase === "Serving" || phase === null;
    const parts = settled ? [] : [[reason, message].filter(Boolean).join(": ")];
    parts.push(this.asked, this.failure);
    const text = parts.filter(Boolean).join(" · ");
    say(this.words, text);
    this.note.hidden = !text;
    this.note.classList.toggle("bad", Boolean(this.failure) || phase === "Failed");
  }

  showButton() {
    const up = Boolean(this.model.replicas.reached);
    const why = up ? this.model.cannotUnload : this.model.cannotLoad;
    const verb = up ? "Unload" : "Load";
    const full = !up && loads >= MOST_LOADS;
    say(this.button, this.asked ? (up ? "Unloading" : "Loading") : verb);
    this.button.setAttribute("aria-label", `${this.button.textContent} ${this.model.id}`);
    // Not `disabled`: a button that says why it does nothing must be reachable.
    this.button.setAttribute("aria-disabled", String(Boolean(why || this.asked || full)));
    this.button.title = why || (full ? `${MOST_LOADS} loads are under way from this page` : "");
  }

  async act() {
    this.failure = "";
    if (this.button.getAttribute("aria-disabled") === "true") {
      this.failure = this.asked ? "" : this.button.title;
      this.showNote();
      return;
    }
    await (this.model.replicas.reached ? this.unload() : this.load());
    this.update(this.model);
  }

  async load() {
    loads += 1;
    try {
      await this.wait("asked for; it is loaded when there is room", () => api.load(this.model.id));
    } finally {
      loads -= 1;
    }
  }

  async unload() {
    const words = `leaves when its ${plural(this.model.inFlight, "request", "requests")} are done`;
    await this.wait(this.model.inFlight ? words : "leaves now", async () => {
      await api.unload(this.model.id);
      await this.gone();
    });
  }

  async wait(words, work) {
    this.asked = words;
    this.update(this.model);
    try {
      await work();
    } catch (error) {
      this.failure = error.message;
    } finally {
      this.asked = "";
    }
  }

  /** The answer to an unload comes at once; the replicas go when the operator takes them. */
  async gone() {
    const until = performance.now() + 60_000;
    while (this.model.replicas.reached && performance.now() < until) {
      await new Promise((done) => setTimeout(done, 500));
    }
    if (this.model.replicas.reached) this.failure = "still there after a minute: others may use it";
  }

  remove() {
    this.nodes.forEach((node) => node.remove());
  }
}
