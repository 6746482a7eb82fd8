// What every page has: the field for an API key, and the line that says when something is not as it should be.

import { key } from "./ask.js";
import { part, write } from "./dom.js";
import { duration } from "./format.js";

/** Say above everything what is wrong; an empty text takes it away. `about` keeps several from hiding each other. */
const troubles = new Map();
export function trouble(about, text) {
  if (text) troubles.set(about, text);
  else troubles.delete(about);
  const banner = part("trouble");
  write(banner, [...new Set(troubles.values())].join(" "));
  banner.hidden = troubles.size === 0;
}

/** Say that something could not be asked for, or that it could. */
export function asked(about, error = null) {
  if (!error) return trouble(about, "");
  if (error.status === 401 || error.status === 403) {
    part("key").open = true;
    // Nothing can be shown: empty numbers and charts would only mislead.
    if (error.status === 401) document.body.dataset.locked = "true";
    const which = error.status === 401 ? "An API key is needed here, or another one" : "This API key may not see this";
    return trouble(about, `${which}. Type one at the foot of this page.`);
  }
  const unreachable = error.status === undefined;
  return trouble(about, unreachable ? "The gateway cannot be reached. This page waits for it." : `${error.message}.`);
}

/** Say when what is shown may not be up to date. */
export function tellStale(stale, ageSeconds, what = "Some of the scores stand still: they are the last good ones.") {
  const since = ageSeconds > 1 ? ` It was last up to date ${duration(ageSeconds)} ago.` : "";
  trouble("stale", stale ? `${what}${since}` : "");
}

const details = part("key");
const form = details.querySelector("form");
const field = form.elements.namedItem("key");
const drop = part("drop-key");
write(part("key-state"), key.get() ? "in use" : "");
drop.hidden = !key.get();
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (field.value.trim()) key.set(field.value.trim());
  location.reload();
});
drop.addEventListener("click", () => {
  key.drop();
  location.reload();
});
