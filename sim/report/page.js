// What a page can do beyond being read: show what is pointed at, step through what happened.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const text = (tag, words) => Object.assign(document.createElement(tag), { textContent: words });

  // Pointing at [data-shows=ID], or focusing or touching it, copies what #ID holds into the panel of
  // its section, and marks both; [data-tells=WORDS] says the words there.
  const show = (source) => {
    const section = source.closest("section");
    const panel = section && section.querySelector("[data-panel]");
    if (!panel) return;
    if (source.dataset.tells) {
      panel.replaceChildren(text("p", source.dataset.tells));
    } else {
      const target = document.getElementById(source.dataset.shows);
      if (!target) return;
      const held = target.cloneNode(true);
      held.removeAttribute("id");
      panel.replaceChildren(held);
    }
    for (const element of section.querySelectorAll(".lit")) element.classList.remove("lit");
    for (const element of section.querySelectorAll("[data-shows]")) {
      element.classList.toggle("lit", element.dataset.shows === source.dataset.shows);
    }
    source.classList.add("lit");
  };
  // To begin with: where it went wrong, or where it ended.
  for (const panel of document.querySelectorAll("[data-panel]")) {
    const cells = [...panel.closest("section").querySelectorAll(".cell[data-shows]")];
    const first = cells.find((cell) => cell.classList.contains("fault")) || cells.pop();
    if (first) show(first);
  }
  for (const kind of ["mouseover", "focusin", "click"]) {
    document.addEventListener(kind, (event) => {
      const source = event.target.closest && event.target.closest("[data-shows], [data-tells]");
      if (!source) return;
      if (kind === "click" && source.tagName === "A") event.preventDefault();
      show(source);
    });
  }

  // [data-steps] holds [data-step] elements in order; one at a time is the one looked at.
  for (const group of document.querySelectorAll("[data-steps]")) {
    const steps = [...group.querySelectorAll("[data-step]")];
    if (steps.length < 2) continue;
    const one = group.dataset.steps === "one";
    const bar = document.createElement("div");
    bar.className = "stepper";
    const back = text("button", "\u2190");
    back.setAttribute("aria-label", "step back");
    const forth = text("button", "\u2192");
    forth.setAttribute("aria-label", "step forth");
    const slider = Object.assign(document.createElement("input"), {
      type: "range", min: 0, max: steps.length - 1, value: 0,
    });
    slider.setAttribute("aria-label", "step");
    const where = document.createElement("output");
    bar.append(back, slider, forth, where);
    const home = group.querySelector("[data-stepper]") || group;
    home.prepend(bar);
    const marks = group.querySelectorAll("[data-goes]");
    const cards = group.querySelectorAll("[data-card]");
    const go = (to) => {
      const at = Math.max(0, Math.min(steps.length - 1, to));
      steps.forEach((step, i) => {
        step.classList.toggle("now", i === at);
        if (one) step.hidden = i !== at;
      });
      slider.value = at;
      back.disabled = at === 0;
      forth.disabled = at === steps.length - 1;
      where.textContent = (at + 1) + " of " + steps.length + ": " + steps[at].dataset.step;
      for (const mark of marks) mark.classList.toggle("now", Number(mark.dataset.goes) === at);
      for (const card of cards) {
        const cell = steps[at].querySelector('[data-of="' + card.dataset.card + '"]');
        if (!cell) continue;
        card.querySelector("[data-state]").textContent = cell.dataset.is;
        card.classList.toggle("changed", cell.classList.contains("changed"));
        card.classList.toggle("called", cell.classList.contains("called"));
      }
    };
    back.addEventListener("click", () => go(Number(slider.value) - 1));
    forth.addEventListener("click", () => go(Number(slider.value) + 1));
    slider.addEventListener("input", () => go(Number(slider.value)));
    for (const mark of marks) {
      mark.addEventListener("click", () => go(Number(mark.dataset.goes)));
    }
    go(Number(group.dataset.first || 0));
  }
})();
