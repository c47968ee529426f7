// Cards as maps: what lies where, planned and measured. A card may hold several engines.

import { byId, element, keep, say } from "./dom.js";
import { bytes } from "./format.js";

const WORDS = {
  weights: "Weights",
  kvCache: "KV cache",
  activations: "Activations",
  graphs: "CUDA graphs",
  overhead: "Overhead",
  engine: "Engine",
  others: "Models of others",
  free: "Free",
};
const known = new Map();

export function show({ cards }) {
  const inUse = [...cards].sort((one, other) => Boolean(other.count) - Boolean(one.count));
  keep(byId("cards"), known, inUse, (one) => one.id, () => new Card());
  byId("cards-empty").hidden = Boolean(cards.length);
}

/** Parts of nothing are left out; the rest of the card is free. */
function parts(card) {
  const taken = card.parts.filter((one) => one.plannedBytes || one.measuredBytes);
  const named = taken.map((one) => ({
    ...one,
    label: card.place && one.model ? `${one.model}: ${WORDS[one.kind]}` : WORDS[one.kind],
  }));
  return [...named, free(card, taken)];
}

function free(card, taken) {
  const planned = sum(taken, (one) => one.plannedBytes);
  const told = taken.some((one) => one.kind === "kvCache" && one.measuredBytes !== null);
  const found = sum(taken, (one) => one.measuredBytes ?? one.plannedBytes);
  return {
    kind: "free",
    label: WORDS.free,
    plannedBytes: Math.max(card.totalBytes - planned, 0),
    measuredBytes: told ? Math.max(card.totalBytes - found, 0) : null,
  };
}

function sum(items, of) {
  return items.reduce((total, one) => total + of(one), 0);
}

class Card {
  constructor() {
    this.title = element("h3");
    this.hardware = element("p", { class: "muted small" });
    this.bars = ["Planned", "Measured"].map((label) => new Bar(label));
    this.rows = element("tbody");
    this.resident = element("p", { class: "muted small" });
    const head = ["Part", "Planned", "Measured"].map((text, place) =>
      element("th", { scope: "col", class: place ? "number" : "", text }));
    this.table = element("table", { class: "parts" },
      element("thead", {}, element("tr", {}, ...head)), this.rows);
    this.nodes = [element("article", { class: "surface card" },
      this.title, this.hardware, ...this.bars.map((bar) => bar.node), this.table, this.resident)];
  }

  update(card) {
    const drawn = JSON.stringify(card);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const found = parts(card);
    say(this.title, card.name);
    say(this.hardware, where(card));
    this.nodes[0].classList.toggle("asleep", !card.count);
    this.bars[0].draw(card, found.map((one) => ({ ...one, size: one.plannedBytes })));
    this.bars[1].draw(card, measured(found));
    this.rows.replaceChildren(...found.map(row));
    this.resident.hidden = card.residentBytes === null;
    say(this.resident, `The pod's processes hold ${bytes(card.residentBytes)} now.`);
  }

  remove() {
    this.nodes[0].remove();
  }
}

/** Nothing, while the engine has not told of its large parts. */
function measured(found) {
  if (found.at(-1).measuredBytes === null) return [];
  return found.map((one) => ({ ...one, size: one.measuredBytes ?? one.plannedBytes }));
}

function where(card) {
  const each = card.count > 1 ? " each" : "";
  const share = card.usableBytes < card.totalBytes ? `, of which the engine may use ${bytes(card.usableBytes)}` : "";
  const size = `${bytes(card.totalBytes)}${each}${share}${card.place ? " for engines" : ""}`;
  const what = card.count ? `${card.count} x ${card.hardware}` : `${card.hardware}, not loaded: as it would be`;
  return [card.place, what, size].filter(Boolean).join(" · ");
}

function row(part) {
  return element("tr", {},
    element("th", { scope: "row" },
      element("span", { class: "swatch", "data-kind": part.kind, "aria-hidden": "true" }), part.label),
    element("td", { class: "number", text: bytes(part.plannedBytes) }),
    element("td", { class: "number", text: bytes(part.measuredBytes) }));
}

class Bar {
  constructor(label) {
    this.track = element("div", { class: "track", "aria-hidden": "true" });
    this.none = element("span", { class: "muted small", text: "Not measured yet" });
    this.node = element("div", { class: "map" },
      element("span", { class: "small", text: label }), this.track);
  }

  draw(card, shares) {
    const drawn = shares.filter((one) => one.size > 0);
    const pieces = drawn.map((one, place) => piece(one, card, one.model !== drawn[place - 1]?.model));
    this.track.replaceChildren(...(pieces.length ? pieces : [this.none]));
    if (pieces.length && card.usableBytes < card.totalBytes) this.track.append(limit(card));
  }
}

/** `first` of its model's. */
function piece(part, card, first) {
  const made = element("span", { "data-kind": part.kind, title: `${part.label}: ${bytes(part.size)}` });
  made.classList.toggle("first", first);
  made.style.flexGrow = part.size / card.totalBytes;
  return made;
}

function limit(card) {
  const made = element("i", { class: "limit", title: `The engine's share: ${bytes(card.usableBytes)}` });
  made.style.insetInlineStart = `${(100 * card.usableBytes) / card.totalBytes}%`;
  return made;
}
