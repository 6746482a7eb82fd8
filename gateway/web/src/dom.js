// Small ways to write on a page. Text goes in as text, never as markup.

/** The element that a page gave this name with `data-is`. */
export const part = (name, within = document) => within.querySelector(`[data-is="${name}"]`);

/** A new element with attributes and children; children are elements, texts, or null for nothing. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Write a text where another one stood; what is the same is left alone, for those who select or listen. */
export function write(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

/** Where a person's page is. */
export const personAddress = (user) => `/people/${encodeURIComponent(user)}`;

/** A link to a person's page. */
export const personLink = (user) => make("a", { href: personAddress(user), class: "who" }, user);

/** A sign of a score that rose or fell: a shape, its colour, and words for those who hear the page. */
export function movedSign(by, text) {
  const way = by > 0 ? "rose" : by < 0 ? "fell" : "same";
  const shape = { rose: "▲", fell: "▼", same: "·" }[way];
  return make(
    "span",
    { class: `moved ${way}` },
    make("span", { "aria-hidden": "true" }, `${shape} `),
    make("span", { class: "unseen" }, way === "same" ? "unchanged " : `${way} by `),
    text,
  );
}

/** Let a part of a page light up for a moment, for those who did not ask for stillness. */
export function light(element) {
  element.classList.remove("lit");
  void element.offsetWidth; // begins the animation anew
  element.classList.add("lit");
}

/** A bar from 1 to 100 as an SVG: sizes are attributes, since a page's rules allow no styles of elements. */
export function bar(value) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  const share = value === null ? 0 : Math.max(0, Math.min(100, ((value - 1) / 99) * 100));
  for (const [name, given] of [["class", "bar"], ["viewBox", "0 0 100 1"], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]]) {
    svg.setAttribute(name, given);
  }
  for (const [kind, width] of [["whole", 100], ["share", share]]) {
    const rectangle = document.createElementNS(namespace, "rect");
    rectangle.setAttribute("class", kind);
    rectangle.setAttribute("width", String(width));
    rectangle.setAttribute("height", "1");
    svg.append(rectangle);
  }
  return svg;
}
