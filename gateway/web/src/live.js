// Follows score changes as server-sent events, through dropped connections and restarted gateways.
//
// It is `fetch` and not EventSource, which cannot send an API key, gives up where something else answers in the
// gateway's place, and never notices a connection that went without a word.

import { headers, refusal } from "./ask.js";

const AGAIN_MS_MIN = 500;
const AGAIN_MS_MAX = 5_000;
const SILENCE_MS_MAX = 45_000; // three heartbeats
const FATAL = new Set([400, 401, 403, 404]);

/**
 * Follow `/v1/scores/stream` with these parameters; returns how to end it.
 *
 * on.score and on.change get a change; on.reset nothing: what was known is to be asked for anew. on.state gets `live`
 * or `reconnecting`, on.refused the ProblemError of a gateway that will not.
 */
export function follow(parameters, on) {
  let last = "";
  let delay = AGAIN_MS_MIN;
  let connection = new AbortController();
  let ended = false;

  const take = ({ name, data, id }) => {
    if (id !== null) last = id;
    if (name === "score" || name === "change") on[name]?.(JSON.parse(data));
    if (name === "reset") on.reset?.();
  };

  const listen = async () => {
    let silence = 0;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => connection.abort(), SILENCE_MS_MAX);
    };
    connection = new AbortController();
    try {
      heard();
      const given = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
      const answer = await fetch(`/v1/scores/stream?${parameters}`, {
        headers: headers(given),
        cache: "no-store",
        signal: connection.signal,
      });
      if (!answer.ok) throw await refusal(answer);
      on.state("live");
      delay = AGAIN_MS_MIN;
      const events = eventReader(take);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        heard();
        events(piece.value);
      }
    } finally {
      clearTimeout(silence);
    }
  };

  const run = async () => {
    while (!ended) {
      try {
        await listen();
      } catch (error) {
        if (error.status === 400 && last) {
          // Another installation answers: it does not know where this was.
          last = "";
          on.reset?.();
        } else if (FATAL.has(error.status) && !ended) {
          on.refused?.(error);
          return;
        }
      }
      if (ended) return;
      on.state("reconnecting");
      await new Promise((done) => setTimeout(done, delay * (0.75 + Math.random() / 2)));
      delay = Math.min(delay * 2, AGAIN_MS_MAX);
    }
  };

  const end = () => {
    ended = true;
    connection.abort();
  };
  addEventListener("pagehide", end);
  // A page that comes back out of the browser's memory goes on where it was.
  addEventListener("pageshow", (event) => {
    if (event.persisted && ended) {
      ended = false;
      run();
    }
  });
  run();
  return end;
}

/** Return a function that takes pieces of a stream as they come and calls `take` for each event in it. */
export function eventReader(take) {
  let rest = "";
  let name = "";
  let data = [];
  let id = null;

  const line = (text) => {
    if (text === "") {
      if (data.length || name) take({ name: name || "message", data: data.join("\n"), id });
      [name, data, id] = ["", [], null];
      return;
    }
    const colon = text.indexOf(":");
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (field === "event") name = value;
    if (field === "data") data.push(value);
    if (field === "id") id = value;
  };

  return (piece) => {
    rest += piece;
    // A carriage return at the end may be the first half of a line's end.
    const whole = rest.endsWith("\r") ? rest.slice(0, -1) : rest;
    const lines = whole.split(/\r\n|\n|\r/);
    rest = lines.pop() + rest.slice(whole.length);
    lines.forEach(line);
  };
}

/** Return a function that says on the page whether it is live. */
export function stateTeller(element) {
  const label = element.querySelector("[data-is=label]");
  return (state) => {
    if (element.dataset.state === state) return;
    element.dataset.state = state;
    label.textContent = { live: "Live", reconnecting: "Reconnecting …", waiting: "Connecting …" }[state];
  };
}
