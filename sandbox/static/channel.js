/** Shows the messages of one channel, with their threads and the ephemeral messages for this person. */
import { draw } from "./blocks.js";
import { choicesOf, forgetChoices } from "./choices.js";
import { announce, at, h, swap } from "./dom.js";
import { act, addressOf, get, here, watch } from "./store.js";
import { date, mrkdwn } from "./text.js";

const messages = at("messages");
const drawn = new Map(); // the list item of each message, by its ts
const dismissed = new Set();
let person;
let shown; // the address of the channel on the screen

export function showChannel() {
  watch("message/", (keys, whole) => {
    const place = addressOf(here.person, here.channel, here.ts || "");
    const again = place === shown; // this window was hidden and is visible again
    const { scrollTop } = messages;
    const atEnd = messages.scrollHeight - scrollTop - messages.clientHeight < 80;
    if (whole) startAfresh();
    for (const key of keys) update(key.slice("message/".length), get(key), whole);
    if (whole && here.ts && !again) goTo(here.ts);
    else if (atEnd || (whole && !again)) messages.scrollTop = messages.scrollHeight;
    else if (whole) messages.scrollTop = scrollTop;
    shown = place;
  });
}

function startAfresh() {
  if (person !== here.person) forgetChoices();
  person = here.person;
  drawn.clear();
  messages.replaceChildren();
}

/** Scroll to a message and give it the focus. */
export function goTo(ts) {
  dispatchEvent(new Event("show-channel"));
  const article = drawn.get(ts)?.querySelector("article");
  article?.scrollIntoView({ block: "center" });
  article?.focus();
}

function update(ts, message, whole) {
  const item = drawn.get(ts);
  if (!message || dismissed.has(ts)) {
    item?.remove();
    drawn.delete(ts);
  } else if (message.channel !== here.channel) {
    return;
  } else if (item) {
    swap(item.querySelector("article"), article(message));
  } else {
    add(message);
    if (!whole) announce(`${message.private ? "Only visible to you" : nameOf(message)}: ${message.text}`);
  }
}

function add(message) {
  const thread = message.thread_ts && drawn.get(message.thread_ts)?.querySelector(".thread");
  const item = h("li", { "data-ts": message.ts }, article(message), !thread && h("ol", { class: "thread", "aria-label": "Thread" }));
  drawn.set(message.ts, item);
  const list = thread || messages;
  list.insertBefore(item, [...list.children].find((other) => other.dataset.ts > message.ts) || null);
}

const nameOf = (message) => (message.app ? "Conveyor for Slack" : get(`person/${message.user}`)?.name || message.user);

function article(message) {
  const name = nameOf(message);
  const place = placeOf(message);
  const dismiss = () => {
    dismissed.add(message.ts);
    update(message.ts, null);
    messages.focus();
  };
  return h(
    "article",
    { tabindex: -1, class: message.private ? "private" : null },
    message.private &&
      h(
        "p",
        { class: "quiet" },
        "👁 Only visible to you · ",
        h("button", { type: "button", class: "link", onclick: dismiss }, "Dismiss message"),
      ),
    h("span", { class: `avatar ${message.app ? "app" : message.user}`, "aria-hidden": "true" }, message.app ? "✓" : name[0]),
    h(
      "p",
      { class: "head" },
      h("strong", {}, name),
      message.app && h("span", { class: "badge" }, "APP"),
      h("span", { class: "when" }, date(message.ts, "{date_short_pretty} at {time}")),
    ),
    h("div", { class: "blocks" }, message.blocks.length ? draw(message.blocks, place) : h("p", {}, mrkdwn(message.text))),
    h("p", { class: "problem", role: "alert" }),
  );
}

function placeOf(message) {
  const choices = choicesOf(message.ts);
  return {
    key: message.ts,
    choices,
    click: async (block, element, value) => {
      const { problem } = await act("click", {
        person: here.person,
        window: here.window,
        ts: message.ts,
        action_id: element.action_id,
        block_id: block.block_id,
        choose: choices.made(message.blocks),
        value,
        seen: message.edited,
      });
      const say = drawn.get(message.ts)?.querySelector("article > .problem");
      if (say) say.textContent = problem || "";
    },
    suggest: (element, typed) =>
      act("suggest", { person: here.person, action_id: element.action_id, typed, ts: message.ts }),
  };
}
