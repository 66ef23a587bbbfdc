/** Keeps what the server has sent to this window, by key, and tells the other modules what has changed. */
import { h, swap } from "./dom.js";

const values = new Map();
const watchers = [];
let source;

const SILENT = "The sandbox isn't responding. Is it still running?";

/** Who acts in this window, which channel it shows, and to which message it scrolls. The address says all three. */
export const here = { person: "U0ANN", channel: "C0REQUESTS", ts: null, window: crypto.randomUUID() };

function readAddress() {
  const address = new URLSearchParams(location.hash.slice(1));
  here.person = address.get("as") || "U0ANN";
  here.channel = address.get("in") || "C0REQUESTS";
  here.ts = address.get("at");
}

export const addressOf = (person, channel = "C0REQUESTS", ts = "") =>
  `#as=${person}&in=${channel}${ts ? `&at=${ts}` : ""}`;

export const get = (key) => values.get(key);

export function* all(prefix) {
  for (const [key, value] of values) if (key.startsWith(prefix)) yield value;
}

/** Call `draw` with the changed keys that start with `prefix`. `whole` is true if the server sent everything. */
export function watch(prefix, draw) {
  watchers.push({ prefix, draw });
}

function take({ whole, changed }) {
  if (whole) for (const key of values.keys()) if (!(key in changed)) changed[key] = null;
  for (const [key, value] of Object.entries(changed)) {
    if (value === null) values.delete(key);
    else values.set(key, value);
  }
  for (const { prefix, draw } of watchers) {
    const keys = Object.keys(changed).filter((key) => key.startsWith(prefix));
    if (keys.length || whole) draw(keys, whole);
  }
}

/** Receive what the server sends for the current address. `say` is called with a problem of the connection, or "". */
export function connect(say) {
  const follow = () => {
    source?.close();
    // All windows of a browser share a few connections to one server, so hidden windows keep none.
    if (document.hidden) return;
    readAddress();
    const since = performance.timeOrigin / 1000;
    source = new EventSource(`/events?${new URLSearchParams({ person: here.person, window: here.window, since })}`);
    source.onopen = () => say("");
    source.onerror = () => say(SILENT);
    source.onmessage = (event) => take(JSON.parse(event.data));
  };
  addEventListener("hashchange", follow);
  document.addEventListener("visibilitychange", follow);
  follow();
}

/** Show one element per key in `container`, newest first, and redraw it when its value changes. */
export function list(container, prefix, draw, empty) {
  const drawn = new Map();
  const none = h("li", { class: "quiet" }, empty);
  container.append(none);
  watch(prefix, (keys) => {
    for (const key of keys) {
      const old = drawn.get(key);
      if (values.has(key)) {
        const fresh = draw(values.get(key), old);
        if (old) swap(old, fresh);
        else container.prepend(fresh);
        drawn.set(key, fresh);
      } else if (old) {
        old.remove();
        drawn.delete(key);
      }
    }
    none.hidden = drawn.size > 0;
  });
}

/** Send a request to the server and return its answer. A `problem` in it is a sentence for the person. */
export async function ask(path, how) {
  try {
    return await (await fetch(path, how)).json();
  } catch {
    return { problem: SILENT };
  }
}

/** Make the server do something, and return its answer as `ask` does. */
export const act = (name, body) =>
  ask(`/act/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
