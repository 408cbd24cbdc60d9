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

  // a page that could not be read comes by itself as soon as it can
  if (document.querySelector("[data-again]")) {
    const again = async () => {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "manual" }).catch(() => null);
      if (answer && answer.status !== 503) location.reload(); else setTimeout(again, 5000);
    };
    setTimeout(again, 5000);
  }

  function say(text) {
    toast.textContent = text;
    setTimeout(() => { if (toast.textContent === text) toast.textContent = ""; }, 8000);
  }

  // dialogs: the page of an action, without its frame
  let opener = null;
  async function open(link, from) {
    opener = from;
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

  // back to where the dialog was opened, or to the menu that has it
  dialog.addEventListener("close", () => {
    if (!opener || !opener.isConnected) return;
    const menu = opener.closest("details:not([open])");
    (menu ? menu.querySelector("summary") : opener).focus();
    opener = null;
  });

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    const link = target.closest("a[data-dialog]");
    if (link && plain) {
      event.preventDefault();
      open(link.href, link);
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
    if (event.key === "Escape" && !dialog.open) {
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
    // a short file is shown before it is sent; a longer one is sent as it is
    if (field.type === "file" && field.dataset.into && field.files[0] && field.files[0].size <= 65536) {
      field.files[0].text().then((text) => {
        form.elements[field.dataset.into].value = text;
        field.value = "";
      });
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
    // the ledger has not answered since this console began
    live.addEventListener("away", () => { byId("ledger-away").hidden = false; live.classList.add("stale"); });
    live.addEventListener("htmx:after:swap", () => { byId("ledger-away").hidden = true; live.classList.remove("stale"); });
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

  // charts of the last hour: the axis is always the whole hour, in the zone in which the page shows times
  const HOUR = 3600;
  let points = [];
  const plots = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const value = (point, field) => {
    if (!field.startsWith("fence:")) return point[field];
    const found = point.fence.find(([name]) => name === field.slice(6));
    return found ? found[1] : null;
  };
  function draw() {
    for (const [box, plot] of plots) if (!box.isConnected) { plot.destroy(); plots.delete(box); }
    for (const box of document.querySelectorAll(".plot")) {
      const fields = box.dataset.series.split(",");
      const tones = box.dataset.tones.split(",");
      const data = [points.map((point) => point.at), ...fields.map((field) => points.map((point) => value(point, field)))];
      box.classList.toggle("empty-plot", !data.slice(1).some((series) => series.some((one) => one > 0)));
      const known = plots.get(box);
      if (known) { known.setData(data); continue; }
      const [ink, line, language] = [colour("--ink-soft"), colour("--line"), document.documentElement.lang];
      const format = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: box.dataset.zone });
      const number = new Intl.NumberFormat(language, { notation: "compact" });
      const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: `12px ${getComputedStyle(box).fontFamily}` };
      const now = () => (points.length ? points[points.length - 1].at : Math.floor(Date.now() / 1000));
      plots.set(box, new uPlot({
        width: box.clientWidth || 300,
        height: 150,
        padding: [8, 20, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { range: () => [now() - HOUR, now()] }, y: { range: (_, min, max) => [0, Math.max(4, max * 1.1)] } },
        axes: [
          { ...axis, size: 24, gap: 4, incrs: [600, 900, 1800], space: 56, values: (_, ticks) => ticks.map((tick) => format.format(tick * 1000)) },
          { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 1e7], space: 32, values: (_, ticks) => ticks.map((tick) => number.format(tick)) },
        ],
        series: [{}, ...fields.map((_, at) => ({ stroke: colour(`--${tones[at]}-fill`), width: 1.5, spanGaps: false, points: { show: false } }))],
      }, data, box));
    }
  }
  draw();
  addEventListener("resize", () => {
    for (const [box, plot] of plots) plot.setSize({ width: box.clientWidth, height: 150 });
  });
})();
