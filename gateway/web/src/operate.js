// The operators' page: the population, the feeds and their clocks, and incidents with what can be done about them.

import { ask, may, repeatedly } from "./ask.js";
import { populationChart } from "./chart.js";
import { asked, tellStale } from "./common.js";
import { make, part, write } from "./dom.js";
import { counted, duration, moment, whole } from "./format.js";
import { stateTeller } from "./live.js";

const INCIDENTS_MS = 1_000;
const OTHERS_MS = 2_000;
const INCIDENTS_SHOWN = 20;
const REASON_LENGTH_MAX = 200;
const OLD_SECONDS = 10;
const STATES = { running: "runs", restoring: "is restored", stopped: "stands still", away: "no worker answers" };

const tellState = stateTeller(part("live"));
const chart = populationChart(part("population"), (text) => write(part("population-at"), text));

async function section(name, work) {
  try {
    await work();
    asked(name);
    tellState("live");
  } catch (error) {
    asked(name === "incidents" ? name : "others", error);
    tellState("reconnecting");
  }
}

// Population --------------------------------------------------------------------------------------------------------

async function showPopulation() {
  const answer = await ask("/v1/population");
  const before = agoInWords(answer);
  chart.set(answer.histogram, answer.histogram_before, before);
  write(part("users"), whole(answer.users));
  tellStale(answer.stale, 0);
  write(part("population-says"), populationInWords(answer));
  part("key-before").hidden = !answer.histogram_before;
  write(part("before-when"), before);
}

/** How long before now the population was as the line says; clocks may leap. */
function agoInWords({ as_of: now, before_as_of: before }) {
  const seconds = before ? (Date.parse(now) - Date.parse(before)) / 1000 : 0;
  return seconds < 4200 ? "an hour ago" : `${duration(seconds)} ago`;
}

function populationInWords({ shift, histogram_before: before, partitions, partitions_told: told }) {
  const parts = [];
  if (shift && Date.parse(shift.hour) > 0) {
    const { points_1: fell } = shift.below;
    const { points_1: rose } = shift.above;
    parts.push(`Since ${moment(Date.parse(shift.hour))}, ${whole(rose)} rose and ${whole(fell)} fell by a point or more.`);
  }
  if (!before) parts.push("How it was an hour ago is not known yet.");
  if (told < partitions) parts.push(`Only ${told} of ${partitions} partitions have told.`);
  return parts.join(" ");
}

// Feeds -------------------------------------------------------------------------------------------------------------

const feeds = new Map(); // by network, its part of the page: fields that somebody types in stay

async function showFeeds() {
  const { networks } = await ask("/v1/networks");
  for (const network of networks) {
    if (!feeds.has(network.network)) {
      feeds.set(network.network, feedPart(network.network));
      part("feeds").append(feeds.get(network.network));
    }
    fillFeed(feeds.get(network.network), network);
  }
}

function feedPart(name) {
  const row = (label, what) => make("div", {}, make("dt", {}, label), make("dd", { "data-is": what }));
  const element = make(
    "article",
    { class: "feed", "aria-labelledby": `feed-${name}` },
    make("h3", { id: `feed-${name}` }, name, " ", make("span", { "data-is": "frozen", class: "badge" })),
    make(
      "dl",
      {},
      row("Clock", "clock"),
      row("Behind", "behind"),
      row("Waits for", "held"),
      row("People", "people"),
      row("Unread", "lag"),
      row("Read", "events"),
      row("Dead letters", "dead"),
      row("Newest 5 min", "volume"),
    ),
    orderForm("reason", "Reason", ["freeze", "Freeze"], ["resume", "Resume"]),
  );
  const form = element.querySelector("form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    order(form, `/v1/operate/${event.submitter.value}`, { network: name, reason: form.elements.namedItem("reason").value });
  });
  return element;
}

