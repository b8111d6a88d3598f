// Looks at pages from outside, each in a frame of a phone's or a desktop's width, with and without
// scripts, and says what is wrong with each. Pages are put into frames as they are.
"use strict";
const LEAST_PX = 12;
const LEAST_CONTRAST = 4.5;

const parse = (colour) => {
  const numbers = (colour.match(/[\d.]+/g) || []).map(Number);
  if (colour.startsWith("rgb")) return { rgb: numbers.slice(0, 3), alpha: numbers.length > 3 ? numbers[3] : 1 };
  return { rgb: [0, 0, 0], alpha: colour === "none" || colour === "transparent" ? 0 : NaN };
};
const over = (top, below) => top.rgb.map((c, i) => c * top.alpha + below[i] * (1 - top.alpha));
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
};

// Colour behind an element: of the shapes drawn before it, in a drawing, then of its ancestors.
const behind = (view, element) => {
  const layers = [];
  if (element instanceof view.SVGElement && element.ownerSVGElement) {
    const box = element.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    for (const shape of element.ownerSVGElement.querySelectorAll("rect, circle, path")) {
      if (!(shape.compareDocumentPosition(element) & 4)) break;
      const r = shape.getBoundingClientRect();
      if (x < r.left || x > r.right || y < r.top || y > r.bottom) continue;
      const style = view.getComputedStyle(shape);
      const fill = parse(style.fill);
      fill.alpha *= Number(style.fillOpacity) * Number(style.opacity);
      layers.unshift(fill);
    }
  }
  for (let up = element; up; up = up.parentElement) layers.push(parse(view.getComputedStyle(up).backgroundColor));
  let colour = [255, 255, 255];
  for (const layer of layers.reverse()) if (layer.alpha > 0) colour = over(layer, colour);
  return colour;
};

const texts = function* (view) {
  const walker = view.document.createTreeWalker(view.document.body, 4);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.parentElement;
    if (!node.data.trim() || ["SCRIPT", "STYLE", "TITLE", "NOSCRIPT"].includes(element.tagName.toUpperCase())) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    yield [node.data.trim().slice(0, 40), element];
  }
};

const looks = (view, wanted, say) => {
  const { document: page } = view;
  if (view.innerWidth !== wanted.width) say("width: " + view.innerWidth + " instead of " + wanted.width);
  if (view.matchMedia("(prefers-color-scheme: dark)").matches !== wanted.dark) say("scheme: not as asked for");
  const overflow = (when) => {
    const root = page.documentElement;
    if (root.scrollWidth > view.innerWidth) say("overflow " + when + ": " + root.scrollWidth + " px wide");
    for (const element of page.body.querySelectorAll("*")) {
      const hides = ["hidden", "clip"].includes(view.getComputedStyle(element).overflowX);
      if (hides && element.scrollWidth > element.clientWidth + 1) say("clipped " + when + ": " + element.tagName + "." + element.className);
    }
  };
  const legible = () => {
    const known = new Map();
    for (const [words, element] of texts(view)) {
      const style = view.getComputedStyle(element);
      const drawn = element instanceof view.SVGElement;
      const scale = drawn ? Math.hypot(element.getScreenCTM().a, element.getScreenCTM().b) : 1;
      const size = parseFloat(style.fontSize) * scale;
      if (size < LEAST_PX - 0.01) say("small: " + size.toFixed(1) + " px: " + words);
      const ground = behind(view, element);
      const key = (drawn ? style.fill : style.color) + " on " + ground.map(Math.round);
      if (known.has(key)) continue;
      known.set(key, true);
      const ink = parse(drawn ? style.fill : style.color);
      const ratio = contrast(over(ink, ground), ground);
      if (!(ratio >= LEAST_CONTRAST)) say("contrast: " + ratio.toFixed(2) + " (" + key + "): " + words);
    }
  };
  overflow("as opened");
  legible();
  for (const element of page.body.querySelectorAll("details")) element.open = true;
  overflow("unfolded");
  legible();
};

const sound = (view, say) => {
  const { document: page } = view;
  for (const element of page.querySelectorAll("[src], [srcset], [href], [action], [data], [poster]")) {
    for (const name of ["src", "srcset", "href", "action", "data", "poster"]) {
      const value = element.getAttribute(name);
      if (value === null) continue;
      if (!value.startsWith("#")) say("outside: " + element.tagName + " " + name + "=" + value);
      else if (!page.getElementById(value.slice(1))) say("dead link: " + value);
    }
  }
  if (view.performance.getEntriesByType("resource").length) say("outside: something was fetched");
  const ids = new Set();
  for (const element of page.querySelectorAll("[id]")) {
    if (ids.has(element.id)) say("id twice: " + element.id);
    ids.add(element.id);
  }
  if (page.querySelectorAll("h1").length !== 1) say("headings: not one h1");
  if (!page.documentElement.lang || !page.title) say("head: no language or title");
  for (const table of page.querySelectorAll("table")) if (!table.querySelector("th")) say("table without headers");
  for (const svg of page.querySelectorAll("svg")) if (!svg.querySelector("title") && !svg.hasAttribute("aria-label")) say("drawing without a name");
  for (const source of page.querySelectorAll("[data-shows]")) {
    const reached = source.matches("a[href], [tabindex]") || source.querySelector("a[href], summary, [tabindex]");
    if (!reached) say("not reached by keyboard: " + source.dataset.shows);
    if (!page.getElementById(source.dataset.shows)) say("shows nothing: " + source.dataset.shows);
  }
  for (const element of page.querySelectorAll(".scroll, pre")) {
    const keyed = element.matches("[tabindex]") || element.querySelector("a[href], summary, [tabindex], button");
    if (element.scrollWidth > element.clientWidth && element.checkVisibility() && !keyed) say("scrolls, not by keyboard: " + element.textContent.trim().slice(0, 30));
  }
};

