/** An element; text among its children is only ever text, whatever it says. */
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

/** Let a screen reader say it. */
export function announce(sentence) {
  at("live").textContent = sentence;
}

let numbers = 0;

/** An id that no other element has. */
export const newId = () => `id-${(numbers += 1)}`;

/**
 * Put `fresh` where `old` is. The focus goes to the part of the same name (data-name), or else to `fresh`
 * itself, so that whoever uses the keyboard is not thrown back to the top.
 */
export function swap(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  old.replaceWith(fresh);
  if (!focused) return;
  const name = focused.dataset.name;
  const again = name && [...fresh.querySelectorAll("[data-name]")].find((part) => part.dataset.name === name);
  (again || fresh).focus();
}
