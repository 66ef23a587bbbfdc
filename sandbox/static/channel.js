/** Shows the messages of one channel, with their threads and the ephemeral messages for this person. */
import { draw } from "./blocks.js";
import { choicesOf, forgetChoices } from "./choices.js";
import { announce, at, h, swap } from "./dom.js";
import { menu } from "./menu.js";
import { act, addressOf, all, get, here, watch } from "./store.js";
import { date, mrkdwn } from "./text.js";

const messages = at("messages");
const drawn = new Map(); // the list item of each message, by its ts
const broadcasts = new Map(); // the second list item of a reply that the channel shows as well, by its ts
const dismissed = new Set();
const unfolded = new Set(); // the messages whose threads are open
let person;
let shown; // the address of the channel on the screen
let follows = false;

export function showChannel() {
  watch("message/", (keys, whole) => {
    const place = addressOf(here.person, here.channel, here.ts || "");
    const again = place === shown; // this window was hidden and is visible again
    const first = shown === undefined;
    const { scrollTop } = messages;
    const atEnd = messages.scrollHeight - scrollTop - messages.clientHeight < 80;
    if (whole) startAfresh();
    for (const key of keys) update(key.slice("message/".length), get(key), whole);
    if (whole && here.ts && !again) goTo(here.ts);
    else if (whole && first) messages.scrollTop = 0; // a newcomer starts at the first card
    else if ((atEnd && !whole) || (whole && !again)) messages.scrollTop = messages.scrollHeight;
    else if (whole) messages.scrollTop = scrollTop;
    shown = place;
  });
}

function startAfresh() {
  if (person !== here.person) forgetChoices();
  person = here.person;
  drawn.clear();
  broadcasts.clear();
  messages.replaceChildren();
}

/** Scroll to the next message that arrives. */
export function followNext() {
  follows = true;
}

/** Scroll to a message and give it the focus. */
export function goTo(ts) {
  dispatchEvent(new Event("show-channel"));
  const parent = get(`message/${ts}`)?.thread_ts;
  if (parent) unfold(parent, true);
  const article = drawn.get(ts)?.querySelector("article");
  article?.scrollIntoView({ block: parent ? "center" : "start" });
  article?.focus({ preventScroll: true });
}

function update(ts, message, whole) {
  const item = drawn.get(ts);
  const parent = message?.thread_ts || item?.closest(".threaded")?.parentElement.dataset.ts;
  if (!message || dismissed.has(ts)) {
    item?.remove();
    broadcasts.get(ts)?.remove();
    drawn.delete(ts);
    broadcasts.delete(ts);
  } else if (message.channel !== here.channel) {
    return;
  } else if (item) {
    swap(item.querySelector("article"), article(message));
    if (message.broadcast) broadcast(message);
  } else {
    add(message);
    if (!whole) tell(message);
  }
  countReplies(parent);
}

function add(message) {
  const parent = message.thread_ts && drawn.get(message.thread_ts);
  const item = h("li", { "data-ts": message.ts }, article(message));
  if (!parent) item.append(...thread(message));
  drawn.set(message.ts, item);
  insert(parent ? parent.querySelector(".thread") : messages, item);
  if (message.broadcast) broadcast(message);
}

function insert(list, item) {
  list.insertBefore(item, [...list.children].find((other) => other.dataset.ts > item.dataset.ts) || null);
}

/** Show a reply in the channel as well, where it says to which message it belongs. */
function broadcast(message) {
  const old = broadcasts.get(message.ts);
  if (old) return swap(old.querySelector("article"), article(message, true));
  const item = h("li", { "data-ts": message.ts, class: "broadcast" }, article(message, true));
  broadcasts.set(message.ts, item);
  return insert(messages, item);
}

/** Say that a message has arrived, and scroll to it if it answers what this person just did. */
function tell(message) {
  announce(`${message.private ? "Only visible to you" : nameOf(message)}: ${message.text}`);
  if (message.private && message.thread_ts) unfold(message.thread_ts, true);
  if (message.private) drawn.get(message.ts).scrollIntoView({ block: "nearest" });
  else if (follows && !message.thread_ts) {
    follows = false;
    goTo(message.ts);
  }
}

