// The script of the console: dialogs, keys, charts, the browser's zone. Every page works without it, except for live numbers.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const dialog = byId("dialog");
  const toast = byId("toast");

  // the zone of the browser, for times
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = `tm_browser_zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=lax`;

  // the message of the action before this page
  const message = document.cookie.split("; ").find((pair) => pair.startsWith("tm_message="));
  if (message) {
    const text = decodeURIComponent(message.slice(message.indexOf("=") + 1));
    document.cookie = "tm_message=; path=/; max-age=0; samesite=lax";
    if (text) say(text);
  }

  function say(text) {
    toast.textContent = text;
    setTimeout(() => { if (toast.textContent === text) toast.textContent = ""; }, 8000);
  }

  // dialogs: the page of an action, without its frame
  async function open(link) {
    let answer;
    try {
      answer = await fetch(link, { headers: { "X-Dialog": "1" }, credentials: "same-origin" });
    } catch {
      location.href = link;
      return;
    }
    if (answer.status === 401) { location.href = link; return; }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    dialog.replaceChildren(...page.body.childNodes);
    dialog.showModal();
    const cancel = dialog.querySelector("[data-close]");
    if (cancel) cancel.focus();
  }

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    const link = target.closest("a[data-dialog]");
    if (link && plain) {
      event.preventDefault();
      open(link.href);
      return;
    }
    if (target.closest("[data-close]") && dialog.open) {
      event.preventDefault();
      dialog.close();
      return;
    }
    if (target === dialog) dialog.close();
    const copy = target.closest("[data-copy]");
    if (copy && navigator.clipboard) {
      navigator.clipboard.writeText(copy.dataset.copy).then(() => say(copy.dataset.copy));
    }
    // one menu open at a time
    for (const menu of document.querySelectorAll("details.more[open], details.account[open]")) {
      if (!menu.contains(target)) menu.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    const field = event.target instanceof Element && event.target.closest("input, textarea, select");
    if (event.key === "/" && !field && !event.ctrlKey && !event.metaKey) {
      const search = byId("search");
      if (search) { event.preventDefault(); search.focus(); search.select(); }
    }
    if (event.key === "Escape") {
      for (const menu of document.querySelectorAll("details.more[open], details.account[open]")) menu.open = false;
    }
  });

  // a second click does nothing
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    setTimeout(() => { delete form.dataset.sent; }, 5000);
  });

  document.addEventListener("change", (event) => {
    const field = event.target;
    const form = field.form;
    if (form && form.hasAttribute("data-auto") && field.tagName === "SELECT") form.requestSubmit();
    if (field.type === "file" && field.dataset.into && field.files[0]) {
      field.files[0].text().then((text) => { form.elements[field.dataset.into].value = text; });
    }
  });

  // the stream
  const live = byId("live");
  const away = byId("stream-away");
  const show = (is) => { if (away) away.hidden = !is; };
  if (live) {
    live.addEventListener("htmx:sse:error", () => show(true));
    live.addEventListener("htmx:sse:close", () => show(true));
    live.addEventListener("htmx:sse:after:connection", () => show(false));
    live.addEventListener("charts", (event) => { points = JSON.parse(event.detail.data); draw(); });
    live.addEventListener("point", (event) => {
      const point = JSON.parse(event.detail.data);
      const last = points[points.length - 1];
      if (last && last.at === point.at) return;
      points.push(point);
      if (points.length > 720) points.shift();
      draw();
    });
    document.addEventListener("htmx:after:swap", draw);
  }

  // charts of the last hour
  let points = [];
  const plots = new Map();
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return ["--active-fill", "--warn-fill", "--good-fill"].map((name) => style.getPropertyValue(name).trim())
      .concat(style.getPropertyValue("--ink-soft").trim(), style.getPropertyValue("--line").trim());
  };
  const value = (point, field) => {
    if (!field.startsWith("fence:")) return point[field];
    const found = point.fence.find(([name]) => name === field.slice(6));
    return found ? found[1] : null;
  };
  function draw() {
    for (const box of document.querySelectorAll(".plot")) {
      const fields = box.dataset.series.split(",");
      const data = [points.map((point) => point.at), ...fields.map((field) => points.map((point) => value(point, field)))];
      const known = plots.get(box);
      if (known) { known.setData(data); continue; }
      const [first, second, third, ink, line] = colours();
      const labels = box.dataset.labels.split(",");
      const two = (number) => String(number).padStart(2, "0");
      const clock = (_, ticks) => ticks.map((tick) => { const at = new Date(tick * 1000); return `${two(at.getHours())}:${two(at.getMinutes())}`; });
      const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui" };
      const plot = new uPlot({
        width: box.clientWidth || 300,
        height: 150,
        legend: { show: fields.length > 1, live: false },
        cursor: { y: false },
        // a short history does not fill the width
        scales: { x: { range: (_, min, max) => (max ? [Math.min(min, max - 300), max] : [0, 1]) }, y: { range: (_, min, max) => [0, Math.max(1, max * 1.1)] } },
        axes: [{ ...axis, values: clock, space: 70 }, { ...axis, size: 46 }],
        series: [{}, ...fields.map((_, at) => ({ label: labels[at], stroke: [first, second, third][at % 3], width: 1.5, spanGaps: false, points: { show: false } }))],
      }, data, box);
      plots.set(box, plot);
    }
  }
  addEventListener("resize", () => {
    for (const [box, plot] of plots) plot.setSize({ width: box.clientWidth, height: 150 });
  });
})();
