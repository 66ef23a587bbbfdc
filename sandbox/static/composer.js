/** The message box, and the search box. */
import { goTo } from "./channel.js";
import { at, h } from "./dom.js";
import { act, addressOf, ask, get, here, watch } from "./store.js";
import { date, mrkdwn } from "./text.js";

const PAUSE = 200;

export function listenToComposer() {
  const form = at("composer");
  const input = form.elements.text;
  watch("place/", () => {
    const { read_only: readOnly = false } = get(`place/${here.channel}`) || {};
    form.hidden = readOnly;
    at("read-only").hidden = !readOnly;
    input.placeholder = `Message ${at("place").textContent} or use /rooms`;
    input.setAttribute("aria-label", input.placeholder);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = input.value;
    input.value = ""; // what the person types while this is being sent belongs to the next message
    const { problem } = await act("say", { person: here.person, channel: here.channel, text });
    form.querySelector(".problem").textContent = problem || "";
    if (problem) input.value ||= text;
    else at("messages").scrollTop = at("messages").scrollHeight; // the answer will appear there
  });
}

export function listenToSearch() {
  const form = at("search");
  const input = form.elements.query;
  let timer;
  const search = async () => {
    clearTimeout(timer);
    const query = input.value.trim();
    if (!query) return close();
    const address = `/search?${new URLSearchParams({ person: here.person, query })}`;
    const found = await ask(address);
    if (query !== input.value.trim()) return null;
    return found.problem ? close() : show(found, query); // the notice above the page already shows the problem
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  const leave = ({ target }) => form.contains(target) || close();
  document.addEventListener("pointerdown", leave);
  document.addEventListener("focusin", leave);
  const clear = () => {
    input.value = "";
    close();
    input.focus();
  };
  form.addEventListener("keydown", (event) => event.key === "Escape" && clear());
  at("clear").addEventListener("click", clear);
}

function close() {
  at("found").hidden = true;
}

function show(timestamps, query) {
  const messages = timestamps.map((ts) => get(`message/${ts}`)).filter(Boolean);
  const count = messages.length === 1 ? "1 message" : `${messages.length || "No"} messages`;
  at("found").hidden = false;
  at("found").replaceChildren(
    h("p", { role: "status", class: "quiet" }, `${count} with “${query}”`),
    h("ul", {}, messages.map(result)),
  );
}

function result(message) {
  const lead = (event) => {
    close();
    if (message.channel !== here.channel) return;
    event.preventDefault();
    goTo(message.ts);
  };
  return h(
    "li",
    {},
    h(
      "a",
      { href: addressOf(here.person, message.channel, message.ts), onclick: lead },
      h("span", { class: "quiet" }, date(message.ts, "{date_short_pretty} at {time}")),
      // A link cannot contain other links, so this is only the text.
      h("span", {}, h("span", {}, mrkdwn(message.text)).textContent),
    ),
  );
}
