// Following what changes: one stream of a tab, or questions every 5 s where that can't be had.
//
// A browser opens 6 connections to a server, over all tabs.  So a stream takes one of 4 locks (navigator.locks);
// a tab that gets none, and a page in an insecure context, which has no locks, asks every 5 s.  So does one that
// the server refuses (429), and one whose server has no stream (404).  A tab that is hidden for 30 s lets go.
import { Refused, connection, get, lines, pause } from "./api.js";

export const PATHS = {
  services: ["api/v1/", "services"], pods: ["api/v1/", "pods"], events: ["api/v1/", "events"],
  endpointslices: ["apis/discovery.k8s.io/v1/", "endpointslices"],
};
const SLOTS = 4, POLL_SECONDS = 5, HIDDEN_SECONDS = 30, PAGE = 2000, FIRST_RETRY = 1, LAST_RETRY = 30;

export const listPath = (kind, namespace) =>
  PATHS[kind][0] + (namespace ? `namespaces/${encodeURIComponent(namespace)}/` : "") + PATHS[kind][1];

// Runs `work(signal, slot)` again and again until the returned function is called; `slot` says whether it may stream
// (without `streams`, it never does).
export function keep(work, failed, streams = true) {
  const end = new AbortController();
  (async () => {
    for (let wait = FIRST_RETRY; !end.signal.aborted; ) {
      await shown(end.signal);
      if (end.signal.aborted) return;
      const begun = Date.now();
      try {
        await inSight(end.signal, (signal) => (streams ? withSlot((slot) => work(signal, slot)) : work(signal, false)));
        wait = FIRST_RETRY;
      } catch (error) {
        if (end.signal.aborted) return;
        if (error.name === "AbortError") continue;
        failed(error);
        if (Date.now() - begun > 10000) wait = FIRST_RETRY;
        if (connection.login) return;
        connection.retryAt = Date.now() + wait * 1000;
        connection.changed();
        await pause(error.code === 403 || error.code === 404 ? LAST_RETRY : wait, end.signal);
        wait = Math.min(LAST_RETRY, wait * 2);
      }
    }
  })();
  return () => end.abort();
}

async function shown(signal) {
  while (document.hidden && !signal.aborted)
    await new Promise((done) => {
      document.addEventListener("visibilitychange", done, { once: true });
      signal.addEventListener("abort", done, { once: true });
    });
}

// Runs work; aborts it once the tab has been hidden for 30 s.
async function inSight(outer, work) {
  const inner = new AbortController();
  let timer;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => inner.abort(), HIDDEN_SECONDS * 1000);
  };
  const stop = () => inner.abort();
  document.addEventListener("visibilitychange", look);
  outer.addEventListener("abort", stop);
  try {
    return await work(inner.signal);
  } finally {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
    outer.removeEventListener("abort", stop);
  }
}

async function withSlot(work) {
  if (!navigator.locks) return work(false);
  for (let slot = 0; slot < SLOTS; slot++) {
    let got = false;
    const result = await navigator.locks.request(`svcdns-stream-${slot}`, { ifAvailable: true }, (lock) => {
      got = lock !== null;
      return got ? work(true) : undefined;
    });
    if (got) return result;
  }
  return work(false);
}

// Keeps `table` (a Map by kind of Maps) as the API has it; `changed` is called after each batch.
export function follow(kinds, namespace, reduce, changed, failed) {
  const table = new Map(kinds.map((kind) => [kind, new Map()]));
  const key = ({ metadata: { namespace: at, name } }) => `${at}/${name}`;
  let revision = "";

  function take(line) {
    if (line.type === "RESET") return void (revision = "") || table.forEach((of) => of.clear());
    if (line.type === "ERROR") throw new Refused(line.object?.code, "svcdns/v1/stream", line.object?.message);
    if (line.type === "SYNCED" || line.type === "BOOKMARK") {
      revision = line.object?.metadata?.resourceVersion ?? line.resourceVersion ?? revision;
    } else if (table.has(line.kind)) {
      if (line.type === "DELETED") table.get(line.kind).delete(key(line.object));
      else table.get(line.kind).set(key(line.object), reduce(line.kind, line.object));
    }
  }

  async function stream(signal) {
    const from = revision ? `&resourceVersion=${revision}` : "";
    if (!revision) table.forEach((of) => of.clear());
    const path = `svcdns/v1/stream?kinds=${kinds.join()}${namespace ? `&namespace=${encodeURIComponent(namespace)}` : ""}${from}`;
    try {
      let synced = Boolean(revision);
      for await (const batch of lines(path, signal)) {
        batch.forEach(take);
        synced ||= batch.some((line) => line.type === "SYNCED");
        connection.live = true;
        if (synced) changed(table);
      }
    } catch (error) {
      if (error.code === 410) { revision = ""; return; }
      if (error.code === 404 || error.code === 429) return poll(signal);
      throw error;
    }
    throw new Refused(0, path, "the stream ended");
  }

  async function poll(signal) {
    connection.live = false;
    while (!signal.aborted) {
      await Promise.all(kinds.map((kind) => list(kind, signal)));
      changed(table);
      await pause(POLL_SECONDS, signal);
    }
  }

  async function list(kind, signal) {
    const found = new Map();
    for (let next = ""; next !== undefined; ) {
      const page = await get(`${listPath(kind, namespace)}?limit=${PAGE}${next && `&continue=${encodeURIComponent(next)}`}`, signal);
      for (const object of page.items) found.set(key(object), reduce(kind, object));
      next = page.metadata.continue || undefined;
    }
    table.set(kind, found);
  }

  return keep((signal, slot) => (slot ? stream(signal) : poll(signal)), failed);
}

// Asks a path every 5 s.
export function asking(path, changed, failed) {
  return keep(async (signal) => {
    while (!signal.aborted) {
      changed(await get(path, signal));
      await pause(POLL_SECONDS, signal);
    }
  }, failed, false);
}
