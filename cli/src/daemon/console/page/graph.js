// The graph of the dataplane: its nodes, and the packets that go over its edges now. An edge is as broad as it is busy.

import { gateway, rate } from "./gateway.js";
import { element, say, section, Table } from "./elements.js";
import { svg } from "./chart.js";
import * as text from "./text.js";

export const title = "Graph";

const WIDTH = 136;
const HEIGHT = 44;
const COLUMN = 156;
const ROW = 80;

// Where nodes stand: column and row. One that is not here stands below all others.
const PLACES = {
  rx: [0, 1],
  fast_path: [1, 0],
  ethernet_input: [1, 1],
  arp: [2, 2],
  ip_input: [2, 1],
  icmp_error: [1, 2],
  ndp: [3, 3],
  ingress_nat: [3, 1],
  virtual_reassembly: [3, 2],
  route: [4, 1],
  local: [4, 3],
  acl: [5, 2],
  hop_limit: [5, 1],
  neighbor: [6, 2],
  mtu: [6, 1],
  egress_nat: [7, 1],
  nat64: [7, 2],
  ethernet_output: [8, 1],
  fragment: [8, 2],
  tx: [9, 1],
};

/** Where a node stands: the middle of its box. */
function place(name, unplaced) {
  const known = PLACES[name];
  const [column, row] = known ?? [unplaced.indexOf(name), 4];
  return [WIDTH / 2 + 4 + column * COLUMN, HEIGHT / 2 + 8 + row * ROW];
}

/** A curve from the one box's right side to the other's left, or around where that is no way forward. */
function curve([x1, y1], [x2, y2]) {
  if (x2 > x1 + WIDTH) {
    const [from, to] = [x1 + WIDTH / 2, x2 - WIDTH / 2 - 5];
    // Above all others there is nothing in the way.
    if (y1 < ROW && y2 > y1) return `M${from} ${y1}H${to - COLUMN}C${to - COLUMN / 2} ${y1} ${to - COLUMN / 2} ${y2} ${to} ${y2}`;
    const half = Math.max(18, (to - from) / 2);
    // What passes other boxes goes between the rows.
    const isFar = x2 - x1 > COLUMN * 1.5 && y1 === y2;
    const bend = isFar ? y1 - ROW * 0.55 : null;
    if (bend !== null) return `M${x1 + 30} ${y1 - HEIGHT / 2}C${x1 + 60} ${bend} ${x2 - 60} ${bend} ${x2 - 30} ${y2 - HEIGHT / 2 - 5}`;
    return `M${from} ${y1}C${from + half} ${y1} ${to - half} ${y2} ${to} ${y2}`;
  }
  // Up, down or back.
  const isDown = y2 > y1;
  const side = isDown ? 1 : -1;
  const [from, to] = [y1 + (side * HEIGHT) / 2, y2 - side * (HEIGHT / 2 + 5)];
  const apart = x1 === x2 ? 0 : Math.sign(x2 - x1) * 20;
  return `M${x1 + apart} ${from}C${x1 + apart} ${from + side * 30} ${x2 - apart} ${to - side * 30} ${x2 - apart} ${to}`;
}

/** All edges: those of the graph, and how packets come into it and leave it. */
function edges(status) {
  const inner = status.edges.map(({ from, to }) => {
    const find = (one) => one.edges.find((edge) => edge.from === from && edge.to === to)?.packets;
    return { from, to, count: find };
  });
  const sent = (one, node) => one.edges.filter((edge) => edge.from === node).reduce((sum, edge) => sum + edge.packets, 0);
  return [
    { from: "rx", to: "fast_path", count: (one) => one.nodes.fast_path },
    { from: "rx", to: "ethernet_input", count: (one) => one.nodes.ethernet_input },
    ...inner,
    { from: "fast_path", to: "tx", count: (one) => one.nodes.fast_path },
    { from: "ethernet_output", to: "tx", count: (one) => one.nodes.ethernet_output - sent(one, "ethernet_output") },
    { from: "fragment", to: "tx", count: (one) => one.nodes.fragment },
  ];
}

