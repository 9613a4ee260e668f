/* Findings browser: filters, a list, and what a finding opens: sentence, diagram, table of its operations. */
"use strict";

lw.findings = (() => {
  const PAGE = 25;
  const all = lw.data.findings.map((finding, index) => ({ ...finding, index }));
  const whole = document.getElementById("whole-run");
  if (whole) {
    const draw = () => lw.diagram.draw(whole, { ops: lw.data.operations }, { near: false, squeeze: true });
    document.getElementById("whole-run-key").append(lw.diagram.key());
    draw();
    new ResizeObserver(draw).observe(whole.parentElement);
  }
  const list = document.getElementById("finding-list");
  if (!list) return null;
  const form = document.getElementById("filters");
  const found = document.getElementById("found");
  const more = document.getElementById("more");
  let shown = PAGE;
  let matching = all;

  // Filters

  const distinct = (values) => [...new Set(values)];
  function fill(name, options) {
    const select = form.elements[name];
    for (const [value, text] of options) select.append(lw.html("option", { value }, text));
  }
  const totals = lw.data.totals;
  fill("check", [["", "all"], ...Object.entries(totals).map(([check, n]) => [check, `${check} (${lw.count(n)})`])]);
  fill("region", [["", "all"], ...distinct(all.flatMap((one) => one.regions)).sort((a, b) => lw.regionIndex(a) - lw.regionIndex(b)).map((region) => [region, region])]);
  fill("fault", [["", "all"], ["-", "outside of faults"], ...lw.data.faults.map((fault) => [fault.id, fault.what])]);
  document.getElementById("keys").append(...distinct(all.map((one) => one.key)).slice(0, 500).map((key) => lw.html("option", { value: key })));
  form.hidden = false;

  const orders = {
    worst: (a, b) => a.index - b.index,
    time: (a, b) => a.at - b.at || a.index - b.index,
    stale: (a, b) => (b.stale_ms ?? -1) - (a.stale_ms ?? -1) || a.index - b.index,
  };

  function filter() {
    const wanted = Object.fromEntries(new FormData(form));
    matching = all.filter((one) =>
      (!wanted.check || one.check === wanted.check) &&
      (!wanted.key || one.key.toLowerCase().includes(wanted.key.toLowerCase())) &&
      (!wanted.region || one.regions.includes(wanted.region)) &&
      (!wanted.fault || (wanted.fault === "-" ? !one.fault : one.fault === wanted.fault))).sort(orders[wanted.order]);
    shown = PAGE;
    render();
  }

  function render() {
    list.replaceChildren(...matching.slice(0, shown).map(row));
    const rest = matching.length - shown;
    more.hidden = rest <= 0;
    more.textContent = `Show ${Math.min(rest, 2 * PAGE)} more of ${lw.count(rest)}`;
    const held = all.length === matching.length ? `${lw.count(all.length)} on this page` : `${lw.count(matching.length)} of ${lw.count(all.length)} on this page`;
    const total = Object.values(totals).reduce((sum, n) => sum + n, 0);
    found.textContent = total > all.length ? `${held}; ${lw.count(total)} in findings.parquet.` : `${held}.`;
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  more.addEventListener("click", () => {
    const first = shown;
    shown += 2 * PAGE;
    render();
    list.children[first]?.querySelector("button").focus();
  });
  for (const link of document.querySelectorAll("[data-filter-check], [data-filter-key]")) link.addEventListener("click", () => {
    form.reset();
    setTimeout(() => {
      if (link.dataset.filterCheck !== undefined) form.elements.check.value = link.dataset.filterCheck;
      else form.elements.key.value = link.dataset.filterKey;
      filter();
    });
  });

  // One finding

  const faultName = (id) => lw.data.faults.find((fault) => fault.id === id)?.what ?? id;

  function row(finding) {
    const id = `finding-${finding.index + 1}`;
    const button = lw.html("button", { type: "button", "aria-expanded": "false", "aria-controls": `${id}-body` },
      lw.icon("open", "turn"),
      lw.html("span", { class: "when" }, lw.html("span", { class: "unseen" }, "at "), lw.clock(finding.at / 1e9)),
      lw.html("span", { class: "sentence" }, finding.sentence),
      lw.html("span", { class: "meta" },
        finding.fault ? lw.html("span", { class: "tag fault wide", title: faultName(finding.fault) }, "in fault") : null,
        lw.html("span", { class: "tag wide", title: finding.key }, finding.key),
        lw.html("span", { class: "tag" }, finding.check)));
    const body = lw.html("div", { class: "body", id: `${id}-body`, hidden: true });
    button.addEventListener("click", () => toggle(button, body, finding));
    return lw.html("li", { class: "finding", id }, lw.html("h3", {}, button), body);
  }

  function toggle(button, body, finding) {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    body.hidden = !open;
    if (open && !body.childElementCount) fillBody(body, finding);
    if (open) try { history.replaceState(null, "", `#${body.parentElement.id}`); } catch { /* not every browser lets a file do this */ }
  }

  function fillBody(body, finding) {
    if (!finding.ops.length) { body.append(facts(finding)); return; }
    const host = lw.html("div", { class: "diagram" });
    const options = { near: false, squeeze: true };
    const redraw = () => lw.diagram.draw(host, finding, options);
    const tools = lw.html("div", { class: "tools" });
    const option = (name, text) => {
      const button = lw.html("button", { type: "button", class: "button", "aria-pressed": String(options[name]), click: () => {
        options[name] = !options[name];
        button.setAttribute("aria-pressed", String(options[name]));
        redraw();
      } }, text);
      tools.append(button);
    };
    if (lw.diagram.hasIdleTime(finding)) option("squeeze", "Cut idle time short");
    if (finding.near?.length) option("near", `Other operations on this key (${finding.near.length})`);
    const inTime = finding.at / 1e9;
    tools.append(lw.html("a", { class: "button", href: "#time", click: () => lw.charts.zoom(inTime - 5, inTime + 5) }, "This moment on the charts"));
    const next = (step) => () => {
      const target = step > 0 ? body.parentElement.nextElementSibling : body.parentElement.previousElementSibling;
      const other = target?.querySelector("h3 > button");
      if (!other) return;
      if (other.getAttribute("aria-expanded") !== "true") other.click();
      other.focus({ preventScroll: true });
      target.scrollIntoView({ block: "start" });
    };
    tools.append(lw.html("button", { type: "button", class: "button", click: next(-1) }, "Previous"), lw.html("button", { type: "button", class: "button", click: next(1) }, "Next"));
    body.append(facts(finding), host, lw.diagram.key(), tools, table(finding));
    redraw();
    let before = host.clientWidth;
    new ResizeObserver(() => { if (Math.abs(host.clientWidth - before) > 1) { before = host.clientWidth; redraw(); } }).observe(host);
    light(body);
  }

  function facts(finding) {
    const slack = finding.gamma === undefined ? null : `clocks would have to be off by ${lw.span(finding.gamma)} to explain it`;
    const stale = finding.stale_ms === undefined ? null : `stale by ${lw.ms(finding.stale_ms)}`;
    const behind = finding.stale_versions === undefined ? null : `${lw.count(finding.stale_versions)} ${finding.stale_versions === 1 ? "version" : "versions"} behind`;
    const during = finding.fault ? `during: ${faultName(finding.fault)}` : null;
    return lw.html("p", { class: "full note" }, lw.html("code", {}, finding.key), ...[finding.regions.join(", "), stale, behind, slack, during].filter(Boolean).map((text) => ` · ${text}`));
  }

  function table(finding) {
    const numberOf = new Map(finding.ops.map((op, i) => [op.id, i + 1]));
    const writer = (mark) => {
      if (mark === undefined) return "";
      if (mark === "none") return "no item";
      return numberOf.has(mark) ? [lw.html("span", { class: "circle" }, numberOf.get(mark)), ` ${mark}`] : mark;
    };
    const head = ["", "Operation", "Region", "Process", "Kind", "Value", "Result", "Saw writer", "On top of", "Outcome", "Start", "Took"];
    const numeric = new Set(["Value", "Result", "Start", "Took"]);
    return lw.html("div", { class: "scroll", role: "region", "aria-label": "Operations of this finding", tabindex: 0 },
      lw.html("table", { class: "ops" },
        lw.html("thead", {}, lw.html("tr", {}, ...head.map((text) => lw.html("th", { scope: "col", class: numeric.has(text) ? "num" : null }, text || lw.html("span", { class: "unseen" }, "Number"))))),
        lw.html("tbody", {}, ...finding.ops.map((op, i) => lw.html("tr", { "data-op": op.id },
          lw.html("th", { scope: "row" }, lw.html("span", { class: "circle" }, i + 1)),
          lw.html("td", {}, lw.html("code", {}, op.id)),
          lw.html("td", {}, lw.html("span", { class: "region", "data-region": lw.regionIndex(op.region) % 6 }, op.region)),
          lw.html("td", {}, op.process ?? "?"),
          lw.html("td", {}, op.kind),
          lw.html("td", { class: "num" }, op.value ?? ""),
          lw.html("td", { class: "num" }, op.result ?? ""),
          lw.html("td", {}, writer(op.saw)),
          lw.html("td", {}, writer(op.prev)),
          lw.html("td", { class: `outcome-${op.outcome}` }, op.error ? `${op.outcome}: ${op.error}` : op.outcome),
          lw.html("td", { class: "num" }, lw.clock(op.start / 1e9, 4)),
          lw.html("td", { class: "num" }, op.end === undefined ? "–" : lw.span(op.end - op.start)))))));
  }

  /** Pointing at a bar lights its row, and the other way round. */
  function light(body) {
    const show = (event) => {
      const id = event.target.closest?.("[data-op]")?.dataset.op;
      for (const element of body.querySelectorAll("[data-op]")) element.classList.toggle("lit", element.dataset.op === id);
    };
    for (const name of ["pointerover", "focusin", "pointerleave"]) body.addEventListener(name, show);
  }

  /** Open the finding that the address names. */
  function openFromAddress() {
    const match = /^#finding-(\d+)$/.exec(location.hash);
    if (!match) return;
    const position = matching.findIndex((one) => one.index === Number(match[1]) - 1);
    if (position < 0) return;
    shown = Math.max(shown, position + 1);
    render();
    const target = document.getElementById(location.hash.slice(1));
    target.querySelector("h3 > button").click();
    target.scrollIntoView();
  }

  filter();
  openFromAddress();
  addEventListener("hashchange", openFromAddress);
  return { filter };
})();
