/* Charts over time: one clock for all of them (zoom, cursor), phases marked, fault windows shaded. */
"use strict";

lw.charts = (() => {
  const time = lw.data.time;
  const x = Array.from({ length: time.count }, (_, i) => time.origin_s + (i + 0.5) * time.width_s);
  const whole = { min: time.origin_s, max: time.origin_s + time.count * time.width_s };
  const faults = lw.data.faults.filter((fault) => fault.onset !== null)
    .map((fault) => ({ ...fault, start: fault.onset / 1e9, end: fault.healed === null ? whole.max : fault.healed / 1e9 }));
  const printWidths = { wide: 1010, main: 612, side: 368 };
  const state = { kind: "all", log: true, min: whole.min, max: whole.max, printing: false };
  const charts = [];
  const font = (size, weight = 400) => `${weight} ${size * devicePixelRatio}px Inter, system-ui, sans-serif`;
  const bucketWords = time.width_s < 1 ? `${time.width_s * 1000} ms` : time.width_s < 120 ? `${time.width_s} s` : `${time.width_s / 60} min`;
  for (const place of document.querySelectorAll("[data-bucket]")) place.textContent = bucketWords;

  // What is drawn behind and above the curves

  function hatch(context, stroke) {
    const size = Math.round(7 * devicePixelRatio);
    const tile = document.createElement("canvas");
    tile.width = tile.height = size;
    const pen = tile.getContext("2d");
    pen.strokeStyle = stroke;
    pen.lineWidth = devicePixelRatio;
    pen.beginPath();
    for (const shift of [-size, 0, size]) { pen.moveTo(shift, size); pen.lineTo(shift + size, 0); }
    pen.stroke();
    return context.createPattern(tile, "repeat");
  }

  /** From seconds to canvas pixels, kept inside the plot. */
  const edges = (u) => (value) => Math.min(Math.max(u.valToPos(value, "x", true), u.bbox.left), u.bbox.left + u.bbox.width);

  function background(labels, marks) {
    return (u) => {
      const { ctx, bbox } = u;
      const edge = edges(u);
      ctx.save();
      for (const fault of faults) {
        const left = edge(fault.start);
        const width = edge(fault.end) - left;
        if (width <= 0) continue;
        ctx.fillStyle = lw.colour("fault", 0.08);
        ctx.fillRect(left, bbox.top, width, bbox.height);
        ctx.fillStyle = hatch(ctx, lw.colour("fault", 0.2));
        ctx.fillRect(left, bbox.top, width, bbox.height);
        ctx.fillStyle = lw.colour("fault", 0.9);
        ctx.fillRect(left, bbox.top, width, 2 * devicePixelRatio);
      }
      ctx.strokeStyle = lw.colour("soft", 0.45);
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
      for (const phase of time.phases) {
        if (phase.start <= u.scales.x.min || phase.start >= u.scales.x.max) continue;
        const at = Math.round(u.valToPos(phase.start, "x", true)) + 0.5;
        ctx.beginPath();
        ctx.moveTo(at, bbox.top - (labels ? 16 * devicePixelRatio : 0));
        ctx.lineTo(at, bbox.top + bbox.height);
        ctx.stroke();
      }
      ctx.setLineDash([]);
      ctx.fillStyle = lw.colour("unknown");
      if (marks) for (const second of time.marked) {
        const left = edge(second);
        ctx.fillRect(left, bbox.top + bbox.height - 4 * devicePixelRatio, Math.max(edge(second + 1) - left, 1), 4 * devicePixelRatio);
      }
      ctx.restore();
    };
  }

  function names(u) {
    const { ctx, bbox } = u;
    const edge = edges(u);
    ctx.save();
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    ctx.font = font(11.5, 500);
    ctx.fillStyle = lw.colour("soft");
    const gap = 5 * devicePixelRatio;
    for (const phase of time.phases) {
      const left = edge(phase.start);
      if (ctx.measureText(phase.name).width + 2 * gap < edge(phase.end) - left) ctx.fillText(phase.name, left + gap, bbox.top - 2 * devicePixelRatio);
    }
    ctx.textBaseline = "top";
    ctx.font = font(11.5, 600);
    ctx.fillStyle = lw.colour("fault");
    for (const fault of faults) {
      const left = edge(fault.start);
      const room = edge(fault.end) - left - 2 * gap;
      for (const text of [fault.what, fault.kind]) {
        if (ctx.measureText(text).width > room) continue;
        ctx.fillText(text, left + gap, bbox.top + 6 * devicePixelRatio);
        break;
      }
    }
    ctx.restore();
  }

  // One chart

  /** spec: host, role (wide, main, side), height, label, series, data(), y {format, range?, log?}, labels, say(i) */
  function build(entry) {
    const { spec } = entry;
    entry.u?.destroy();
    spec.host.replaceChildren();
    const series = spec.series();
    const { list, show } = readout(series, spec.reversed);
    const frame = lw.html("div", {
      class: "chart-frame", tabindex: 0, role: "group", "aria-roledescription": "chart",
      "aria-label": `${spec.label}. Arrow keys read it out, plus and minus zoom, 0 shows the whole run.`,
    });
    spec.host.append(list, frame);
    const grid = { stroke: lw.colour("grid"), width: 1 };
    const axis = { stroke: lw.colour("soft"), font: "12px Inter, system-ui, sans-serif", grid, ticks: { ...grid, size: 4 } };
    const logarithmic = spec.logarithmic && state.log;
    entry.u = new uPlot({
      width: widthOf(entry), height: spec.height, legend: { show: false },
      padding: [spec.labels ? 20 : 8, 18, 0, 0],
      scales: {
        x: { time: false, min: state.min, max: state.max, range: (_, min, max) => [min ?? whole.min, max ?? whole.max] },
        y: { distr: logarithmic ? 3 : 1, range: (u) => spec.range(u.scales.x.min ?? whole.min, u.scales.x.max ?? whole.max, logarithmic) },
      },
      axes: [
        { ...axis, size: 28, gap: 4, space: 64, values: (_, splits) => splits.map((value) => lw.clock(value, Number.isInteger(value) ? 0 : 1)) },
        { ...axis, size: 60, gap: 6, space: 26, ...(logarithmic ? { splits: (u) => powers(u.scales.y.min, u.scales.y.max), filter: (_, splits) => splits } : {}), values: (_, splits) => splits.map((value) => (value === null ? "" : spec.format(value))) },
      ],
      cursor: { sync: { key: "lastwriter", setSeries: false }, drag: { x: true, y: false, dist: 6 }, y: false, points: { size: 7 } },
      series: [{}, ...series.map(({ name, ...rest }) => ({ label: name, points: rest.paths ? { show: false } : { show: true, size: 6, width: 0, fill: rest.stroke, filter: alone }, spanGaps: false, ...rest }))],
      bands: spec.bands ?? [],
      hooks: {
        drawClear: [background(spec.labels, spec.logarithmic)],
        draw: spec.labels ? [names] : [],
        setCursor: [(u) => show(u.cursor.idx, spec)],
        setScale: [(u, key) => { if (key === "x") zoom(u.scales.x.min, u.scales.x.max); }],
      },
    }, [x, ...spec.data()], frame);
    show(null, spec);
    frame.addEventListener("keydown", (event) => keys(event, entry));
    frame.addEventListener("dblclick", () => zoom(whole.min, whole.max));
  }

  /** Powers of ten, and 2 and 5 times them where there are few. */
  function powers(min, max) {
    const steps = max / min > 500 ? [1] : [1, 2, 5];
    const found = [];
    for (let power = 10 ** Math.floor(Math.log10(min)); power <= max * 1.001; power *= 10) for (const step of steps) if (power * step >= min * 0.999 && power * step <= max * 1.001) found.push(power * step);
    return found;
  }

  /** Points with nothing on either side, which no line would show. */
  function alone(u, index) {
    const values = u.data[index];
    return values.flatMap((value, i) => (value !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null ? [i] : []));
  }

  function readout(series, reversed) {
    const list = lw.html("dl", { class: "readout" });
    const cells = series.filter((one) => !one.silent).map((one) => {
      const value = lw.html("dd", {}, "");
      const item = lw.html("div", {}, lw.html("dt", {}, sample(one), one.name), value);
      if (reversed) list.prepend(item); else list.append(item);
      return value;
    });
    const when = lw.html("dd", { class: "when" }, "");
    list.append(lw.html("div", { class: "when" }, lw.html("dt", { class: "unseen" }, "at"), when));
    return {
      list,
      show: (index, spec) => {
        const values = index === null || index === undefined ? null : spec.say(index);
        cells.forEach((cell, i) => { cell.textContent = values ? values[i] : ""; });
        when.textContent = values ? lw.clock(x[index] - time.width_s / 2, time.width_s < 1 ? 1 : 0) : "";
      },
    };
  }

  function sample(one) {
    const drawing = lw.svg("svg", { viewBox: "0 0 20 10", "aria-hidden": "true" });
    if (one.fill) drawing.append(lw.svg("rect", { width: 20, height: 10, rx: 3, fill: one.fill }));
    else drawing.append(lw.svg("path", { d: "M0 5H20", stroke: one.stroke, "stroke-width": one.width, "stroke-dasharray": one.dash?.join(" ") }));
    return drawing;
  }

  const widthOf = (entry) => (state.printing ? printWidths[entry.spec.role] : Math.max(entry.spec.host.clientWidth, 200));

  function zoom(min, max) {
    if (min === null || max === null || min === undefined || max === undefined || max - min < time.width_s / 10) return;
    if (min === state.min && max === state.max) return;
    state.min = min;
    state.max = max;
    for (const { u } of charts) if (u && (u.scales.x.min !== min || u.scales.x.max !== max)) u.setScale("x", { min, max });
    for (const button of document.querySelectorAll("#zooms button")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.min) === min && Number(button.dataset.max) === max));
    }
  }

  function keys(event, entry) {
    const { u, spec } = entry;
    const middle = (state.min + state.max) / 2;
    const half = (state.max - state.min) / 2;
    const at = u.cursor.idx ?? x.findIndex((value) => value >= state.min);
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: x.length - 1 };
    if (event.key in moves) {
      const index = Math.min(Math.max(moves[event.key], 0), x.length - 1);
      u.setCursor({ left: u.valToPos(x[index], "x"), top: 10 });
      const values = spec.say(index);
      lw.say(`${lw.clock(x[index], 0)}: ${spec.series().filter((one) => !one.silent).map((one, i) => `${one.name} ${values[i]}`).join(", ")}`);
    } else if (event.key === "+" || event.key === "=") zoom(Math.max(middle - half / 2, whole.min), Math.min(middle + half / 2, whole.max));
    else if (event.key === "-") zoom(Math.max(middle - half * 2, whole.min), Math.min(middle + half * 2, whole.max));
    else if (event.key === "0") zoom(whole.min, whole.max);
    else return;
    event.preventDefault();
  }

  // What the charts show

  const bars = uPlot.paths.bars({ size: [1, Infinity], gap: time.count > 150 ? 0 : 1 });
  const close = uPlot.paths.bars({ size: [1, Infinity], gap: 0 });
  const perSecond = (counts) => counts.map((count) => count / time.width_s);
  const plus = (...lists) => lists[0].map((_, i) => lists.reduce((sum, list) => sum + list[i], 0));
  const rateRange = (lists) => (min, max) => {
    let top = 0;
    x.forEach((at, i) => { if (at >= min && at <= max) for (const list of lists()) top = Math.max(top, list[i]); });
    return [0, top * 1.12 || 1];
  };

  function overview(host) {
    const lost = perSecond(time.lost);
    const writes = perSecond(time.writes);
    const total = time.lost.reduce((sum, n) => sum + n, 0);
    charts.push({ spec: {
      host, role: "wide", height: 210, labels: true, format: (value) => `${lw.count(value)}/s`,
      label: `Acknowledged writes over time; ${lw.count(total)} of them are lost`,
      series: () => [
        { name: "acknowledged", fill: lw.colour("kept"), stroke: lw.colour("kept"), width: 0, paths: bars },
        { name: "lost", fill: lw.colour("lost"), stroke: lw.colour("lost"), width: 0, paths: bars },
      ],
      data: () => [writes, lost],
      range: rateRange(() => [writes.map((rate) => rate * 1.12)]), // room for the names of the faults
      say: (i) => [lw.count(time.writes[i]), lw.count(time.lost[i])],
    } });
  }

  const groupOf = (region) => time.groups[region]?.[state.kind];
  const empty = { count: [], ok: [], failed: [], unknown: [], percentiles: {} };
  const blank = Array(time.count).fill(null);

  function latencyRange(min, max, logarithmic) {
    let low = Infinity;
    let high = 0;
    for (const region of lw.data.regions) {
      const percentiles = groupOf(region)?.percentiles;
      if (!percentiles) continue;
      x.forEach((at, i) => {
        if (at < min || at > max || percentiles.max[i] === null) return;
        high = Math.max(high, percentiles.max[i]);
        low = Math.min(low, percentiles.p50[i]);
      });
    }
    if (!high) return [0.1, 10];
    return logarithmic ? [10 ** Math.floor(Math.log10(Math.max(low, 1e-3))), 10 ** Math.ceil(Math.log10(high * 1.02))] : [0, high * 1.06];
  }

  function latency(host, region) {
    const hue = `region-${lw.regionIndex(region) % 6}`;
    const of = (name) => groupOf(region)?.percentiles[name] ?? blank;
    const worst = Math.max(...of("p99").map((value) => value ?? 0));
    charts.push({ spec: {
      host, role: "main", height: 216, logarithmic: true, format: lw.ms, range: latencyRange,
      label: `${region}: latency over time; the highest p99 of ${bucketWords} is ${lw.ms(worst)}`,
      series: () => [
        { name: "p50", stroke: lw.colour(hue), width: 2.2 },
        { name: "p99", stroke: lw.colour(hue), width: 1.8, dash: [6, 3] },
        { name: "max", stroke: lw.colour(hue, 0.65), width: 1.2, dash: [1.5, 2.5] },
      ],
      bands: [{ series: [2, 1], fill: () => lw.colour(hue, 0.12) }],
      data: () => [of("p50"), of("p99"), of("max")],
      say: (i) => [lw.ms(of("p50")[i]), lw.ms(of("p99")[i]), lw.ms(of("max")[i])],
    } });
  }

  function rate(host, region) {
    const hue = `region-${lw.regionIndex(region) % 6}`;
    const of = () => groupOf(region) ?? { ...empty, ok: blank, failed: blank, unknown: blank };
    const stacked = (group) => [plus(group.ok, group.failed, group.unknown), plus(group.ok, group.failed), group.ok].map(perSecond);
    charts.push({ spec: {
      host, role: "side", height: 216, reversed: true, format: (value) => `${lw.digits(value)}/s`, label: `${region}: operations a second by outcome`,
      series: () => [
        { name: "unknown", fill: lw.colour("unknown"), stroke: lw.colour("unknown"), width: 0, paths: close },
        { name: "fail", fill: lw.colour("bad"), stroke: lw.colour("bad"), width: 0, paths: close },
        { name: "ok", fill: lw.tint(hue, 0.62), stroke: lw.tint(hue, 0.62), width: 0, paths: close },
      ],
      data: () => stacked(of()),
      range: rateRange(() => lw.data.regions.filter(groupOf).map((name) => stacked(groupOf(name))[0])),
      say: (i) => [of().unknown[i], of().failed[i], of().ok[i]].map(lw.count),
    } });
  }

  /** Counts by name, stacked. */
  function stack(host, counts, label, tokens) {
    const names = Object.keys(counts);
    const lists = names.map((_, first) => plus(...names.slice(first).map((name) => counts[name])));
    charts.push({ spec: {
      host, role: "wide", height: 170, format: (value) => `${lw.digits(value)}/s`, label: `${label}: ${names.join(", ")}`,
      series: () => names.map((name, i) => ({ name, fill: lw.colour(tokens[i % tokens.length]), stroke: lw.colour(tokens[i % tokens.length]), width: 0, paths: bars })),
      data: () => lists.map(perSecond),
      range: rateRange(() => [perSecond(lists[0])]),
      say: (i) => names.map((name) => lw.count(counts[name][i])),
    } });
  }

  function regionRow(region) {
    const figure = (title) => {
      const host = lw.html("div", { class: "chart" });
      return [host, lw.html("figure", {}, lw.html("figcaption", {}, lw.html("b", {}, title)), host)];
    };
    const [latencyHost, latencyFigure] = figure("Latency");
    const [rateHost, rateFigure] = figure("Operations a second");
    const index = lw.regionIndex(region);
    document.getElementById("region-charts").append(lw.html("div", { class: "card region-row", "data-region-row": region },
      lw.html("h3", {}, lw.html("span", { class: "region", "data-region": index % 6 }, region)),
      lw.html("div", { class: "pair" }, latencyFigure, rateFigure)));
    latency(latencyHost, region);
    rate(rateHost, region);
  }

  function controls() {
    const box = document.getElementById("chart-controls");
    const kinds = document.getElementById("chart-kind");
    for (const kind of ["all", ...time.kinds]) kinds.append(lw.html("option", { value: kind }, kind));
    kinds.addEventListener("change", () => { state.kind = kinds.value; redraw(); });
    for (const input of box.querySelectorAll("[name=scale]")) input.addEventListener("change", () => { state.log = input.value === "log" && input.checked; redraw(); });
    const zooms = document.getElementById("zooms");
    const add = (name, min, max) => zooms.append(lw.html("button", { type: "button", class: "quiet", "data-min": min, "data-max": max, "aria-pressed": String(min === state.min && max === state.max), click: () => zoom(min, max) }, name));
    add("Whole run", whole.min, whole.max);
    if (time.phases.length > 1 && time.phases.length <= 8) for (const phase of time.phases) add(phase.name, Math.max(phase.start, whole.min), Math.min(phase.end, whole.max));
    box.hidden = false;
    for (const link of document.querySelectorAll("[data-zoom-fault]")) link.addEventListener("click", () => zoomToFault(link.dataset.zoomFault));
  }

  function zoomToFault(id) {
    const fault = faults.find((one) => one.id === id);
    if (!fault) return;
    const margin = Math.max((fault.end - fault.start) * 0.25, time.width_s * 3);
    zoom(Math.max(fault.start - margin, whole.min), Math.min(fault.end + margin, whole.max));
  }

  const redraw = () => charts.forEach(build);

  const first = document.querySelector("[data-chart=overview]");
  if (first) overview(first);
  for (const region of lw.data.regions) if (time.groups[region]) regionRow(region);
  const palette = ["bad", "unknown", "region-2", "region-3", "region-4", "region-5", "none"];
  for (const [name, counts, label] of [["errors", time.errors, "Operations that were not answered ok, by error"], ["findings", time.findings, "Findings by check"]]) {
    if (!Object.keys(counts).length) continue;
    document.getElementById(`${name}-figure`).hidden = false;
    stack(document.querySelector(`[data-chart=${name}]`), counts, label, palette);
  }
  controls();
  redraw();

  // The same charts at the page's width, on paper, in either theme
  let waiting = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => { if (!state.printing) for (const entry of charts) if (entry.u.width !== widthOf(entry)) entry.u.setSize({ width: widthOf(entry), height: entry.spec.height }); });
  }).observe(document.getElementById("main"));
  lw.onTheme(redraw);
  document.fonts.ready.then(redraw);
  const root = document.documentElement;
  let theme;
  addEventListener("beforeprint", () => { theme = root.dataset.theme; state.printing = true; lw.setTheme("light"); });
  addEventListener("afterprint", () => { state.printing = false; lw.setTheme(theme); });

  return { zoom, zoomToFault, state, charts };
})();
