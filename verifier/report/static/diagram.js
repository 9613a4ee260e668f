/* Space-time diagram of a finding: processes as lanes, time to scale, invoke to answer, a read linked to its write. */
"use strict";

lw.diagram = (() => {
  const BAR = 24;
  const ROW = 18;
  const BREAK = 66;
  const MARGIN = 16;
  const AXIS = 30;
  const READS = new Set(["read", "read_eventual", "txn_read"]);

  /** Draw into `host`; options: {near: show the other operations on the key, squeeze: idle time is cut short}. */
  function draw(host, finding, options) {
    const width = Math.max(host.clientWidth || 690, 280);
    const operations = [
      ...finding.ops.map((op, i) => ({ ...op, number: i + 1 })),
      ...(options.near ? (finding.near ?? []).map((op) => ({ ...op, near: true })) : []),
    ].sort((a, b) => a.start - b.start);
    const scale = makeScale(operations, width, options.squeeze);
    const lanes = makeLanes(operations);
    for (const lane of lanes) captions(lane, scale, width);
    let y = AXIS + 8;
    for (const lane of lanes) { lane.top = y; y += 22 + BAR + lane.rows * ROW + 12; }
    const height = y + (shaded(scale) ? 20 : 4);
    const drawing = lw.svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `Operations of this finding in time, ${lanes.length} lanes; the table below says the same` });
    drawing.append(...shades(scale, height), ...axis(scale, width, height));
    for (const lane of lanes) drawing.append(laneLine(lane, width));
    drawing.append(...breaks(scale, height));
    for (const lane of lanes) drawing.append(laneName(lane));
    const where = new Map();
    for (const lane of lanes) for (const op of lane.operations) where.set(op.id, { op, y: lane.top + 22, lane });
    drawing.append(...links(operations, where, scale));
    for (const lane of lanes) for (const op of lane.operations) drawing.append(bar(op, lane, scale, width));
    host.replaceChildren(drawing);
  }

  /** Would cutting idle time short change anything? */
  const hasIdleTime = (finding) => clusters(finding.ops).some((_, i, all) => i && idle(all, i) > 2 * active(all));

  // Time

  const finish = (op) => op.end ?? op.start;
  const active = (all) => Math.max(all.reduce((sum, one) => sum + one.end - one.start, 0), 1);
  const idle = (all, i) => all[i].start - all[i - 1].end;

  function clusters(operations) {
    const found = [];
    for (const op of [...operations].sort((a, b) => a.start - b.start)) {
      const last = found.at(-1);
      if (last && op.start <= last.end) last.end = Math.max(last.end, finish(op));
      else found.push({ start: op.start, end: finish(op) });
    }
    return found;
  }

  /** Nanoseconds → pixels. Squeezed: stretches of idle time longer than twice all the activity become a break. */
  function makeScale(operations, width, squeeze) {
    const all = clusters(operations);
    const busy = active(all);
    const pieces = [];
    for (let i = 0; i < all.length; i += 1) {
      const last = pieces.at(-1);
      if (last && !(squeeze && idle(all, i) > 2 * busy)) last.end = all[i].end;
      else pieces.push({ ...all[i] });
    }
    const shown = pieces.reduce((sum, piece) => sum + piece.end - piece.start, 0) || 1;
    const pad = shown * 0.04 + 1;
    for (const piece of pieces) { piece.start -= pad; piece.end += pad; }
    const open = operations.some((op) => op.end === undefined);
    const room = width - 2 * MARGIN - BREAK * (pieces.length - 1) - (open ? 50 : 0);
    const total = pieces.reduce((sum, piece) => sum + piece.end - piece.start, 0);
    let left = MARGIN;
    for (const piece of pieces) {
      piece.left = left;
      piece.width = (room * (piece.end - piece.start)) / total;
      left += piece.width + BREAK;
    }
    const end = pieces.at(-1).left + pieces.at(-1).width;
    const at = (ns) => {
      for (let i = 0; i < pieces.length; i += 1) {
        const piece = pieces[i];
        if (ns <= piece.end) {
          if (ns >= piece.start) return piece.left + (piece.width * (ns - piece.start)) / (piece.end - piece.start);
          if (!i) return 0;
          const before = pieces[i - 1];
          return before.left + before.width + (BREAK * (ns - before.end)) / (piece.start - before.end);
        }
      }
      return open ? width : Math.min(width, end + MARGIN);
    };
    return { pieces, at, origin: operations[0].start, first: pieces[0].start, last: pieces.at(-1).end };
  }

  function axis(scale, width, height) {
    const parts = [lw.svg("line", { class: "axis", x1: 0, x2: width, y1: AXIS, y2: AXIS })];
    let free = -Infinity;
    for (const piece of scale.pieces) {
      const wanted = Math.max(Math.floor(piece.width / 96), 1);
      const step = nice((piece.end - piece.start) / wanted);
      for (let t = Math.ceil((piece.start - scale.origin) / step) * step; t + scale.origin <= piece.end; t += step) {
        const at = scale.at(t + scale.origin);
        const text = t === 0 ? lw.clock(scale.origin / 1e9, 3) : `+${fine(t, step)}`;
        const half = text.length * 3.3;
        if (piece !== scale.pieces[0] && at - half < piece.left - 4) continue;
        parts.push(lw.svg("line", { class: "gridline", x1: at, x2: at, y1: AXIS, y2: height }));
        const centre = Math.min(Math.max(at, half + 2), width - half - 2);
        if (centre - half < free) continue;
        free = centre + half + 10;
        parts.push(lw.svg("text", { class: "axis-text", x: centre, y: 19, "text-anchor": "middle" }, text));
      }
    }
    return parts;
  }

  /** A distance in time with as many digits as tell it from its neighbours. */
  function fine(ns, step) {
    const [unit, size] = ns >= 1e9 ? ["s", 1e9] : ns >= 1e6 ? ["ms", 1e6] : ["µs", 1e3];
    return `${(ns / size).toFixed(Math.min(Math.max(Math.ceil(-Math.log10(step / size) - 1e-9), 0), 6))} ${unit}`;
  }

  function nice(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value) ?? 10 * power;
  }

  function breaks(scale, height) {
    return scale.pieces.slice(1).flatMap((piece, i) => {
      const before = scale.pieces[i];
      const left = before.left + before.width;
      const teeth = (at) => { let d = `M${at} ${AXIS - 6}`; for (let y = AXIS - 6, k = 0; y < height; y += 6, k += 1) d += `l${k % 2 ? -5 : 5} 6`; return d; };
      return [
        lw.svg("rect", { class: "gap", x: left + 9, y: 0, width: BREAK - 16, height }),
        lw.svg("path", { class: "gap-edge", d: teeth(left + 8) }), lw.svg("path", { class: "gap-edge", d: teeth(left + BREAK - 10) }),
        lw.svg("text", { class: "gap-text", x: left + BREAK / 2, y: 19, "text-anchor": "middle" }, lw.span(piece.start - before.end)),
      ];
    });
  }

  const overlaps = (fault, scale) => fault.onset !== null && (fault.healed ?? Infinity) >= scale.first && fault.onset <= scale.last;
  const shaded = (scale) => lw.data.faults.some((fault) => overlaps(fault, scale));

  function shades(scale, height) {
    return lw.data.faults.flatMap((fault) => {
      if (!overlaps(fault, scale)) return [];
      const end = fault.healed ?? Infinity;
      const left = fault.onset <= scale.first ? 0 : scale.at(fault.onset);
      const right = end >= scale.last ? scale.at(Infinity) : scale.at(end);
      const parts = [lw.svg("rect", { class: "shade", x: left, y: 0, width: Math.max(right - left, 1), height })];
      if (fault.onset > scale.first) parts.push(lw.svg("line", { class: "shade-edge", x1: left, x2: left, y1: 0, y2: height }));
      if (end < scale.last) parts.push(lw.svg("line", { class: "shade-edge", x1: right, x2: right, y1: 0, y2: height }));
      const from = Math.max(left, 0);
      if (right - from > fault.what.length * 6.6 + 12) parts.push(lw.svg("text", { class: "shade-text", x: right - 8, y: height - 7, "text-anchor": "end" }, fault.what));
      return [lw.svg("g", {}, ...parts, lw.svg("title", {}, fault.what))];
    });
  }

  // Lanes

  function makeLanes(operations) {
    const lanes = new Map();
    for (const op of operations) {
      const name = `${op.region} ${op.process}`;
      if (!lanes.has(name)) lanes.set(name, { region: op.region, process: op.process, operations: [] });
      lanes.get(name).operations.push(op);
    }
    return [...lanes.values()].sort((a, b) => lw.regionIndex(a.region) - lw.regionIndex(b.region) || a.operations[0].start - b.operations[0].start);
  }

  function laneLine(lane, width) {
    const y = lane.top + 22 + BAR / 2;
    return lw.svg("line", { class: "lane-line", x1: 0, x2: width, y1: y, y2: y });
  }

  function laneName(lane) {
    return lw.svg("g", { "data-region": lw.regionIndex(lane.region) % 6 },
      lw.svg("rect", { class: "swatch", x: 6, y: lane.top + 3, width: 9, height: 9, rx: 2.5 }),
      lw.svg("text", { class: "lane-name", x: 20, y: lane.top + 12 }, `${lane.region} · process ${lane.process ?? "?"}`));
  }

  const extent = (op, scale, width) => {
    const left = scale.at(op.start);
    const right = op.end === undefined ? width + 8 : scale.at(op.end);
    return { left, width: Math.max(right - left, 7) };
  };

  /** Captions go under their bars, in as few rows as keep them apart. */
  function captions(lane, scale, width) {
    const rows = [];
    for (const op of lane.operations) {
      const text = op.role ? `${caption(op)} · ${op.role}` : caption(op);
      const size = text.length * 7 + 8;
      const { left } = extent(op, scale, width);
      const from = Math.max(Math.min(left, width - size - 4), 4);
      let row = rows.findIndex((used) => used + 6 < from);
      if (row < 0) row = rows.push(0) - 1;
      rows[row] = from + size;
      op.caption = { text, x: from, row };
    }
    lane.rows = rows.length;
  }

  /** What an operation did, in a few letters. */
  function caption(op) {
    const asked = op.value === undefined ? "" : op.kind === "add" ? ` ${op.value < 0 ? "−" : "+"}${Math.abs(op.value)}` : ` ${op.value}`;
    if (op.outcome === "fail") return `${name(op)}${asked} ✕ ${op.error ?? "failed"}`;
    if (op.outcome === "unknown") return `${name(op)}${asked} ? ${op.error ?? "no answer"}`;
    if (READS.has(op.kind)) return `${name(op)} → ${op.result ?? (op.saw === "none" ? "no item" : "?")}`;
    const told = op.result === undefined || (op.kind !== "add" && op.result === op.value) ? "" : ` → ${op.result}`;
    return `${name(op)}${asked}${told}`;
  }
  const name = (op) => op.kind.replace("_", " ");

  function bar(op, lane, scale, width) {
    const { left, width: long } = extent(op, scale, width);
    const y = lane.top + 22;
    const took = op.end === undefined ? "never answered" : `took ${lw.span(op.end - op.start)}`;
    const group = lw.svg("g", { class: `op ${READS.has(op.kind) ? "read" : "write"} ${op.outcome}${op.near ? " near" : ""}${op.role === "lost" ? " lost" : ""}`, "data-op": op.id, tabindex: op.near ? null : 0, role: op.near ? null : "img", "aria-label": op.near ? null : `${op.number}: ${op.caption.text}, ${op.region}, ${took}` },
      lw.svg("title", {}, `${op.caption.text}\n${op.region} · process ${op.process ?? "?"} · ${lw.clock(op.start / 1e9, 3)} · ${took}`),
      lw.svg("rect", { class: "op-bar", x: left, y, width: long, height: BAR, rx: Math.min(5, long / 2) }));
    if (!op.near) {
      const inside = long > 28;
      const cx = inside ? left + 14 : left - 12 > 10 ? left - 12 : left + long + 12;
      group.append(lw.svg("circle", { class: "badge", cx, cy: y + BAR / 2, r: 9 }), lw.svg("text", { class: "badge-text", x: cx, y: y + BAR / 2 + 4 }, op.number));
    }
    group.append(lw.svg("text", { class: "caption", x: op.caption.x + 2, y: y + BAR + 14 + op.caption.row * ROW }, op.caption.text));
    return group;
  }

  /** From a write to what showed it: solid to a read that returned it, dashed to a write that was made on top of it. */
  function links(operations, where, scale) {
    const drawn = [];
    for (const op of operations) {
      const to = where.get(op.id);
      for (const [field, className] of [["saw", "link"], ["prev", "link prev"]]) {
        if (field === "prev" && (READS.has(op.kind) || op.prev === op.saw)) continue;
        const from = op[field] && op[field] !== op.id ? where.get(op[field]) : null;
        if (!from || (op.near && from.op.near)) continue;
        const x1 = from.op.end === undefined ? scale.at(from.op.start) + 20 : scale.at(from.op.end);
        const x2 = op.end === undefined ? scale.at(op.start) : field === "saw" ? scale.at(op.end) : scale.at(op.start);
        drawn.push(curve(x1, from.y, x2, to.y, className));
      }
    }
    return drawn;
  }

  function curve(x1, fromY, x2, toY, className) {
    const down = toY > fromY;
    const same = toY === fromY;
    const y1 = same ? fromY : down ? fromY + BAR : fromY;
    const y2 = same ? toY : down ? toY : toY + BAR;
    const tip = same || down ? y2 - 1 : y2 + 1;
    const sign = same || down ? 1 : -1;
    const path = same
      ? `M${x1} ${y1}C${x1} ${y1 - 26} ${x2} ${y2 - 26} ${x2} ${tip - 6}`
      : `M${x1} ${y1}C${x1} ${(y1 + y2) / 2} ${x2} ${(y1 + y2) / 2} ${x2} ${tip - sign * 6}`;
    const flavour = className.replace("link", "").trim();
    return lw.svg("g", {}, lw.svg("path", { class: className, d: path }), lw.svg("path", { class: `arrow ${flavour}`, d: `M${x2} ${tip}l-4 ${-sign * 8}h8z` }));
  }

  function key() {
    const box = (className, attributes) => lw.svg("svg", { viewBox: "0 0 22 12", "aria-hidden": "true" }, lw.svg("g", { class: `op ${className}` }, lw.svg("rect", { class: "op-bar", x: 1, y: 1, width: 20, height: 10, rx: 3, ...attributes })));
    const line = (className) => lw.svg("svg", { viewBox: "0 0 22 12", "aria-hidden": "true" }, lw.svg("path", { class: className, d: "M0 6H16" }), lw.svg("path", { class: `arrow ${className.replace("link", "").trim()}`, d: "M22 6l-8-4v8z" }));
    return lw.html("p", { class: "key" },
      ...[[box("write ok"), "write, from invoke to answer"], [box("read ok"), "read"], [box("write fail"), "failed: nothing written"], [box("write unknown"), "outcome unknown"], [line("link"), "the read shows this write"], [line("link prev"), "written on top of"]]
        .map(([drawing, text]) => lw.html("span", {}, drawing, text)));
  }

  return { draw, hasIdleTime, caption, key };
})();