export function open(root) {
  const picture = svg("svg", { class: "graph", role: "img", "aria-label": "The graph; the table below has the same numbers" });
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "The graph of the dataplane" }, picture);
  const chart = section("Packets through the graph, now", element("p", { text: "What a node sends nowhere was dropped, held or taken in there." }));
  chart.append(scroll);
  const seen = (node) => rate((one) => one.nodes[node]);
  const table = new Table({
    caption: "Nodes of the graph",
    columns: [
      { title: "Node", cell: (node) => text.words(node.name) },
      { title: "Now", kind: "number", cell: (node) => text.packets(seen(node.name)) },
      { title: "Packets", kind: "number", cell: (node) => text.count(node.packets) },
      { title: "Sends on, now", kind: "wide", cell: (node) => node.sends },
    ],
    key: (node) => node.name,
    empty: "No node is known.",
  });
  const list = section("Nodes");
  list.append(table.node);
  root.append(chart, list);

  let shape = "";
  let lines = [];
  const boxes = new Map();

  /** Draws the graph anew: once, as its shape does not change while the gateway runs. */
  function draw(status) {
    const all = edges(status);
    const names = ["rx", ...Object.keys(status.nodes), "tx"];
    const unplaced = names.filter((one) => !(one in PLACES));
    const at = (one) => place(one, unplaced);
    const places = names.map(at);
    const width = Math.max(...places.map(([x]) => x)) + WIDTH / 2 + 4;
    const height = Math.max(...places.map(([, y]) => y)) + HEIGHT / 2 + 22;
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const marker = (id, kind) =>
      svg("marker", { id, viewBox: "0 0 6 6", refX: 1, refY: 3, markerWidth: 6, markerHeight: 6, markerUnits: "userSpaceOnUse", orient: "auto" }, svg("path", { class: kind, d: "M0 0L6 3L0 6Z" }));
    lines = all.map((edge) => {
      const path = svg("path", { class: "edge", d: curve(at(edge.from), at(edge.to)), "marker-end": "url(#idle-end)" });
      const title = svg("title");
      path.append(title);
      return { ...edge, path, title };
    });
    boxes.clear();
    const shapes = names.map((one) => {
      const [x, y] = at(one);
      const value = svg("text", { x, y: y + 13, class: "value" });
      const label = svg("text", { x, y: y - 4 }, text.words(one));
      const box = svg("rect", { x: x - WIDTH / 2, y: y - HEIGHT / 2, width: WIDTH, height: HEIGHT, rx: 4 });
      const group = svg("g", { class: "node" }, box, label, value);
      boxes.set(one, { group, value });
      return group;
    });
    const defs = svg("defs", {}, marker("idle-end", "end"), marker("busy-end", "end busy"));
    picture.replaceChildren(defs, ...lines.map((line) => line.path), ...shapes);
  }

  return {
    update() {
      const { status } = gateway;
      if (!status) return;
      const now = JSON.stringify([Object.keys(status.nodes), status.edges.map((edge) => [edge.from, edge.to])]);
      if (now !== shape) {
        shape = now;
        draw(status);
      }
      const sends = new Map();
      for (const line of lines) {
        const packets = rate(line.count);
        const isBusy = packets > 0;
        line.path.setAttribute("class", isBusy ? "edge busy" : "edge");
        line.path.setAttribute("marker-end", isBusy ? "url(#busy-end)" : "url(#idle-end)");
        line.path.setAttribute("stroke-width", isBusy ? (1.5 + Math.min(5, Math.log10(1 + packets))).toFixed(1) : "1");
        say(line.title, `${text.words(line.from)} to ${text.words(line.to)}: ${text.packets(packets)}`);
        if (isBusy) sends.set(line.from, [...(sends.get(line.from) ?? []), `${text.words(line.to)} ${text.packets(packets)}`]);
      }
      for (const [one, { group, value }] of boxes) {
        const packets = one === "rx" ? rate((s) => s.packets.received) : one === "tx" ? rate((s) => s.packets.transmitted) : seen(one);
        value.textContent = text.packets(packets);
        group.setAttribute("class", packets > 0 ? "node busy" : "node");
      }
      table.show(Object.entries(status.nodes).map(([node, packets]) => ({ name: node, packets, sends: (sends.get(node) ?? []).join(", ") })));
    },
  };
}
