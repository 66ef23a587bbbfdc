/** Shows who acts in this window, and the channels and direct messages that this person can open. */
import { at, h } from "./dom.js";
import { addressOf, all, get, here, watch } from "./store.js";

const unread = new Map();
let drawn; // the data from which the list of channels was last drawn

export function showSidebar() {
  watch("person/", drawPeople);
  watch("place/", drawPlaces);
  watch("message/", (keys, whole) => {
    for (const key of keys) {
      const message = get(key);
      if (message && !whole && message.channel !== here.channel && !message.edited) {
        unread.set(message.channel, (unread.get(message.channel) || 0) + 1);
      }
    }
    unread.delete(here.channel);
    drawPlaces();
  });
  at("person").addEventListener("change", (event) => {
    location.hash = addressOf(event.target.value);
  });
}

function drawPeople() {
  const people = [...all("person/")].filter((person) => person.role);
  if (!people.some((person) => person.id === here.person)) return location.replace(addressOf(people[0].id));
  at("person").replaceChildren(
    ...people.map((person) => h("option", { value: person.id }, `${person.name} (${person.role})`)),
  );
  at("person").value = here.person;
  const other = people.find((person) => person.role === "reviewer" && person.id !== here.person);
  at("second").href = addressOf(other?.id || here.person);
  at("second").textContent = other ? `Open a window as ${other.name.split(" ")[0]}` : "";
  return null;
}

function drawPlaces() {
  const places = [...all("place/")];
  const current = get(`place/${here.channel}`);
  if (places.length && !current) return location.replace(addressOf(here.person));
  // If nothing has changed, keep the list, because one of its links may have the focus.
  const fresh = JSON.stringify([here, places, [...unread]]);
  if (fresh === drawn) return null;
  drawn = fresh;
  const place = ({ id, name, direct }) => {
    const news = unread.get(id);
    return h(
      "li",
      {},
      h(
        "a",
        { href: addressOf(here.person, id), "aria-current": id === here.channel ? "page" : null },
        direct ? "Conveyor for Slack" : `# ${name}`,
        news && h("span", { class: "badge" }, `${news} new`),
      ),
    );
  };
  const direct = places.filter((each) => each.direct);
  at("channels").replaceChildren(...places.filter((each) => !each.direct).map(place));
  at("direct").replaceChildren(...(direct.length ? direct.map(place) : [h("li", { class: "none" }, "None yet")]));
  at("place").textContent = !current ? "" : current.direct ? "Conveyor for Slack" : `# ${current.name}`;
  return null;
}
