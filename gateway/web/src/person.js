// A person's page: score, sub-scores, networks, history and the last changes, kept as they are now.

import { ask, repeatedly } from "./ask.js";
import { historyChart } from "./chart.js";
import { asked, tellStale } from "./common.js";
import { bar, light, make, movedSign, part, personLink, write } from "./dom.js";
import { counted, moment, moved, percent, score, whole } from "./format.js";
import { follow, stateTeller } from "./live.js";

const ANSWER_MS = 3_000;
const EXPLANATION_MS = 15_000;
const CHANGES_SHOWN = 20;
const HISTORY_POINTS = 500;
const HISTORY_POINTS_MAX = 2_000; // with those that come while the page is open
const DAY_MS = 86_400_000;
const CAUSES = {
  interaction: "people engaged",
  decay: "time passed",
  retraction: "something was taken back",
  forget: "the person asked to be forgotten",
  model: "a new model computes it",
  correction: "it was corrected",
};

const page = part("person");
const user = page.dataset.user;
const path = `/v1/scores/${encodeURIComponent(user)}`;
const state = stateTeller(part("live"));
const chart = historyChart(part("history"), (text) => write(part("history-at"), text));

let sequence = 0; // of the newest change that is shown
let recent = []; // changes that came while the page was open: an answer may be older than the newest of them
let spanDays = 0; // 0 for all
let told = null; // the answer that the history is of, with what came since
let lookAgain = look; // later the next of the regular looks, at once

// The score now ---------------------------------------------------------------------------------------------------

/** Show an answer or a change: both have score, sub-scores, networks, `as_of` and cause. */
function show(now) {
  if (now.sequence < sequence) return;
  const isNew = sequence > 0 && now.sequence > sequence;
  sequence = now.sequence;
  const text = score(now.score);
  if (isNew && part("score").textContent !== text) light(part("score"));
  write(part("score"), text);
  document.title = now.score === null ? `${user} · Clout` : `${text} · ${user} · Clout`;
  part("scale").replaceChildren(bar(now.score));
  write(part("as-of"), moment(Date.parse(now.as_of), { seconds: true }));
  part("as-of").dateTime = now.as_of;
  write(part("sequence"), whole(now.sequence));
  const by = now.score === null || now.previous === null ? null : now.score - now.previous;
  part("last-move").replaceChildren(by === null ? "" : movedSign(by, moved(by)));
  for (const name of ["reach", "amplification", "network"]) {
    const value = now.subscores?.[name] ?? null;
    write(part(name), score(value));
    part(`${name}-bar`).replaceChildren(bar(value));
  }
  showNetworks(now.networks);
  if (now.score === null) write(part("meaning"), "no score any more: everything that counted was taken back");
}

let explained = {}; // by network, what the worker said last

function showNetworks(networks) {
  const rows = Object.entries(networks)
    .sort(([, one], [, other]) => other - one)
    .map(([name, value]) => {
      const more = explained[name];
      const most = more?.contributors.find((of) => of.actor !== null);
      return make(
        "tr",
        {},
        make("th", { scope: "row" }, name),
        make("td", { class: "number" }, score(value)),
        make("td", { class: "wide" }, bar(value)),
        make("td", { class: "number" }, more ? percent(more.share.network) : "–"),
        make("td", { class: "number events" }, more ? whole(more.events) : "–"),
        make("td", {}, ...(most ? [personLink(most.actor), " ", make("span", { class: "number" }, percent(most.share))] : ["–"])),
      );
    });
  part("networks").replaceChildren(...rows);
}

async function look() {
  try {
    const answer = await ask(path);
    asked("score");
    show(answer);
    write(part("meaning"), answer.meaning);
    tellStale(answer.stale, answer.age_seconds, "This score stands still: it is the last good one.");
  } catch (error) {
    if (error.status !== 404) asked("score", error);
    else await gone(error);
  }
}

/** Nobody keeps the page of somebody who was forgotten. */
async function gone(error) {
  page.replaceChildren(make("h1", {}, "Nobody to show"), make("p", {}, `${error.message}.`));
  document.title = "Nobody to show · Clout";
  endStream();
}

// History -----------------------------------------------------------------------------------------------------------

async function loadHistory() {
  const query = new URLSearchParams({ points: HISTORY_POINTS });
  const newest = Date.parse(part("as-of").dateTime);
  if (spanDays && newest) query.set("from", new Date(newest - spanDays * DAY_MS).toISOString());
  try {
    const answer = await ask(`${path}/history?${query}`);
    asked("history");
    told = answer;
    const last = answer.points.slice(-CHANGES_SHOWN);
    recent.forEach(append);
    draw();
    showMarks(answer.marks);
    if (learn(last)) showChanges();
  } catch (error) {
    if (error.status !== 404) asked("history", error);
  }
}

function append(change) {
  if (change.sequence <= (told.points.at(-1)?.sequence ?? 0)) return;
  told.points.push(change);
  told.changes += 1;
}

function draw() {
  chart.set(told.points.map((of) => Date.parse(of.as_of)), told.points.map((of) => of.score));
  write(part("history-says"), inWords(told));
}

function inWords({ points, changes, thinned, full_since: fullSince }) {
  if (!points.length) return "Nothing happened in this time.";
  const scores = points.map((of) => of.score).filter((value) => value !== null);
  const span = `from ${score(Math.min(...scores))} to ${score(Math.max(...scores))}`;
  const drawn = thinned ? `, of which ${whole(points.length)} are drawn` : "";
  const older = Date.parse(points[0].as_of) < Date.parse(fullSince) ? " Before the last 90 days there is one point a day." : "";
  return `${counted(changes, "change")}${drawn}; scores ${span}.${older}`;
}

