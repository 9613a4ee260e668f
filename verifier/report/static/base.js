/* What every part of the page needs: the data, words for numbers, elements, the theme, copying, where one is. */
"use strict";

const lw = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";

  /** An element with attributes and children; text children are text, never markup. */
  function make(namespace, name, attributes, children) {
    const element = namespace ? document.createElementNS(namespace, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes ?? {})) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") element.addEventListener(key, value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) element.append(child);
    return element;
  }
  const html = (name, attributes, ...children) => make(null, name, attributes, children);
  const svg = (name, attributes, ...children) => make(SVG, name, attributes, children);
  const icon = (name, className) => svg("svg", { class: className ?? "icon", "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

  const digits = (value) => {
    const size = Math.abs(value);
    if (size >= 99.95) return Math.round(value).toLocaleString("en");
    return String(Number(value.toFixed(size >= 9.995 ? 1 : 2)));
  };
  /** Milliseconds, in the unit that reads best; the same rules as verifier/report/words.py. */
  const ms = (value) => (value === null || value === undefined ? "–" : value >= 999.5 ? `${digits(value / 1e3)} s` : `${digits(value)} ms`);
  const span = (ns) => (Math.abs(ns) < 1e5 ? `${digits(ns / 1e3)} µs` : ms(ns / 1e6));
  const count = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en"));
  /** Seconds from t0. */
  const clock = (seconds, places = 2) => {
    if (Math.abs(seconds) < 100) return `${seconds.toFixed(places)} s`;
    const sign = seconds < 0 ? "-" : "";
    const all = Math.abs(seconds);
    const hours = Math.floor(all / 3600);
    const minutes = Math.floor((all % 3600) / 60);
    const rest = (all % 60).toFixed(places).padStart(places ? 3 + places : 2, "0");
    return hours ? `${sign}${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${sign}${minutes}:${rest}`;
  };
  const regionIndex = (name) => data.regions.indexOf(name);

  /** Colour of a token as the browser resolves it, for drawing on a canvas. */
  const colour = (token, alpha = 1) => resolve(`color-mix(in srgb, var(--${token}) ${alpha * 100}%, transparent)`);
  /** The same, mixed with the card behind it and opaque. */
  const tint = (token, share) => resolve(`color-mix(in srgb, var(--${token}) ${share * 100}%, var(--card))`);
  const resolved = new Map();
  function resolve(value) {
    if (!resolved.has(value)) {
      const probe = html("span");
      probe.style.color = value;
      document.body.append(probe);
      resolved.set(value, getComputedStyle(probe).color);
      probe.remove();
    }
    return resolved.get(value);
  }

  const say = (text) => { document.getElementById("say").textContent = text; };

  // Theme: the reader's system decides until the button is used; what is chosen is kept where the browser allows.
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const remembered = () => { try { return localStorage.getItem("lastwriter-theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("lastwriter-theme", theme); } catch { /* a file may have no storage */ } };
  const button = document.getElementById("theme");
  function applied() {
    resolved.clear();
    button.setAttribute("aria-pressed", String(isDark()));
    for (const listener of listeners) listener();
  }
  const kept = remembered();
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  button.hidden = false;
  /** "light", "dark", or nothing: as the system says. */
  function setTheme(theme) {
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    applied();
  }
  button.addEventListener("click", () => {
    setTheme(isDark() ? "light" : "dark");
    remember(root.dataset.theme);
  });
  system.addEventListener("change", applied);
  button.setAttribute("aria-pressed", String(isDark()));

  // Copy buttons
  for (const copy of document.querySelectorAll("[data-copy]")) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      const source = document.getElementById(copy.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
        say("Copied");
        copy.lastElementChild.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
        copy.lastElementChild.textContent = "Selected";
      }
      setTimeout(() => { copy.lastElementChild.textContent = "Copy"; }, 1600);
    });
  }

  // Where one is on the page
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  for (const id of links.keys()) seen.observe(document.getElementById(id));

  return { data, html, svg, icon, ms, span, count, clock, digits, colour, tint, regionIndex, say, setTheme, onTheme: (listener) => listeners.push(listener) };
})();
