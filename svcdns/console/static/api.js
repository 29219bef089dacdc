// Asking the API: one GET, and lines of JSON that go on.  All paths are relative to where /console/ stands, so
// that it works behind a path prefix.  `connection` says whether the API answers; `server` what time it has.
export const ROOT = location.pathname.replace(/console\/[^]*$/, "");
const HEADERS = { "X-Svcdns-Console": "1", Accept: "application/json" };

export const connection = { since: null, retryAt: 0, login: false, user: "", skew: 0, live: null, changed: () => {} };

export class Refused extends Error {
  constructor(code, path, message) {
    super(message);
    Object.assign(this, { code, path });
  }
}

async function request(path, signal) {
  let answer;
  try {
    answer = await fetch(ROOT + path, { headers: HEADERS, signal, cache: "no-store", credentials: "same-origin", redirect: "error" });
  } catch (error) {
    if (signal?.aborted) throw error;
    away();
    throw new Refused(0, path, String(error.message));
  }
  if ([502, 503, 504].includes(answer.status) && !answer.headers.get("Content-Type")?.includes("json")) {
    away();
    throw new Refused(0, path, answer.statusText);
  }
  if (connection.since) Object.assign(connection, { since: null });
  const date = Date.parse(answer.headers.get("Date"));
  if (date) connection.skew = date - Date.now();
  if (answer.status === 401) connection.login = true;
  connection.changed();
  if (!answer.ok) throw new Refused(answer.status, path, await said(answer));
  return answer;
}

async function said(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).message || answer.statusText;
  } catch {
    return answer.statusText;
  }
}

function away() {
  connection.since ??= Date.now();
  connection.changed();
}

export const now = () => Date.now() + connection.skew;

export async function get(path, signal) {
  return (await request(path, signal)).json();
}

export async function logIn(token) {
  const answer = await fetch(ROOT + "console/session", {
    method: "POST", headers: { ...HEADERS, "Content-Type": "application/json" }, body: JSON.stringify({ token }), credentials: "same-origin",
  });
  if (!answer.ok) throw new Refused(answer.status, "console/session", await said(answer));
  connection.login = false;
  whoAmI();
}

// Asks whose session this is; where there is none, there is nobody to log out.
export async function whoAmI() {
  const { user, session } = await get("console/session").catch(() => ({}));
  connection.user = session ? user : "";
  connection.changed();
}

export async function logOut() {
  await fetch(ROOT + "console/session", { method: "DELETE", headers: HEADERS, credentials: "same-origin" });
  location.reload();
}

// Yields the values of a path that answers with lines of JSON; ends with the answer.
export async function* lines(path, signal) {
  const reader = (await request(path, signal)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      yield parts.filter(Boolean).map((line) => JSON.parse(line));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

export function pause(seconds, signal) {
  return new Promise((done) => {
    const end = () => { clearTimeout(timer); removeEventListener("online", end); done(); };
    const timer = setTimeout(end, seconds * 1000);
    signal?.addEventListener("abort", end, { once: true });
    addEventListener("online", end, { once: true });
  });
}
