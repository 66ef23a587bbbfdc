/** A button that opens a short menu. */
import { h } from "./dom.js";

/** Return the button and its menu. `items` are the entries, or a function that returns the current ones. */
export function menu(label, items, sign = "⋯") {
  const list = h("ul", { role: "menu", hidden: true, "aria-label": label });
  const opener = h(
    "button",
    { type: "button", class: "button more", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": label },
    sign,
  );
  const entries = () => [...list.querySelectorAll("[role=menuitem]")];
  const show = (open) => {
    if (open) list.replaceChildren(...(typeof items === "function" ? items() : items).map(entry));
    list.hidden = !open;
    opener.setAttribute("aria-expanded", open);
    if (open) entries()[0].focus();
  };
  const entry = ({ label: words, url, pick }) => {
    const attributes = {
      role: "menuitem",
      tabindex: -1,
      onclick: () => {
        show(false);
        opener.focus();
        pick();
      },
    };
    const shown = url
      ? h("a", { ...attributes, href: url, target: "_blank", rel: "noopener noreferrer" }, words)
      : h("button", { ...attributes, type: "button" }, words);
    return h("li", { role: "none" }, shown);
  };
  opener.addEventListener("click", () => show(list.hidden));
  const whole = h("div", { class: "menu" }, opener, list);
  whole.addEventListener("focusout", (event) => {
    if (!whole.contains(event.relatedTarget)) show(false);
  });
  list.addEventListener("keydown", (event) => {
    const index = entries().indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) entries().at((index + step) % entries().length).focus();
    else if (event.key === "Escape") {
      show(false);
      opener.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return whole;
}