/** Names as `source west`, those of one kind in one breath: sources west, east. */
function together(names) {
  const byKind = new Map();
  for (const name of names) {
    const [, kind, which] = name.match(/^(.*) (\S+)$/) ?? [null, name, null];
    byKind.set(kind, [...(byKind.get(kind) ?? []), which]);
  }
  return [...byKind].map(([kind, of]) => (of.length > 1 ? `${kind}s ${of.join(", ")}` : [kind, ...of].filter(Boolean).join(" "))).join("; ");
}

function fillFeed(element, network) {
  const put = (what, text) => write(part(what, element), text);
  const { frozen, held_by: held, behind_seconds: behind, events } = network;
  put("frozen", frozen ? "frozen" : "");
  put("clock", network.clock ? moment(Date.parse(network.clock), { seconds: true }) : "not known yet");
  put("behind", behind === null ? "–" : behind < 1 ? "not behind" : duration(behind));
  const byWhy = new Map();
  for (const { name, why } of held) byWhy.set(why, [...(byWhy.get(why) ?? []), name]);
  const holders = [...byWhy].map(([why, names]) => `${together(names)}${why ? `: ${why}` : ""}`);
  const place = part("held", element);
  if (place.dataset.told !== holders.join()) place.replaceChildren(...(holders.length ? holders : ["nothing"]).map((text) => make("p", {}, text)));
  place.dataset.told = holders.join();
  put("people", whole(network.users));
  put("lag", counted(network.lag_records, "record"));
  put("events", whole(events.read ?? 0));
  put("dead", whole(events.dead_lettered ?? 0));
  const newest = network.volumes.at(-1);
  put("volume", newest ? `${counted(newest.events, "event")} of about ${counted(newest.actors, "person", "people")}` : "–");
  element.querySelector("form").hidden = !may("operate");
  element.querySelector("[value=freeze]").disabled = Boolean(frozen);
  element.querySelector("[value=resume]").disabled = !frozen;
}

// Partitions --------------------------------------------------------------------------------------------------------

async function showPartitions() {
  const { age_seconds: age, partitions } = await ask("/v1/partitions");
  const table = part("partitions");
  while (table.childElementCount < partitions.length) {
    table.append(make("tr", {}, make("th", { scope: "row" }), make("td"), make("td", { class: "number" }), make("td", { class: "number" })));
  }
  partitions.forEach(({ partition, state, unread }, at) => {
    const row = table.children[at];
    row.dataset.state = state;
    const texts = [String(partition), STATES[state], ...["actors", "targets"].map((lane) => (unread ? whole(unread[lane]) : "not known"))];
    texts.forEach((text, column) => write(row.children[column], text));
  });
  write(part("partitions-say"), partitionsInWords(partitions, age));
}

function partitionsInWords(partitions, age) {
  if (age === null) return "How far they are is not known yet.";
  const running = partitions.filter(({ state }) => state === "running").length;
  const unread = partitions.reduce((sum, { unread: of }) => sum + (of ? of.actors + of.targets : 0), 0);
  const run = running === partitions.length ? `All ${running} run` : `${running} of ${partitions.length} run`;
  const since = age > OLD_SECONDS ? ` It was so ${duration(age)} ago.` : "";
  return `${run}; ${unread ? `${whole(unread)} unread.` : "nothing is unread."}${since}`;
}

// Incidents ---------------------------------------------------------------------------------------------------------

const incidents = new Map();

async function showIncidents() {
  const answer = await ask(`/v1/incidents?limit=${INCIDENTS_SHOWN}`);
  write(part("open"), answer.open ? `${answer.open} open` : "none open");
  part("open").dataset.some = String(answer.open > 0);
  const wanted = answer.incidents.map((incident) => {
    if (!incidents.has(incident.id)) incidents.set(incident.id, incidentPart(incident));
    fillIncident(incidents.get(incident.id), incident);
    return incidents.get(incident.id);
  });
  const list = part("incidents");
  const same = wanted.length === list.childElementCount && wanted.every((item, at) => item === list.children[at]);
  // What somebody types into stays where it is.
  if (!same && !list.contains(document.activeElement)) list.replaceChildren(...wanted);
  else if (!same) list.append(...wanted.filter((item) => !list.contains(item)));
  part("incidents-empty").hidden = wanted.length > 0;
}

