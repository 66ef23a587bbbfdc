/** Starts the page: Slack as one person sees it, the customer's and Conveyor's side, and the exchanges. */
import { showChannel } from "./channel.js";
import { listenToComposer, listenToSearch } from "./composer.js";
import { showConveyor } from "./conveyor.js";
import { listenToCustomers } from "./customer.js";
import { at } from "./dom.js";
import { showModals } from "./modal.js";
import { showSidebar } from "./sidebar.js";
import { connect, get, watch } from "./store.js";
import { showWire } from "./wire.js";

function show(pane) {
  document.body.dataset.pane = pane;
  for (const tab of at("tabs").children) tab.setAttribute("aria-pressed", tab.dataset.pane === pane);
}

at("tabs").addEventListener("click", ({ target }) => target.dataset.pane && show(target.dataset.pane));
// On a wide screen the channel is always visible, beside one of the panes.
const wide = matchMedia("(min-width: 961px)");
const start = () => show(wide.matches ? "customer" : "slack");

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
wide.addEventListener("change", start);
start();

showSidebar();
showChannel();
showModals();
showConveyor();
showWire();
listenToComposer();
listenToSearch();
listenToCustomers();

let silence = "";
const showNotice = () => {
  at("notice").textContent = silence || get("app")?.problem || "";
};
watch("app", showNotice);
connect((problem) => {
  silence = problem;
  showNotice();
});
