// What a page must not have: a control without a name, a text that is hard to read. Run in the page;
// returns what it found, as sentences. Contrast as https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio.

const LEAST = 4.5;
const faults = [];

const shown = (node) => node.checkVisibility() && node.getBoundingClientRect().width > 1;

function nameOf(node) {
  const label = node.labels?.[0]?.innerText ?? "";
  return (node.getAttribute("aria-label") || label || node.innerText || "").trim();
}

function channels(color) {
  const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
  return { red, green, blue, alpha };
}

function luminance({ red, green, blue }) {
  const [r, g, b] = [red, green, blue].map((one) => {
    const share = one / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function ground(node) {
  for (let one = node; one; one = one.parentElement) {
    const color = channels(getComputedStyle(one).backgroundColor);
    if (color.alpha > 0.99) return color;
  }
  return channels("rgb(255, 255, 255)");
}

for (const node of document.querySelectorAll("button, input, select, textarea, a[href]")) {
  if (shown(node) && !nameOf(node)) faults.push(`no name: ${node.outerHTML.slice(0, 80)}`);
}

for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((one) => one.nodeType === Node.TEXT_NODE && one.data.trim());
  if (!own || !shown(node)) continue;
  const style = getComputedStyle(node);
  const text = luminance(channels(node instanceof SVGElement ? style.fill : style.color));
  const [light, dark] = [text, luminance(ground(node))].sort((one, other) => other - one);
  const ratio = (light + 0.05) / (dark + 0.05);
  if (ratio < LEAST) faults.push(`contrast ${ratio.toFixed(2)}: ${node.tagName} ${node.textContent.trim().slice(0, 40)}`);
}

const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
for (const id of ids) if (ids.filter((one) => one === id).length > 1) faults.push(`twice: #${id}`);
return faults;