function incidentPart(incident) {
  const element = make(
    "li",
    { class: "incident" },
    make("p", { class: "badges" }, make("span", { "data-is": "severity", class: "badge" }), " ", make("span", { "data-is": "status", class: "badge plain" })),
    make("h3", {}, incident.title),
    make("p", { "data-is": "facts", class: "when" }),
    make("p", { class: "when" }, make("code", {}, incident.id)),
    make("ul", { "data-is": "notes", class: "notes" }),
    make("p", { "data-is": "by-itself", class: "when", hidden: true }, "It is over when its partition goes on."),
    orderForm("note", "Note", ["resolve", "Resolve"]),
  );
  const form = element.querySelector("form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    order(form, `/v1/operate/incidents/${encodeURIComponent(incident.id)}/resolve`, { note: form.elements.namedItem("note").value });
  });
  return element;
}

/** Whether a partition told of itself: it says when that is over, no order does. */
const isOfAPartition = ({ id, kind }) => kind !== "declared" && id.startsWith(`${kind}:`);

function fillIncident(element, incident) {
  const open = incident.status !== "resolved";
  element.dataset.severity = open ? incident.severity : "over";
  write(element.querySelector("h3"), incident.title);
  write(part("severity", element), incident.severity);
  write(part("status", element), incident.status);
  const facts = [
    `Opened ${moment(Date.parse(incident.opened), { seconds: true })}`,
    open ? null : `over since ${moment(Date.parse(incident.updated), { seconds: true })}`,
    incident.affected_users ? `touches ${whole(incident.affected_users)} people` : "touches nobody's score",
    incident.frozen?.length ? `froze ${incident.frozen.join(", ")}` : null,
  ];
  write(part("facts", element), `${facts.filter(Boolean).join(", ")}.`);
  const notes = part("notes", element);
  if (notes.childElementCount !== (incident.notes?.length ?? 0)) {
    notes.replaceChildren(...incident.notes.map(({ at, key, text }) => make("li", {}, `${text} (${key}, ${moment(Date.parse(at))})`)));
  }
  element.querySelector("form").hidden = !open || isOfAPartition(incident) || !may("operate");
  part("by-itself", element).hidden = !open || !isOfAPartition(incident);
}

// Orders ------------------------------------------------------------------------------------------------------------

let forms = 0;

function orderForm(name, label, ...buttons) {
  const id = `order-${++forms}`;
  return make(
    "form",
    { class: "order" },
    make("label", { for: id }, label),
    make("input", { id, name, required: true, maxlength: REASON_LENGTH_MAX, autocomplete: "off" }),
    ...buttons.map(([value, text]) => make("button", { value }, text)),
    make("p", { role: "status", class: "told" }),
  );
}

/** Give an order; it takes a moment until the page shows what became of it. */
async function order(form, path, body) {
  const told = form.querySelector(".told");
  const controls = [...form.querySelectorAll("button")].filter((button) => !button.disabled);
  for (const button of controls) button.disabled = true;
  try {
    await ask(path, { body });
    write(told, "Ordered. It shows here when it is done.");
    form.reset();
  } catch (error) {
    write(told, error.status === undefined ? "The gateway cannot be reached." : `Not ordered: ${error.message}.`);
    if (error.status === 401 || error.status === 403) part("key").open = true;
  } finally {
    for (const button of controls) button.disabled = false;
  }
}

repeatedly(INCIDENTS_MS, () => section("incidents", showIncidents));
repeatedly(OTHERS_MS, () => section("others", async () => {
  await Promise.all([showPopulation(), showFeeds(), showPartitions()]);
}));