function showMarks(marks) {
  const places = marks.map(({ kind, at, until, status }) => ({
    kind,
    atMs: Date.parse(at),
    untilMs: until ? Date.parse(until) : kind === "model" || status === "resolved" ? Date.parse(at) : null,
  }));
  chart.setMarks(places);
  const items = marks.map((mark) => {
    const until = mark.until ? ` until ${moment(Date.parse(mark.until))}` : mark.kind === "model" ? "" : mark.status === "resolved" ? ", over" : ", still open";
    return make(
      "li",
      { class: `${mark.kind}-mark` },
      make("span", { class: "mark", "aria-hidden": "true" }),
      make("strong", {}, mark.kind === "incident" ? "Incident" : "New model"),
      ` ${mark.title}`,
      make("span", { class: "when" }, ` ${moment(Date.parse(mark.at))}${until}`),
    );
  });
  part("marks").replaceChildren(...items);
  part("marks").hidden = items.length === 0;
}

for (const button of part("spans").querySelectorAll("button")) {
  button.addEventListener("click", () => {
    for (const other of part("spans").querySelectorAll("button")) other.setAttribute("aria-pressed", other === button);
    spanDays = Number(button.value);
    loadHistory();
  });
}

// Changes -----------------------------------------------------------------------------------------------------------

const known = new Map(); // the last changes by their sequence; those of a history do not say why

/** Remember changes; return whether any of them says more than what was known. */
function learn(changes) {
  let isNew = false;
  for (const change of changes) {
    if ("previous" in (known.get(change.sequence) ?? {})) continue;
    if (!("previous" in change) && known.has(change.sequence)) continue;
    known.set(change.sequence, change);
    isNew = true;
  }
  for (const old of [...known.keys()].sort((one, other) => other - one).slice(CHANGES_SHOWN)) known.delete(old);
  return isNew;
}

function showChanges() {
  const newestFirst = [...known.values()].sort((one, other) => other.sequence - one.sequence);
  part("changes").replaceChildren(...newestFirst.map(changeItem));
}

/** What a change was before it: it says so itself, or the change before does. */
function before(change) {
  if ("previous" in change) return change.previous;
  return change.sequence === 1 ? null : known.get(change.sequence - 1)?.score;
}

function changeItem(change) {
  const former = before(change);
  const by = former === undefined || former === null || change.score === null ? null : change.score - former;
  const parts = by === 0 ? " its parts moved:" : "";
  const fromTo = former === null ? `first score ${score(change.score)}` : by === null || by === 0 ? score(change.score) : `${score(former)} → ${score(change.score)}`;
  const reference = change.reference ? ` (${change.reference})` : "";
  return make(
    "li",
    { "data-sequence": change.sequence },
    make(
      "p",
      { class: "change" },
      make("span", { class: "from-to" }, fromTo),
      by ? movedSign(by, moved(by)) : null,
      make("span", { class: "why" }, `${parts} ${CAUSES[change.cause] ?? change.cause}${reference}`),
      make("time", { datetime: change.as_of, class: "when" }, moment(Date.parse(change.as_of), { seconds: true })),
    ),
    change.reasons?.length ? reasonsLine(change) : null,
  );
}

function reasonsLine({ cause, reasons }) {
  // Where decay took more than somebody gave, who gave is no reason for the fall.
  const beginning = cause === "decay" ? "Meanwhile most from " : "Most from ";
  const told = reasons.flatMap((reason, at) => [
    at ? "; " : beginning,
    reason.actor === null ? "somebody who is not named" : personLink(reason.actor),
    ` on ${reason.network}${reason.events > 1 ? ` (${whole(reason.events)} times)` : ""}`,
  ]);
  return make("p", { class: "reasons" }, ...told);
}

function addChange(change) {
  if (!learn([change])) return;
  const list = part("changes");
  if (change.sequence > Number(list.firstElementChild?.dataset.sequence ?? 0)) {
    const item = changeItem(change);
    list.prepend(item);
    light(item);
    while (list.childElementCount > CHANGES_SHOWN) list.lastElementChild.remove();
  } else showChanges();
  recent = [...recent.slice(-HISTORY_POINTS), change];
  if (!told) return;
  append(change);
  if (told.points.length > HISTORY_POINTS_MAX) loadHistory();
  else draw();
}

async function explain() {
  try {
    const answer = await ask(`${path}/explain`);
    explained = answer.explanation.networks;
    showNetworks(Object.fromEntries(Object.entries(explained).map(([name, of]) => [name, of.score])));
    write(part("explained"), "");
    if (learn(answer.changes)) showChanges();
  } catch {
    write(part("explained"), "The parts of the networks cannot be told just now; the scores above hold.");
  }
}

// Live --------------------------------------------------------------------------------------------------------------

async function afresh() {
  await look();
  await Promise.all([loadHistory(), explain()]);
}

const endStream = follow(new URLSearchParams({ user }), {
  state(now) {
    state(now);
    if (now === "live") asked("stream");
  },
  score: show,
  change(change) {
    if (change.cause === "forget") return look();
    show(change);
    addChange(change);
    lookAgain();
  },
  reset: afresh,
  refused: (error) => error.status !== 404 && asked("stream", error),
});
await afresh();
lookAgain = repeatedly(ANSWER_MS, look);
setInterval(() => document.hidden || explain(), EXPLANATION_MS);
