// Steps over time: counts that hold from one look to the next. Drawn as SVG, read with the mouse,
// with the arrow keys, or as a sentence.

import { drawn, element, say } from "./dom.js";

const HEIGHT = 150;
const EDGE = { left: 34, right: 10, top: 10, bottom: 22 };
const MINUTE = 60;
const MARKS = 4; // along each axis
const SHORTEST_SECONDS = MINUTE; // a past of seconds does not fill the width

export class Chart {
  /** `lines`: `[{name, of: (point) => count, kind}]`; a point is `[seconds ago, ...counts]`. */
  constructor(figure, title, lines) {
    this.lines = lines;
    this.title = title;
    this.readout = element("span", { class: "readout" });
    this.svg = drawn("svg", { role: "img", tabindex: "0", height: HEIGHT });
    const legend = lines.map((line) => element("span", { class: "legend" },
      element("span", { class: "swatch", "data-kind": line.kind, "aria-hidden": "true" }), line.name));
    figure.append(
      element("figcaption", {}, element("strong", { text: title }), ...legend, this.readout), this.svg);
    this.svg.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    this.svg.addEventListener("blur", () => this.read(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => this.draw()).observe(figure);
    this.past = null;
    this.at = null; // seconds ago that is read
  }

  show(past) {
    this.past = past;
    this.draw();
  }

  draw() {
    const width = this.svg.clientWidth;
    if (!width || !this.past) return;
    this.width = width - EDGE.left - EDGE.right;
    this.span = Math.max(SHORTEST_SECONDS, this.past.knownSeconds);
    const most = Math.max(1, ...this.past.points.flatMap((one) => this.lines.map((line) => line.of(one))));
    this.top = Math.ceil(most / MARKS) * MARKS > 8 ? Math.ceil(most / MARKS) * MARKS : most;
    this.cursor = drawn("line", { class: "cursor", y1: EDGE.top, y2: HEIGHT - EDGE.bottom });
    this.svg.replaceChildren(...this.grid(), ...this.lines.flatMap((line) => this.line(line)), this.cursor);
    this.read(this.at);
    this.svg.setAttribute("aria-label", `${this.title}, ${this.said(0)}`);
  }

  x(ago) {
    return EDGE.left + this.width * (1 - Math.min(ago, this.span) / this.span);
  }

  y(count) {
    return HEIGHT - EDGE.bottom - ((HEIGHT - EDGE.top - EDGE.bottom) * count) / this.top;
  }

  grid() {
    const step = Math.max(1, this.top / MARKS);
    const marks = [];
    for (let count = 0; count <= this.top; count += Math.ceil(step)) marks.push(count);
    const level = marks.map((count) => [
      drawn("line", { class: "grid", x1: EDGE.left, x2: EDGE.left + this.width, y1: this.y(count), y2: this.y(count) }),
      drawn("text", { x: EDGE.left - 6, y: this.y(count) + 4, "text-anchor": "end", text: String(count) }),
    ]);
    const times = [this.span, this.span / 2, 0].map((ago, place) => drawn("text", {
      x: this.x(ago), y: HEIGHT - 6, "text-anchor": ["start", "middle", "end"][place], text: since(ago),
    }));
    return [...level.flat(), ...times];
  }

  /** Known from the first look on: before it there is nothing, and no line at zero. */
  line({ of, kind }) {
    const points = [...this.past.points];
    if (!points.length) return [];
    const start = this.x(Math.min(points[0][0], this.span));
    let path = `M${start},${this.y(of(points[0]))}`;
    for (const one of points.slice(1)) path += `H${this.x(one[0])}V${this.y(of(one))}`;
    path += `H${this.x(0)}`;
    const area = `${path}V${this.y(0)}H${start}Z`;
    return [
      drawn("path", { class: "area", "data-kind": kind, d: area }),
      drawn("path", { class: "line", "data-kind": kind, d: path }),
    ];
  }

  point(offset) {
    const share = 1 - (offset - EDGE.left) / this.width;
    this.read(Math.min(Math.max(share, 0), 1) * this.span);
  }

  step(event) {
    const way = { ArrowLeft: 1, ArrowRight: -1 }[event.key];
    if (!way || !this.past) return;
    event.preventDefault();
    const ago = (this.at ?? 0) + way * this.past.everySeconds;
    this.read(Math.min(Math.max(ago, 0), this.span));
    this.svg.setAttribute("aria-label", `${this.title}, ${this.said(this.at)}`);
  }

  read(ago) {
    this.at = ago;
    if (!this.cursor) return;
    this.cursor.toggleAttribute("hidden", ago === null);
    if (ago !== null) for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, this.x(ago));
    say(this.readout, this.said(ago ?? 0));
  }

  said(ago) {
    const point = this.past.points.findLast((one) => one[0] >= ago);
    if (!point) return `${since(ago)}: not known`;
    return `${since(ago)}: ${this.lines.map((line) => `${line.of(point)} ${line.name.toLowerCase()}`).join(", ")}`;
  }
}

function since(ago) {
  if (ago < 1) return "now";
  return ago < MINUTE ? `${Math.round(ago)} s ago` : `${Math.round(ago / MINUTE)} min ago`;
}
