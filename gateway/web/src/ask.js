// Asks the gateway. What goes wrong comes as a ProblemError whose message can be shown to people.

const TIMEOUT_MS = 8_000;
const KEY = "clout-key";

export class ProblemError extends Error {
  constructor(status, problem) {
    const what = [problem.title ?? `The gateway answered ${status}`, problem.detail].filter(Boolean).join(": ");
    super([what, problem.hint].filter(Boolean).join("; "));
    this.status = status;
  }
}

/** The API key that was typed in this tab; it is gone with the tab. */
export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  drop: () => sessionStorage.removeItem(KEY),
};

/** The headers of a request. */
export const headers = (more = {}) => (key.get() ? { ...more, Authorization: `Bearer ${key.get()}` } : more);

let scopes = null; // what the gateway says that this page's key may do

/** Whether something may be asked for; before the first answer nobody knows. */
export const may = (scope) => scopes === null || scopes.includes(scope);

/** Return the JSON at an address; raise a ProblemError for what the gateway refuses. */
export async function ask(path, { body, method } = {}) {
  const answer = await fetch(path, {
    method: method ?? (body === undefined ? "GET" : "POST"),
    headers: headers(body === undefined ? { Accept: "application/json" } : { "Content-Type": "application/json" }),
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  scopes = answer.headers.get("Clout-Scopes")?.split(", ") ?? scopes;
  if (!answer.ok) throw await refusal(answer);
  return answer.status === 204 ? {} : answer.json();
}

/** Return what an answer that refuses says. */
export async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  return new ProblemError(answer.status, problem);
}

/** Do something again and again, a while after it ended, and only while somebody looks; returns how to do it now. */
export function repeatedly(everyMs, work) {
  let timer = 0;
  let running = false;
  const turn = async () => {
    clearTimeout(timer);
    if (running || document.hidden) return;
    running = true;
    try {
      await work();
    } finally {
      running = false;
      timer = setTimeout(turn, everyMs);
    }
  };
  document.addEventListener("visibilitychange", turn);
  turn();
  return turn;
}
