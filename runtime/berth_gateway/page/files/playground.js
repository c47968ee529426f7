// One prompt to two models at once. Times are this browser's: from its request to the first token,
// the network on the way included.

import * as api from "./api.js";
import { byId, element, say } from "./dom.js";
import { DASH, number, rate, seconds } from "./format.js";
import { events } from "./stream.js";

const DONE = "[DONE]";
const TICK_MILLISECONDS = 200; // of the numbers while an answer comes

let panes = [];
let running = null; // the AbortController of the question that is being answered

export function begin() {
  panes = [new Pane("Left"), new Pane("Right")];
  byId("panes").replaceChildren(...panes.map((pane) => pane.node));
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  byId("ask").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
  });
  byId("stop").addEventListener("click", () => running?.abort());
}

export function show({ models }) {
  const able = models.filter((one) => one.chats).sort((one, other) => isUp(other) - isUp(one)).map((one) => one.id);
  panes.forEach((pane, place) => pane.offer(able, place));
  byId("send").disabled = !able.length || running !== null;
}

/** What answers at once comes first. */
function isUp(model) {
  return Number(model.replicas.reached > 0);
}

async function ask() {
  if (running) return;
  running = new AbortController();
  toggle();
  const asked = {
    messages: [{ role: "user", content: byId("prompt").value }],
    max_tokens: byId("most-tokens").valueAsNumber,
    temperature: byId("temperature").valueAsNumber,
    stream: true,
    stream_options: { include_usage: true },
  };
  await Promise.all(panes.map((pane) => pane.ask(asked, running.signal)));
  running = null;
  toggle();
}

function toggle() {
  byId("send").disabled = running !== null;
  byId("stop").hidden = running === null;
}

/** What can be measured of one answer. Milliseconds of `performance.now()`. */
class Times {
  constructor() {
    this.asked = performance.now();
    this.first = null;
    this.last = null;
    this.pieces = 0;
    this.tokens = null; // as the engine counted them, at the end
  }

  piece() {
    this.last = performance.now();
    this.first ??= this.last;
    this.pieces += 1;
  }

  get untilFirst() {
    return this.first === null ? null : (this.first - this.asked) / 1000;
  }

  get total() {
    return this.last === null ? null : (this.last - this.asked) / 1000;
  }

  /** Of the tokens after the first, which waited for the prompt. A piece is about a token. */
  get rate() {
    const count = (this.tokens ?? this.pieces) - 1;
    const took = (this.last - this.first) / 1000;
    return count > 0 && took > 0 ? count / took : null;
  }
}

class Pane {
  constructor(side) {
    this.select = element("select", { "aria-label": `${side} model` });
    this.status = element("span", { class: "muted small", role: "status" });
    this.answer = element("p", { class: "answer", "aria-label": `${side} answer` });
    this.thought = element("p", { class: "answer thought", hidden: true });
    this.numbers = Object.fromEntries(
      ["First token", "Speed", "Tokens", "In all"].map((name) => [name, element("dd", { text: DASH })]));
    const list = Object.entries(this.numbers).map(([name, value]) =>
      element("div", {}, element("dt", { text: name }), value));
    this.node = element("article", { class: "surface pane" },
      element("header", {}, this.select, this.status),
      element("dl", {}, ...list), this.thought, this.answer);
  }

  /** The choice stays as long as the model exists; the second pane begins with the second one. */
  offer(names, place) {
    const before = [...this.select.options].map((one) => one.value);
    if (before.join("\n") === names.join("\n")) return;
    const chosen = before.includes(this.select.value) && names.includes(this.select.value);
    const next = chosen ? this.select.value : names[place] ?? names[0];
    this.select.replaceChildren(...names.map((name) => element("option", { value: name, text: name })));
    this.select.value = next ?? "";
  }

  async ask(asked, signal) {
    this.clear();
    const times = new Times();
    const ticking = setInterval(() => this.tell(times), TICK_MILLISECONDS);
    try {
      await this.read(await api.chat({ model: this.select.value, ...asked }, signal), times);
      this.end(times.pieces ? "Done" : "The model said nothing");
    } catch (error) {
      this.end(error.name === "AbortError" ? "Stopped" : error.message, error.name !== "AbortError");
    } finally {
      clearInterval(ticking);
      this.tell(times);
    }
  }

  clear() {
    for (const node of [this.answer, this.thought]) node.replaceChildren();
    this.thought.hidden = true;
    this.node.classList.remove("bad");
    say(this.status, "Waiting for the first token");
  }

  async read(body, times) {
    for await (const { data, comment } of events(body)) {
      if (comment !== undefined) say(this.status, comment); // "waiting for ..."
      else if (data !== DONE) this.take(JSON.parse(data), times);
    }
  }

  take(chunk, times) {
    if (chunk.error) throw new api.Refused(chunk.error.message);
    times.tokens = chunk.usage?.completion_tokens ?? times.tokens;
    const delta = chunk.choices?.[0]?.delta ?? {};
    const thought = delta.reasoning ?? delta.reasoning_content;
    if (thought) this.add(this.thought, thought, times);
    if (delta.content) this.add(this.answer, delta.content, times);
  }

  add(node, text, times) {
    times.piece();
    node.hidden = false;
    node.append(node.hasChildNodes() ? text : text.trimStart());
    say(this.status, node === this.thought ? "Thinking" : "Answering");
  }

  tell(times) {
    say(this.numbers["First token"], seconds(times.untilFirst));
    say(this.numbers.Speed, rate(times.rate));
    say(this.numbers.Tokens, number(times.tokens ?? (times.pieces || null)));
    say(this.numbers["In all"], seconds(times.total));
  }

  end(words, failed = false) {
    say(this.status, words);
    this.node.classList.toggle("bad", failed);
  }
}
