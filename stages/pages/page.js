// What a page does beyond being read: a list of its sections, tables that sort, galleries that filter, pictures that open large.
// It reads the page alone, and writes text as text. Without it everything stays readable.
"use strict";

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Contents ------------------------------------------------------------------------------------------------------------

function listSections(nav) {
  const items = [...document.querySelectorAll("main h2")].map((heading, at) => {
    const target = heading.id ? heading : heading.closest("section[id]") ?? heading;
    if (!target.id) target.id = `section-${at + 1}`;
    const words = heading.cloneNode(true);
    words.querySelectorAll(".label").forEach((label) => label.remove());
    return element("li", {}, element("a", { href: `#${encodeURIComponent(target.id)}`, textContent: words.textContent.trim() }));
  });
  if (items.length < 2) return;
  const details = element("details", {}, element("summary", { textContent: "On this page" }), element("ol", {}, ...items));
  details.open = matchMedia("(min-width: 40rem)").matches; // on a phone the first screen is for the answer
  nav.append(details);
  nav.hidden = false;
  document.querySelector("main h1")?.after(nav);
}

// Tables --------------------------------------------------------------------------------------------------------------

// What a cell sorts by: a number, a text, or null where nothing was measured, which comes last both ways.
function keyOf(cell) {
  const text = (cell?.dataset.value ?? cell?.textContent ?? "").trim();
  if (["", "–", "-", "—"].includes(text)) return null;
  const number = /^[+\-−]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?(?![\w.:]|-\d)/i.exec(text); // no time of day, no date
  return number ? Number(number[0].replaceAll(",", "").replace("−", "-")) : text;
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), undefined, { numeric: true });
}

// The cell of a row that stands in a column: cells may span several.
function cellAt(row, column) {
  let at = 0;
  return [...row.cells].find((cell) => (at += cell.colSpan) > column);
}

function sortRows(table, column, falling) {
  for (const body of table.tBodies) {
    const rows = [...body.rows].map((row) => ({ row, key: keyOf(cellAt(row, column)) }));
    const known = rows.filter(({ key }) => key !== null);
    known.sort((one, other) => (falling ? compare(other.key, one.key) : compare(one.key, other.key)));
    body.append(...known.concat(rows.filter(({ key }) => key === null)).map(({ row }) => row));
  }
}

// Each header cell of one column gets a button; of two header rows, those above that span several columns get none.
function makeSortable(table) {
  if ([...table.tBodies].some((body) => body.querySelector("[rowspan]"))) return;
  const headers = [...(table.tHead?.rows ?? [])].flatMap((row, at, rows) => headersOf(row, at, rows.length, table));
  for (const { cell, column } of headers) {
    const button = element("button", { type: "button" });
    if (cell.querySelector("a")) button.setAttribute("aria-label", `Sort by ${cell.textContent.trim()}`); // no link in a button
    else button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const falling = cell.getAttribute("aria-sort") === "ascending";
      headers.forEach((other) => other.cell.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", falling ? "descending" : "ascending");
      sortRows(table, column, falling);
    });
  }
}

function headersOf(row, at, rows, table) {
  const taken = new Set(); // columns that a taller cell of a row above fills
  [...table.tHead.rows].slice(0, at).forEach((above, line) => {
    let column = 0;
    for (const cell of above.cells) {
      if (line + cell.rowSpan > at) for (let each = 0; each < cell.colSpan; each++) taken.add(column + each);
      column += cell.colSpan;
    }
  });
  let column = 0;
  return [...row.cells].flatMap((cell) => {
    while (taken.has(column)) column++;
    const own = column;
    column += cell.colSpan;
    return at + cell.rowSpan >= rows && cell.colSpan === 1 && cell.textContent.trim() ? [{ cell, column: own }] : [];
  });
}

// Galleries -----------------------------------------------------------------------------------------------------------

function makeFilters(gallery) {
  const figures = [...gallery.querySelectorAll("figure")];
  const selects = [...gallery.querySelectorAll(".filters select")];
  const count = gallery.querySelector(".count");
  const filter = () => {
    for (const figure of figures) {
      figure.hidden = selects.some((select) => select.value && figure.dataset[select.dataset.key] !== select.value);
    }
    count.textContent = `${figures.filter((figure) => !figure.hidden).length} of ${figures.length} shown`;
  };
  selects.forEach((select) => select.addEventListener("change", filter));
  gallery.querySelector(".filters").hidden = false;
  filter(); // a browser may keep what was chosen before the page was loaded anew
}

