// All that the page asks of the gateway. The key lives in this tab's session storage and goes to
// this origin only.

const STORED = "berth-key";
const PATIENCE_MILLISECONDS = 10_000; // of an answer that the gateway itself gives

/** No key, or one that the gateway does not know. */
export class Denied extends Error {}

/** No answer at all. */
export class Unreached extends Error {}

/** The gateway or an engine said no; the message is its own. */
export class Refused extends Error {}

export function key() {
  return sessionStorage.getItem(STORED) ?? "";
}

export function remember(given) {
  if (given) sessionStorage.setItem(STORED, given);
  else sessionStorage.removeItem(STORED);
}

export async function state() {
  return told(await ask("/ui/state", {}, patience()));
}

export async function history(model) {
  const query = model ? `?model=${encodeURIComponent(model)}` : "";
  return told(await ask(`/ui/history${query}`, {}, patience()));
}

/** Resolves once the model answers: a load takes minutes. */
export async function load(model) {
  await told(await post("/api/generate", { model, stream: false }));
}

export async function unload(model) {
  await told(await post("/api/generate", { model, stream: false, keep_alive: 0 }));
}

/** The answer's body, a stream of events. */
export async function chat(body, signal) {
  const answer = await post("/v1/chat/completions", body, signal);
  return answer.body;
}

function post(path, body, signal) {
  const headers = { "content-type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body) }, signal);
}

async function ask(path, options, signal) {
  const headers = { ...options.headers };
  if (key()) headers.authorization = `Bearer ${key()}`;
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, signal, credentials: "omit" });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Unreached("the gateway does not answer");
  }
  if (answer.ok) return answer;
  const message = await complaint(answer);
  throw answer.status === 401 ? new Denied(message) : new Refused(message);
}

async function told(answer) {
  try {
    return await answer.json();
  } catch {
    throw new Unreached("the gateway's answer broke off");
  }
}

/** In the words of OpenAI's API, of Ollama's, or of whoever is in between. */
async function complaint(answer) {
  const text = await answer.text().catch(() => "");
  let said = `status ${answer.status}`;
  try {
    const { error } = JSON.parse(text);
    said = error.message ?? error;
  } catch {
    // Not of the gateway's making.
  }
  const wait = answer.headers.get("retry-after");
  return wait ? `${said} (again in ${wait} s)` : said;
}

function patience() {
  return AbortSignal.timeout(PATIENCE_MILLISECONDS);
}
