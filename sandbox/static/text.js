/** Draws Slack's text objects. Text from outsiders must never become HTML. */
import { h } from "./dom.js";
import { addressOf, get, here } from "./store.js";

const EMOJI = {
  __proto__: null,
  sparkles: "✨", hourglass_flowing_sand: "⏳", hourglass: "⌛", white_check_mark: "✅", large_yellow_circle: "🟡", no_entry_sign: "🚫",
  grey_question: "❔", warning: "⚠️", wave: "👋", eyes: "👀", tada: "🎉", key: "🔑", lock: "🔒", ballot_box_with_check: "☑️", heavy_minus_sign: "➖", bell: "🔔",
  mag: "🔍", x: "❌", rotating_light: "🚨", leftwards_arrow_with_hook: "↩️", calendar: "📅", bulb: "💡",
};
const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">" };
const MARKS = new RegExp(
  [
    "<(?<special>[^<>\\n]+)>",
    "```(?<pre>[^`]+)```",
    "`(?<code>[^`\\n]+)`",
    "(?<url>https?://[^\\s<>|]*[^\\s<>|.,;:!?'\")\\]*_~`])",
    "(?<mail>[\\w.+-]+@[\\w-]+(?:\\.[\\w-]+)+)",
    "(?<![\\w*])\\*(?<bold>[^\\s*](?:[^*\\n]*[^\\s*])?)\\*(?![\\w*])",
    "(?<![\\w])_(?<italic>[^\\s_](?:[^_\\n]*[^\\s_])?)_(?!\\w)",
    "(?<![\\w~])~(?<strike>[^\\s~](?:[^~\\n]*[^\\s~])?)~(?![\\w~])",
    ":(?<emoji>[a-z0-9_+-]+):",
  ].join("|"),
);
const DATES = {
  __proto__: null,
  date_num: { year: "numeric", month: "2-digit", day: "2-digit" },
  date: { year: "numeric", month: "long", day: "numeric" },
  date_short: { year: "numeric", month: "short", day: "numeric" },
  date_long: { weekday: "long", year: "numeric", month: "long", day: "numeric" },
  time: { hour: "numeric", minute: "2-digit" },
  time_secs: { hour: "numeric", minute: "2-digit", second: "2-digit" },
};

const unescaped = (text) => text.replace(/&(amp|lt|gt);/g, (entity) => ENTITIES[entity]);

/** Return the character for the short name of an emoji, or :name: if it is unknown. */
export const emoji = (name) => EMOJI[name] || `:${name}:`;

/** Draw a text object: mrkdwn with its formatting, plain_text only with emoji, unless `emoji` is false. */
export function text(object) {
  if (!object) return [];
  if (object.type === "mrkdwn") return mrkdwn(object.text);
  return [object.emoji === false ? object.text : object.text.replace(/:([a-z0-9_+-]+):/g, (_, name) => emoji(name))];
}

/** Draw mrkdwn. Lines that start with > or &gt; become a quote. */
export function mrkdwn(source) {
  const parts = source.split(/((?:^(?:&gt;|>).*(?:\n|$))+)/m);
  return parts.map((part, index) =>
    index % 2 ? h("blockquote", {}, marked(part.replace(/^(?:&gt;|>) ?/gm, "").replace(/\n$/, ""))) : marked(part),
  );
}

function marked(source) {
  const nodes = [];
  let rest = source;
  for (let match = MARKS.exec(rest); match; match = MARKS.exec(rest)) {
    const { special, pre, code, url, mail, bold, italic, strike, emoji: name } = match.groups;
    nodes.push(unescaped(rest.slice(0, match.index)));
    if (special) nodes.push(reference(special));
    else if (pre) nodes.push(h("code", { class: "lines" }, unescaped(pre.replace(/^\n|\n$/g, ""))));
    else if (code) nodes.push(h("code", {}, unescaped(code)));
    else if (url) nodes.push(link(unescaped(url), unescaped(url)));
    else if (mail) nodes.push(link(`mailto:${mail}`, mail));
    else if (bold) nodes.push(h("strong", {}, marked(bold)));
    else if (italic) nodes.push(h("em", {}, marked(italic)));
    else if (strike) nodes.push(h("s", {}, marked(strike)));
    else nodes.push(emoji(name));
    rest = rest.slice(match.index + match[0].length);
  }
  return [...nodes, unescaped(rest)];
}

/** Draw what is written between < and >: a mention, a date or a link. */
function reference(inside) {
  const [target, label] = inside.split(/\|(.*)/s);
  if (target.startsWith("@")) return mention(target.slice(1));
  if (target.startsWith("!date^")) {
    const [, timestamp, format, link] = target.split("^");
    return format ? date(timestamp, format, label, link) : label || "";
  }
  if (target.startsWith("!")) return h("span", { class: "mention" }, `@${label || target.slice(1)}`);
  if (target.startsWith("#")) return h("span", { class: "mention" }, `#${label || target.slice(1)}`);
  return link(unescaped(target), unescaped(label || target));
}

export function mention(userId) {
  const person = get(`person/${userId}`);
  const mine = userId === here.person ? " mine" : "";
  return h("span", { class: `mention${mine}` }, `@${person ? person.handle : userId}`);
}

/** Draw a link. A link to a message opens it in this page, and a link to a request opens Conveyor's pane. */
export function link(url, label) {
  const known = URL.canParse(url) ? new URL(url) : { protocol: "", pathname: "" };
  if (!["http:", "https:", "mailto:"].includes(known.protocol)) return label;
  const message = known.pathname.match(/^\/archives\/(\w+)\/p(\d+)(\d{6})$/);
  if (message) return h("a", { href: addressOf(here.person, message[1], `${message[2]}.${message[3]}`) }, label);
  const request = known.hostname === "conveyor.example" && known.pathname.split("/").pop();
  const show = request && ((event) => {
    event.preventDefault();
    dispatchEvent(new CustomEvent("show-request", { detail: request }));
  });
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer", ...(show ? { onclick: show } : {}) }, label);
}

/** Draw a time in the reader's own time zone. */
export function date(timestamp, format, fallback, url) {
  const moment = new Date(Number(timestamp) * 1000);
  if (Number.isNaN(moment.getTime())) return fallback || "";
  const shown = format.replace(/\{(\w+)\}/g, (whole, name) => {
    const plain = name.replace(/_pretty$/, "");
    if (!(plain in DATES)) return whole;
    return (name !== plain && nearby(moment)) || new Intl.DateTimeFormat("en", DATES[plain]).format(moment);
  });
  const element = h("time", { datetime: moment.toISOString(), title: moment.toString() }, shown);
  return url ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, element) : element;
}

function nearby(moment) {
  const midnight = (day) => new Date(day.getFullYear(), day.getMonth(), day.getDate());
  const days = Math.round((midnight(moment) - midnight(new Date())) / 86_400_000);
  return { "-1": "yesterday", 0: "today", 1: "tomorrow" }[days];
}
