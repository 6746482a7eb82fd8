// The front page: search, who stands highest, who moved furthest, and what happens just now.

import { ask, repeatedly } from "./ask.js";
import { asked, tellStale } from "./common.js";
import { bar, make, movedSign, part, personAddress, personLink, write } from "./dom.js";
import { moment, moved, score, whole } from "./format.js";
import { follow, stateTeller } from "./live.js";

const LISTS_MS = 3_000;
const SEARCH_PAUSE_MS = 150;
const SEARCH_LIMIT = 12;
const TOP_LIMIT = 10;
const MOVERS_LIMIT = 8;
const TICKER_MS = 700; // between two lines: one can read along
const TOLD_MS = 10_000;
const TICKER_LINES = 8;
const TICKER_WAITING_MAX = 20;
const FOLLOWED = 100; // how many stand above the score from which on the ticker follows
const BY = { score: "score", reach: "reach", amplification: "amplification", network: "network" };

// Search ------------------------------------------------------------------------------------------------------------

const searchForm = part("search");
const searchField = searchForm.elements.namedItem("user");
const found = part("found");
let searchTimer = 0;
let searches = 0;

async function search() {
  const prefix = searchField.value.trim();
  const mine = ++searches;
  if (!prefix) {
    found.replaceChildren();
    write(part("found-count"), "");
    return;
  }
  try {
    const answer = await ask(`/v1/search?${new URLSearchParams({ prefix, limit: SEARCH_LIMIT })}`);
    if (mine !== searches) return;
    asked("search");
    found.replaceChildren(
      ...answer.users.map((of) =>
        make("li", {}, make("a", { href: personAddress(of.user) }, make("span", { class: "who" }, of.user), make("span", { class: "number" }, score(of.score)))),
      ),
    );
    const more = answer.more ? ", and more: type on" : "";
    write(part("found-count"), answer.users.length ? `${whole(answer.users.length)} found${more}` : `Nobody's id begins with “${prefix}”.`);
  } catch (error) {
    if (mine === searches) asked("search", error);
  }
}

searchField.addEventListener("input", () => {
  clearTimeout(searchTimer);
  searchTimer = setTimeout(search, SEARCH_PAUSE_MS);
});
if (searchField.value) search();

// Lists -------------------------------------------------------------------------------------------------------------

const topForm = part("top-form");

async function showTops() {
  const { by, network } = Object.fromEntries(new FormData(topForm));
  const query = new URLSearchParams({ by: BY[by] ?? "score", limit: TOP_LIMIT });
  if (network) query.set("network", network);
  const answer = await ask(`/v1/top?${query}`);
  const rows = answer.users.map((of) =>
    make(
      "tr",
      {},
      make("td", { class: "rank" }, String(of.rank)),
      make("th", { scope: "row" }, personLink(of.user)),
      make("td", { class: "wide" }, bar(of.value)),
      make("td", { class: "number" }, score(of.value)),
    ),
  );
  part("tops").replaceChildren(...rows);
  part("tops-empty").hidden = rows.length > 0;
  tellStale(answer.stale, answer.age_seconds);
  if (answer.as_of) write(part("as-of"), `Scores as of ${moment(Date.parse(answer.as_of))}.`);
}

async function showMovers() {
  const answer = await ask(`/v1/movers?limit=${MOVERS_LIMIT}`);
  const rows = answer.users.map((of) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, personLink(of.user)),
      make("td", { class: "number" }, movedSign(of.moved, moved(of.moved))),
      make("td", { class: "number" }, score(of.score)),
    ),
  );
  part("movers").replaceChildren(...rows);
  part("movers-empty").hidden = rows.length > 0;
  write(part("since"), answer.since ? `since ${moment(Date.parse(answer.since))}` : "");
}

async function showNetworks() {
  const select = topForm.elements.namedItem("network");
  const { networks } = await ask("/v1/networks");
  const known = new Set([...select.options].map((option) => option.value));
  for (const { network } of networks) if (!known.has(network)) select.append(make("option", { value: network }, network));
}

async function showLists() {
  try {
    await Promise.all([showTops(), showMovers()]);
    asked("lists");
  } catch (error) {
    asked("lists", error);
  }
}

topForm.addEventListener("change", showLists);

// The ticker --------------------------------------------------------------------------------------------------------

const ticker = part("ticker");
const pause = part("pause");
const tellState = stateTeller(part("live"));
let waiting = [];
let passed = 0; // changes that there was no time to show
let paused = false;

pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  write(pause, paused ? "Go on" : "Pause");
});

function takeChange(change) {
  if (change.score === null) return;
  waiting.push(change);
  if (waiting.length > TICKER_WAITING_MAX) {
    waiting.shift();
    passed += 1;
  }
}

function tickerLine(change) {
  const by = change.previous === null ? 0 : change.score - change.previous;
  const most = change.reasons?.find((reason) => reason.actor !== null);
  const why = change.cause === "decay" ? "as time passed" : change.cause === "interaction" ? "" : change.cause;
  return make(
    "li",
    {},
    personLink(change.user),
    " ",
    make("span", { class: "number" }, change.previous === null ? `new: ${score(change.score)}` : `${score(change.previous)} → ${score(change.score)}`),
    " ",
    change.previous === null ? null : movedSign(by, moved(by)),
    make("span", { class: "why" }, why ? ` ${why}` : "", ...(most ? [" most from ", personLink(most.actor), ` on ${most.network}`] : [])),
  );
}

setInterval(() => {
  if (paused || document.hidden || ticker.contains(document.activeElement)) return;
  const change = waiting.shift();
  if (!change) return;
  const line = tickerLine(change);
  line.classList.add("lit");
  ticker.prepend(line);
  while (ticker.childElementCount > TICKER_LINES) ticker.lastElementChild.remove();
  part("ticker-empty").hidden = true;
}, TICKER_MS);

setInterval(() => {
  // Who has the page read to them is told one change in ten seconds, not each.
  if (!paused) write(part("ticker-said"), ticker.firstElementChild?.textContent ?? "");
  write(part("passed"), passed ? `${whole(passed)} more in the last 10 seconds` : "");
  passed = 0;
}, TOLD_MS);

/** Follow those who stand highest: of a large population, all changes would be more than a page can take. */
async function startTicker() {
  let above = 1;
  try {
    const answer = await ask(`/v1/top?limit=${FOLLOWED}`);
    if (answer.users.length === FOLLOWED) above = answer.users.at(-1).score;
  } catch {
    // The banner says it already.
  }
  write(part("follows"), above > 1 ? `of people with a score of ${score(above)} or more` : "of everybody");
  follow(new URLSearchParams({ above: String(above) }), {
    state: tellState,
    change: takeChange,
    refused: (error) => asked("stream", error),
  });
}

repeatedly(LISTS_MS, showLists);
showNetworks().catch(() => {});
startTicker();
