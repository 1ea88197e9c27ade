"use strict";
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
document.body.classList.add("js");
for (const tools of $$(".tools")) tools.hidden = false;

// Colours: the system's, until the button says otherwise.
const theme = document.getElementById("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
const name = () => { theme.textContent = isDark() ? "Light colours" : "Dark colours"; };
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  name();
});
dark.addEventListener("change", name);
name();

// Filter: every word must occur in the benchmark's name.
const filter = document.getElementById("filter");
const count = document.getElementById("count");
const named = $$("[data-id]");
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  let shown = 0;
  for (const element of named) {
    const id = element.dataset.id.toLowerCase();
    element.hidden = !words.every((word) => id.includes(word));
    if (element.tagName === "FIGURE" && !element.hidden) shown += 1;
  }
  count.textContent = filter.value ? `${shown} plots` : "";
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.tagName === "INPUT";
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    filter.focus();
  } else if (event.key === "Escape" && typing) {
    filter.value = "";
    filter.dispatchEvent(new Event("input"));
  }
});

// Points: one stop for each plot, arrows within it.
for (const figure of $$("figure")) {
  const dots = $$(".dots circle", figure);
  const said = figure.querySelector(".said");
  const stop = (dot) => {
    for (const other of dots) other.tabIndex = other === dot ? 0 : -1;
  };
  stop(dots.at(-1));
  dots.forEach((dot, i) => {
    const say = () => { said.textContent = dot.getAttribute("aria-label"); };
    dot.addEventListener("mouseenter", say);
    dot.addEventListener("click", () => dot.focus());
    dot.addEventListener("focus", () => { stop(dot); say(); });
    dot.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: dots.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      dots[Math.min(Math.max(to, 0), dots.length - 1)].focus();
    });
  });
}
