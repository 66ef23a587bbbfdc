/** Shows the things to try, sets each one up, and ticks off what was done. */
import { followNext, goTo } from "./channel.js";
import { at, h } from "./dom.js";
import { act, addressOf, all, here, list, watch } from "./store.js";

export function showTries() {
  list(at("tries"), "try/", item, "");
  watch("try/", () => {
    const tries = [...all("try/")];
    at("tried").textContent = `${tries.filter((each) => each.done).length} of ${tries.length} done`;
  });
}

function item({ name, label, hint, done }) {
  const start = h("button", { type: "button", "data-name": name, "data-try": name, onclick: () => setUp(name) }, label);
  return h(
    "li",
    { tabindex: -1, class: done ? "done" : null },
    h("span", { class: "tick", role: "img", "aria-label": done ? "Done" : "Not done yet" }, done ? "✓" : ""),
    h("span", {}, start, h("span", { class: "quiet" }, hint)),
  );
}

async function setUp(name) {
  // A window that is opened later counts as an advertisement, which browsers block.
  const other = name === "race" && open("about:blank");
  const next = await act("try", { name });
  if (other) other.location = `${location.pathname}${addressOf(next.window, here.channel, next.ts)}`;
  if (next.problem) at("notice").textContent = next.problem;
  if (next.search) return at("search").elements.query.focus();
  if (!next.person) return null;
  if (next.pane) dispatchEvent(new CustomEvent("show-pane", { detail: next.pane }));
  if (next.ts === "" || next.follow) followNext();
  const address = addressOf(next.person, undefined, next.ts);
  if (location.hash !== address) location.hash = address;
  else if (next.ts) goTo(next.ts);
  dispatchEvent(new Event("show-channel"));
  if (next.type) {
    const box = at("composer").elements.text;
    box.value = next.type;
    box.focus();
  }
  return null;
}
