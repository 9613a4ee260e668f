// What the browser tests ask a page: functions of an object, evaluated in the page.
({
  /** Every canvas of a selector has many colours on it: axes alone have few. */
  drawn(selector) {
    return [...document.querySelectorAll(selector)].every((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const seen = new Set();
      for (let i = 0; i < data.length; i += 4) if (data[i + 3]) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
      return seen.size > 20;
    });
  },

  /** What can be focused and has no name that a screen reader could say. */
  nameless() {
    return [...document.querySelectorAll('button, a, input, select, summary, [tabindex="0"]')]
      .filter((element) => !(element.textContent.trim() || element.getAttribute("aria-label") || element.labels?.length))
      .map((element) => element.outerHTML.slice(0, 120));
  },

  /** Words that do not stand out enough from what is behind them (WCAG AA: 4.5 to 1; 3 to 1 where the type is large). */
  faint() {
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (value) => {
      pen.clearRect(0, 0, 1, 1);
      pen.fillStyle = value;
      pen.fillRect(0, 0, 1, 1);
      return [...pen.getImageData(0, 0, 1, 1).data];
    };
    const over = (top, under) => top.slice(0, 3).map((value, i) => (value * top[3] + under[i] * (255 - top[3])) / 255);
    const luminance = (colour) => {
      const [red, green, blue] = colour.map((value) => (value <= 10.02 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (element) => {
      const layers = [];
      for (let one = element; one; one = one.parentElement) layers.unshift(rgba(getComputedStyle(one).backgroundColor));
      return layers.reduce((under, top) => over(top, under), [255, 255, 255]);
    };
    const shown = (element) =>
      [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && element.checkVisibility() && !element.closest(".unseen, .skip, script");
    return [...document.querySelectorAll("body *:not(svg *)")].filter(shown).flatMap((element) => {
      const style = getComputedStyle(element);
      const under = behind(element);
      const [more, less] = [luminance(over(rgba(style.color), under)), luminance(under)].sort((a, b) => b - a);
      const ratio = (more + 0.05) / (less + 0.05);
      const size = parseFloat(style.fontSize);
      const needed = size >= 24 || (size >= 18.7 && style.fontWeight >= 700) ? 3 : 4.5;
      return ratio < needed ? [`${ratio.toFixed(2)} ${element.tagName}.${element.className}: ${element.textContent.trim().slice(0, 40)}`] : [];
    });
  },

  /** Draw every nth finding in every way; how many drawings there were. Throws at what cannot be seen. */
  drawEvery(nth) {
    const host = document.createElement("div");
    document.getElementById("findings").append(host);
    let drawings = 0;
    for (const finding of lw.data.findings.filter((one, i) => one.ops.length && i % nth === 0)) {
      for (const [near, squeeze] of [[false, true], [true, true], [true, false]]) {
        lw.diagram.draw(host, finding, { near, squeeze });
        drawings += 1;
        if (/NaN|Infinity|undefined/.test(host.innerHTML)) throw new Error(`not a number: ${finding.sentence}`);
        for (const { x, width } of host.querySelectorAll(".op-bar")) {
          const [left, long] = [x.baseVal.value, width.baseVal.value];
          if (!(left >= 0 && long > 0 && left <= host.clientWidth)) throw new Error(`bar at ${left}, ${long} wide: ${finding.sentence}`);
        }
      }
    }
    host.remove();
    return drawings;
  },

  /** Bars of the open diagram: operation → [x, width]. */
  bars() {
    return Object.fromEntries([...document.querySelectorAll(".diagram .op")].map((group) => {
      const { x, width } = group.querySelector(".op-bar");
      return [group.dataset.op, [x.baseVal.value, width.baseVal.value]];
    }));
  },
})
