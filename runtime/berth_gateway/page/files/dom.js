// Elements from values. Text is always text: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

/** `attributes` with a false or null value are left out; `text` is the element's content. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, { text, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Text that has not changed is not touched, so that a selection and a screen reader rest. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The children are those of `items`, one each, kept by `id` and in their order. */
export function keep(parent, known, items, id, make) {
  const ids = new Set(items.map(id));
  for (const [gone, one] of known) {
    if (!ids.has(gone)) {
      one.remove();
      known.delete(gone);
    }
  }
  for (const item of items) {
    const key = id(item);
    if (!known.has(key)) known.set(key, make(item));
    known.get(key).update(item);
  }
  const nodes = items.flatMap((item) => known.get(id(item)).nodes);
  if (nodes.some((node, place) => parent.children[place] !== node)) parent.append(...nodes);
}