// Words of boxes in the same place would hide one another: each moves down, or up at the lower edge, until it is alone.
function separate(drawn) {
  const placed = [];
  for (const words of drawn.querySelectorAll("text")) {
    const start = Number(words.getAttribute("y")), { x: left, y, width, height } = words.getBBox();
    const x = Math.max(0, Math.min(left, drawn.viewBox.baseVal.width - width)); // within the right edge
    const beside = (other) => x >= other.x + other.width || other.x >= x + width;
    const free = (shift) => placed.every((other) => beside(other) || Math.abs(y + shift - other.y) >= height);
    const inside = (shift) => y + shift >= 0 && y + shift + height <= drawn.viewBox.baseVal.height;
    const shifts = [...Array(20).keys()].flatMap((lines) => [lines * height, -lines * height]);
    const shift = shifts.find((each) => inside(each) && free(each)) ?? 0;
    words.setAttribute("x", x);
    words.setAttribute("y", start + shift);
    placed.push({ x, y: y + shift, width });
  }
}

// What is drawn, in words: the boxes are hidden from those who do not see them.
function inWords(drawn) {
  const of = (kind) => [...drawn.querySelectorAll(`text.${kind}`)].map((words) => words.textContent).join("; ");
  const kinds = [["True", of("true")], ["Found", of("found")]];
  return kinds.filter(([, words]) => words).map(([kind, words]) => `${kind}: ${words}.`).join(" ");
}

// One dialog for all pictures of the page. Those beside the one that was opened are of the same list, and not filtered away.
function makeLightbox() {
  const button = (text, title, kind) => element("button", { type: "button", textContent: text, title, className: kind });
  const previous = button("‹ Previous", "Left arrow key", "previous");
  const next = button("Next ›", "Right arrow key", "next");
  const close = button("Close", "Escape key", "close");
  const boxes = element("input", { type: "checkbox", checked: true });
  const choice = element("label", {}, boxes, " Boxes");
  const place = element("span", { className: "place" });
  const stage = element("div", { className: "stage" });
  const said = element("p", { className: "said" });
  said.setAttribute("aria-live", "polite");
  const dialog = element("dialog", {}, element("div", { className: "bar" }, previous, next, place, choice, close), stage, said);
  dialog.setAttribute("aria-label", "Picture");
  document.body.append(dialog);

  let links = [], at = 0;
  const show = (to) => {
    at = (to + links.length) % links.length;
    const link = links[at], small = link.querySelector("img"), drawn = link.querySelector("svg");
    const overlay = drawn?.cloneNode(true), large = element("img", { alt: small.alt });
    const scale = () => stage.style.setProperty("--ratio", large.naturalWidth / large.naturalHeight || 1.5);
    large.addEventListener("load", scale);
    large.src = link.href;
    stage.replaceChildren(...[large, overlay].filter(Boolean));
    if (overlay) separate(overlay);
    choice.hidden = !drawn;
    previous.disabled = next.disabled = links.length < 2;
    place.textContent = `${at + 1} of ${links.length}`;
    const caption = link.closest("figure")?.querySelector("figcaption")?.cloneNode(true).childNodes ?? [small.alt];
    said.replaceChildren(...caption, link.dataset.id ? ` · ${link.dataset.id}` : "");
    if (drawn) said.append(element("br"), element("small", { textContent: inWords(drawn) }));
  };
  previous.addEventListener("click", () => show(at - 1));
  next.addEventListener("click", () => show(at + 1));
  close.addEventListener("click", () => dialog.close());
  boxes.addEventListener("change", () => stage.classList.toggle("plain", !boxes.checked));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => links[at]?.focus());
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || links.length < 2) return;
    event.preventDefault();
    show(at + step);
  });
  return (link) => {
    const list = link.closest(".pictures, .films, .pair, .charts");
    links = list ? [...list.querySelectorAll("a.open")].filter((other) => !other.closest("[hidden]")) : [link];
    dialog.showModal();
    show(links.indexOf(link));
    close.focus();
  };
}

document.querySelectorAll("nav.contents").forEach(listSections);
document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll(".gallery").forEach(makeFilters);
const opening = [...document.querySelectorAll("a.open")];
if (opening.length && typeof HTMLDialogElement === "function") {
  const open = makeLightbox();
  opening.forEach((link) => link.setAttribute("aria-haspopup", "dialog"));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.open");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    open(link);
  });
}