// With scripts: what is pointed at is shown, whatever it is pointed at with; steps step.
const acts = (view, say) => {
  const { document: page } = view;
  const words = (element) => element.textContent.replace(/\s+/g, " ").trim();
  for (const section of page.querySelectorAll("section")) {
    const panel = section.querySelector("[data-panel]");
    const sources = [...section.querySelectorAll("[data-shows]")];
    const teller = section.querySelector("[data-tells]");
    if (teller) {
      teller.dispatchEvent(new view.Event("mouseover", { bubbles: true }));
      if (!panel || words(panel) !== teller.dataset.tells) say("mouseover tells nothing");
    }
    if (!panel || sources.length < 2) continue;
    const some = [sources[1], sources[sources.length >> 1], sources[0]];
    ["mouseover", "focusin", "click"].forEach((kind, i) => {
      some[i].dispatchEvent(new view.Event(kind, { bubbles: true, cancelable: true }));
      const wanted = words(page.getElementById(some[i].dataset.shows));
      if (!wanted || words(panel) !== wanted) say(kind + " shows not " + some[i].dataset.shows);
      if (!panel.checkVisibility()) say(kind + ": the panel is hidden");
    });
  }
  for (const group of page.querySelectorAll("[data-steps]")) {
    const steps = group.querySelectorAll("[data-step]");
    if (steps.length < 2) continue;
    const [back, forth] = group.querySelectorAll(".stepper button");
    if (!forth) { say("steps: no buttons"); continue; }
    while (!back.disabled) back.click();
    for (let i = 1; i < steps.length; i++) forth.click();
    const last = steps[steps.length - 1];
    const where = group.querySelector(".stepper output").textContent;
    if (!forth.disabled || !last.classList.contains("now")) say("steps: the last is not reached");
    if (!where.startsWith(steps.length + " of " + steps.length)) say("steps: " + where);
    if (!last.checkVisibility()) say("steps: the last is hidden");
    back.click();
    if (last.classList.contains("now")) say("steps: no way back");
    for (const card of group.querySelectorAll("[data-card]")) if (!words(card)) say("steps: an empty card");
  }
};

const catcher = "<script>window.caught=[];" +
  "addEventListener('error',(e)=>caught.push('error: '+e.message));" +
  "addEventListener('unhandledrejection',(e)=>caught.push('error: '+e.reason));" +
  "addEventListener('securitypolicyviolation',(e)=>caught.push('outside: '+e.blockedURI));" +
  "for(const k of ['error','warn'])console[k]=(...a)=>caught.push('console: '+a.join(' '));</" + "script>";

const see = (html, wanted) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.width = wanted.width;
  frame.height = wanted.width < 600 ? 800 : 900;
  frame.style.border = 0;
  frame.sandbox = wanted.scripts ? "allow-same-origin allow-scripts" : "allow-same-origin";
  frame.srcdoc = wanted.scripts ? html.replace("<head>", "<head>" + catcher) : html;
  frame.addEventListener("load", () => {
    const complaints = new Set();
    const say = (words) => complaints.add(words);
    const view = frame.contentWindow;
    try {
      const ran = view.caught !== undefined;
      if (ran !== wanted.scripts) say("scripts: not as asked for");
      sound(view, say);
      if (wanted.scripts) acts(view, say);
      looks(view, wanted, say);
      for (const words of view.caught || []) say(words);
    } catch (error) {
      say("probe: " + error.stack);
    }
    frame.remove();
    done([...complaints].slice(0, 20));
  }, { once: true });
  document.body.append(frame);
});

(async () => {
  const given = JSON.parse(document.getElementById("given").textContent);
  const found = [];
  for (const [name, html] of given.pages) {
    for (const width of given.widths) {
      for (const scripts of [true, false]) {
        const wanted = { width, scripts, dark: given.dark };
        const complaints = await see(html, wanted);
        found.push({ page: name, width, scripts, complaints });
      }
    }
  }
  const out = document.createElement("pre");
  out.id = "found";
  out.textContent = JSON.stringify(found);
  document.body.append(out);
})();