// Threads

/** Return the replies to a message, the button that unfolds them, and the box for one more. */
function thread({ ts, channel }) {
  const id = `thread-${ts}`;
  const button = h("button", {
    type: "button",
    class: "link replies",
    hidden: true,
    "aria-controls": id,
    onclick: () => unfold(ts, !unfolded.has(ts)),
  });
  const box = h("input", { name: "text", autocomplete: "off", maxlength: 3000, required: true, placeholder: "Reply…", "aria-label": "Reply in the thread" });
  const problem = h("p", { class: "problem", role: "alert" });
  const reply = async (event) => {
    event.preventDefault();
    const text = box.value;
    box.value = "";
    const answer = await act("say", { person: here.person, channel, text, thread_ts: ts });
    problem.textContent = answer.problem || "";
    if (answer.problem) box.value ||= text;
  };
  return [
    button,
    h(
      "div",
      { class: "threaded", id, hidden: !unfolded.has(ts) },
      h("ol", { class: "thread", "aria-label": "Thread" }),
      h("form", { class: "reply", onsubmit: reply }, box, h("button", { type: "submit" }, "Send"), problem),
    ),
  ];
}

function unfold(ts, open) {
  const item = drawn.get(ts);
  unfolded[open ? "add" : "delete"](ts);
  if (!item?.querySelector(".threaded")) return;
  item.querySelector(".threaded").hidden = !open;
  countReplies(ts);
}

function countReplies(ts) {
  const item = drawn.get(ts);
  const button = item?.querySelector(".replies");
  if (!button) return;
  const count = item.querySelectorAll(".thread > li").length;
  const open = unfolded.has(ts);
  button.hidden = !count && !open;
  button.textContent = `${count} ${count === 1 ? "reply" : "replies"}`;
  button.setAttribute("aria-expanded", open);
}

// One message

const nameOf = (message) => (message.app ? "Conveyor for Slack" : get(`person/${message.user}`)?.name || message.user);

function article(message, inChannel = false) {
  const name = nameOf(message);
  const place = placeOf(message);
  const dismiss = () => {
    dismissed.add(message.ts);
    update(message.ts, null);
    messages.focus();
  };
  return h(
    "article",
    { tabindex: -1, class: message.private ? "private" : null, "data-state": message.state },
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
    inChannel && repliedTo(message.thread_ts),
    h("div", { class: "blocks" }, message.blocks.length ? draw(message.blocks, place) : h("p", {}, mrkdwn(message.text))),
    h("p", { class: "problem", role: "alert" }),
    !message.private && actions(message),
  );
}

function repliedTo(ts) {
  const link = h("button", { type: "button", class: "link", onclick: () => goTo(ts) });
  link.append(h("span", {}, mrkdwn(get(`message/${ts}`)?.text || "a message")).textContent.slice(0, 80));
  link.addEventListener("click", () => unfold(ts, true));
  return h("p", { class: "quiet" }, "replied to a thread: ", link);
}

/** The menu that Slack shows at the right of a message. */
function actions(message) {
  const ts = message.thread_ts || message.ts;
  const reply = () => {
    unfold(ts, true);
    drawn.get(ts)?.querySelector(".reply input")?.focus();
  };
  const use = async ({ id }) => {
    const { problem } = await act("shortcut", { person: here.person, window: here.window, ts: message.ts, callback_id: id });
    complain(message.ts, problem);
  };
  const items = () => [
    ...(get(`place/${message.channel}`)?.read_only ? [] : [{ label: "Reply in thread", pick: reply }]),
    ...[...all("shortcut/")].map((each) => ({ label: each.name, pick: () => use(each) })),
  ];
  return items().length > 0 && menu("Message actions", items, "⋮");
}

function complain(ts, problem) {
  const say = drawn.get(ts)?.querySelector("article > .problem");
  if (say) say.textContent = problem || "";
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
      complain(message.ts, problem);
    },
    suggest: (element, typed) =>
      act("suggest", { person: here.person, action_id: element.action_id, typed, ts: message.ts }),
  };
}
