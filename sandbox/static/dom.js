/** Create an element. A string among its children becomes a text node, and never HTML. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (["value", "checked", "hidden"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return element;
}

export const at = (id) => document.getElementById(id);

/** Make a screen reader say this sentence. */
export function announce(sentence) {
  at("live").textContent = sentence;
}

let numbers = 0;

/** Return an id that no other element has. */
export const newId = () => `id-${(numbers += 1)}`;

/**
 * Replace `old` with `fresh`. If the focus was in `old`, it goes to the part with the same data-name, or else
 * to `fresh` itself. Otherwise, somebody who uses the keyboard would have to start again at the top of the page.
 */
export function swap(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  old.replaceWith(fresh);
  if (!focused) return;
  const name = focused.dataset.name;
  const again = name && [...fresh.querySelectorAll("[data-name]")].find((part) => part.dataset.name === name);
  (again || fresh).focus();
}
