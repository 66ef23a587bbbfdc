/** Draws rich_text blocks. */
import { h } from "./dom.js";
import { date, emoji, link, mention } from "./text.js";

const PARTS = {
  __proto__: null,
  rich_text_section: "p",
  rich_text_quote: "blockquote",
  rich_text_preformatted: "pre",
};
const STYLES = { bold: "strong", italic: "em", strike: "s", code: "code" };

export function richText(block) {
  return h("div", { class: "rich" }, block.elements.map(part));
}

function part(element) {
  if (element.type === "rich_text_list") {
    const tag = element.style === "ordered" ? "ol" : "ul";
    return h(tag, {}, element.elements.map((item) => h("li", {}, item.elements.map(inline))));
  }
  if (element.type in PARTS) return h(PARTS[element.type], {}, element.elements.map(inline));
  return notDrawn(element.type);
}

function inline(element) {
  const { type, style = {} } = element;
  let node;
  if (type === "text") node = element.text;
  else if (type === "link") node = link(element.url, element.text || element.url);
  else if (type === "user") node = mention(element.user_id);
  else if (type === "emoji") node = emoji(element.name);
  else if (type === "date") node = date(element.timestamp, element.format, element.fallback, element.url);
  else if (type === "broadcast") node = h("span", { class: "mention" }, `@${element.range}`);
  else node = notDrawn(type);
  for (const name of Object.keys(STYLES)) if (style[name]) node = h(STYLES[name], {}, node);
  return node;
}

export const notDrawn = (type) => h("span", { class: "not-drawn" }, `not drawn here: ${type}`);
