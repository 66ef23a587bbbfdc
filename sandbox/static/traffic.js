/** Shows the HTTP traffic between the app, Slack and Conveyor. */
import { at, h } from "./dom.js";
import { ask, list } from "./store.js";

const clock = new Intl.DateTimeFormat("en", { hour12: false, timeStyle: "medium" });

export function showTraffic() {
  list(at("exchanges"), "exchange/", exchange, "Nothing yet.");
  at("routine").addEventListener("change", (event) => {
    at("exchanges").classList.toggle("all", event.target.checked);
  });
}

function exchange({ key, at: when, from, to, call, outcome, good, seconds, fault, routine }, old) {
  const details = h(
    "details",
    { ontoggle: () => details.open && fill(details, key) },
    h(
      "summary",
      { "data-name": "summary" },
      h("span", { class: "quiet" }, clock.format(when * 1000)),
      h("span", { class: `way ${from} ${to}` }, `${from} → ${to}`),
      h("code", {}, call),
      h("em", { class: good ? "status" : "status bad" }, outcome),
      seconds !== null && h("span", { class: "quiet" }, `${(seconds * 1000).toFixed(0)} ms`),
      fault && h("span", { class: "quiet" }, `(made to fail: ${fault})`),
    ),
  );
  details.open = Boolean(old?.querySelector("details").open);
  return h("li", { tabindex: -1, class: routine ? "routine" : null }, details);
}

async function fill(details, key) {
  const { path, request, response, problem } = await ask(`/exchange/${encodeURIComponent(key)}`);
  const body = (title, value) => [h("h3", {}, title), h("pre", { tabindex: 0 }, pretty(value))];
  details.querySelector("div")?.remove();
  details.append(
    h("div", {}, problem ? h("p", {}, problem) : [h("code", {}, path), body("Sent", request), body("Answer", response)]),
  );
}

/** Return JSON with indentation. JSON inside of strings, as in forms, is parsed and indented too. */
function pretty(value) {
  const opened = (_, part) => {
    if (typeof part !== "string" || !/^[[{]/.test(part)) return part;
    try {
      return JSON.parse(part);
    } catch {
      return part;
    }
  };
  return typeof value === "string" ? value || "(nothing)" : JSON.stringify(value, opened, 2);
}
