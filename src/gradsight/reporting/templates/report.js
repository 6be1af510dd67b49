"use strict";
// The page is whole without this: it filters photos, chooses maps and sets how strong their heat is.
for (const element of document.querySelectorAll(".js")) element.hidden = false;
for (const element of document.querySelectorAll(".without")) element.hidden = true;

function choose(photo, number) {
  const views = photo.querySelectorAll(".view");
  views.forEach((view, i) => view.classList.toggle("off", i !== number));
  photo.querySelectorAll(".of").forEach((words, i) => words.classList.toggle("off", i !== number));
  if (views[number]) photo.querySelector(".picture").setAttribute("aria-label", views[number].dataset.words);
  const select = photo.querySelector(".views");
  if (select) select.value = String(number);
}

function ofKind(photo, kind) {
  const select = photo.querySelector(".views");
  if (!select) return;
  const found = [...photo.querySelectorAll(".view")].findIndex((view) => view.dataset.kind === kind);
  choose(photo, found < 0 ? Number(select.dataset.main) : found);
}

function start(part) {
  const form = part.querySelector(".controls");
  const photos = [...part.querySelectorAll(".photo")];
  const cells = [...part.querySelectorAll(".cell")];
  if (!form) return;
  const at = form.elements;
  const texts = photos.map((photo) => photo.textContent.toLowerCase());

  function fits(photo, i) {
    const { truth, guess, status } = photo.dataset;
    return (!at.truth.value || truth === at.truth.value) && (!at.guess.value || guess === at.guess.value)
      && (!at.status.value || status === at.status.value) && texts[i].includes(at.text.value.trim().toLowerCase());
  }

  function filter() {
    let shown = 0;
    photos.forEach((photo, i) => { photo.hidden = !fits(photo, i); shown += !photo.hidden; });
    for (const cell of cells) {
      const pressed = cell.dataset.truth === at.truth.value && cell.dataset.guess === at.guess.value;
      cell.setAttribute("aria-pressed", String(pressed));
    }
    const words = `${shown.toLocaleString("en")} of ${photos.length.toLocaleString("en")} photos on this page are shown.`;
    part.querySelector(".count").textContent = shown ? words : `${words} None fits: press "Show all".`;
  }

  function show(truth, guess) {
    form.reset();
    // A class without a photo on the page is no choice yet.
    for (const [select, value] of [[at.truth, truth], [at.guess, guess]]) {
      if (value && ![...select.options].some((option) => option.value === value)) select.add(new Option("no photo on this page", value));
      select.value = value;
    }
    filter();
    const heading = part.querySelector("h3[id$='-photos']");
    heading.scrollIntoView();
    heading.focus({ preventScroll: true });
  }

  form.addEventListener("input", (event) => {
    if (event.target === at.heat) part.style.setProperty("--heat", String(at.heat.value / 100));
    else if (event.target === at.kind) photos.forEach((photo) => ofKind(photo, at.kind.value));
    else filter();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    part.style.setProperty("--heat", "1");
    photos.forEach((photo) => ofKind(photo, ""));
    filter();
  }));
  for (const photo of photos) {
    const select = photo.querySelector(".views");
    if (select) select.addEventListener("input", () => choose(photo, Number(select.value)));
  }
  for (const cell of cells) {
    cell.addEventListener("click", () => {
      if (cell.getAttribute("aria-pressed") === "true") form.reset();
      else show(cell.dataset.truth, cell.dataset.guess);
    });
  }
  for (const button of part.querySelectorAll(".show")) button.addEventListener("click", () => show("", button.dataset.guess));
  // A link to a photo that the filter hides shows all again.
  for (const link of part.querySelectorAll("a.again")) {
    link.addEventListener("click", () => {
      const photo = document.getElementById(link.hash.slice(1));
      if (photo && photo.hidden) { form.reset(); photo.hidden = false; }
    });
  }
}

document.querySelectorAll(".part.run").forEach(start);

// On paper all panels are open, and afterwards as they were.
let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const panel of closed) panel.open = true;
});
window.addEventListener("afterprint", () => { for (const panel of closed) panel.open = false; });
