/** Starts the page: Slack as one person sees it, and beside it the customer, Conveyor and the HTTP traffic. */
import { showChannel } from "./channel.js";
import { listenToComposer, listenToSearch } from "./composer.js";
import { showConveyor } from "./conveyor.js";
import { listenToCustomers } from "./customer.js";
import { at, h } from "./dom.js";
import { showModals } from "./modal.js";
import { showSidebar } from "./sidebar.js";
import { connect, get, watch } from "./store.js";
import { showTraffic } from "./traffic.js";
import { showTries } from "./tries.js";

function show(pane) {
  document.body.dataset.pane = pane;
  for (const tab of at("tabs").children) tab.setAttribute("aria-pressed", tab.dataset.pane === pane);
}

at("tabs").addEventListener("click", ({ target }) => {
  const tab = target.closest("[data-pane]");
  if (tab) show(tab.dataset.pane);
});
// On a wide screen the channel is always visible, beside one of the panes.
const wide = matchMedia("(min-width: 961px)");
const start = () => show(wide.matches ? "customer" : "slack");

addEventListener("show-pane", ({ detail }) => show(detail));
addEventListener("show-channel", () => wide.matches || show("slack"));
addEventListener("show-request", ({ detail }) => {
  show("conveyor");
  document.querySelector(`[data-request="${CSS.escape(detail)}"]`)?.focus();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part after # in the address must keep saying who acts in this window
  dispatchEvent(new Event("show-channel"));
  at("messages").focus();
});
at("hide-intro").addEventListener("click", () => {
  localStorage.setItem("introduced", "yes");
  at("intro").hidden = true;
});
at("intro").hidden = localStorage.getItem("introduced") === "yes";
wide.addEventListener("change", start);
start();

showSidebar();
showChannel();
showModals();
showConveyor();
showTraffic();
showTries();
listenToComposer();
listenToSearch();
listenToCustomers();

let silence = "";
const showNotice = () => {
  const { problem = "", lines = [] } = get("app") || {};
  at("notice").replaceChildren(silence || problem);
  if (!silence && lines.length) at("notice").append(h("pre", { tabindex: 0 }, lines.join("\n")));
};
watch("app", showNotice);
connect((problem) => {
  silence = problem;
  showNotice();
});
