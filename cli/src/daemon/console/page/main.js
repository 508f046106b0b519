// Which view is shown: what stands behind # in the address. `#revisions/42?before=7` is the view "revisions" with a place and
// parameters.

import { gateway, listen, follow } from "./gateway.js";
import { element, say } from "./elements.js";
import * as text from "./text.js";
import * as overview from "./overview.js";
import * as interfaces from "./interfaces.js";
import * as drops from "./drops.js";
import * as connections from "./connections.js";
import * as revisions from "./revisions.js";
import * as graph from "./graph.js";
import * as trace from "./trace.js";

const VIEWS = { overview, interfaces, drops, connections, revisions, graph, trace };
const find = (id) => document.getElementById(id);

let shown = null;
let view = null;

function place() {
  const [path, query] = location.hash.slice(1).split("?");
  const [name, ...rest] = path.split("/");
  return { name: name in VIEWS ? name : "overview", rest, parameters: new URLSearchParams(query ?? "") };
}

function go() {
  const { name, rest, parameters } = place();
  if (name !== shown) {
    view?.close?.();
    const root = element("div");
    view = VIEWS[name].open(root);
    find("view").replaceChildren(root);
    say(find("title"), VIEWS[name].title);
    for (const link of document.querySelectorAll("nav a")) {
      if (link.hash === `#${name}`) {
        link.setAttribute("aria-current", "page");
        link.scrollIntoView({ block: "nearest", inline: "nearest" });
      } else link.removeAttribute("aria-current");
    }
    if (shown !== null) {
      scrollTo(0, 0);
      find("content").focus({ preventScroll: true });
    }
    shown = name;
  }
  view.go?.(rest, parameters);
  refresh();
}

function refresh() {
  const { status, gone } = gateway;
  document.body.classList.toggle("stale", gone !== null);
  find("gone").hidden = gone === null;
  if (gone) {
    say(find("gone"), `No answer since ${gone.since.toLocaleTimeString()}: ${gone.why}. Asking again every second; below is what was last known.`);
  }
  if (!status) return;
  const behind = status.revision !== null && status.revision < status.head ? `, the store is at ${status.head}` : "";
  const live = status.revision === null ? "no revision live yet" : `revision ${status.revision} live${behind}`;
  const parts = [live, `generation ${text.count(status.generation)}`, `up ${text.duration(status.uptime_seconds)}`];
  const [first, ...others] = parts;
  const state = find("state");
  if (state.textContent !== parts.join(" · ")) {
    state.replaceChildren(element("strong", { text: first }), ` · ${others.join(" · ")}`);
  }
  document.title = `Rewire · ${live}`;
  const driver = status.driver === "dpdk" ? `DPDK ${status.hugepages ? "with" : "without"} hugepages` : `${status.driver} ports`;
  say(find("about"), `rewire ${status.program}, process ${status.pid}, ${text.plural(status.workers, "worker")}, ${driver}, ${status.store}`);
  view.update?.();
}

listen(refresh);
addEventListener("hashchange", go);
// The state is read out when something happens, not each second for the sake of the clock.
find("state").setAttribute("aria-live", "off");
go();
follow();
