"use strict";
// Draws the charts one after another, and sorts tables. Asks nothing of any network.

function sortKey(row, index) {
  const words = row.cells[index].innerText.split("\n")[0].trim().replace(/^[≈~]/, "");
  const number = words.replace("−", "-").match(/^[+-]?\d+(\.\d+)?/);
  return { words: words, number: number ? parseFloat(number[0]) : NaN };
}

function sortBy(head) {
  const table = head.closest("table"), body = table.tBodies[0], index = head.cellIndex;
  const up = head.getAttribute("aria-sort") !== "ascending";
  const keyed = Array.from(body.rows, (row) => ({ row: row, key: sortKey(row, index) }));
  const told = keyed.filter((item) => item.key.words !== "");
  const numbers = told.filter((item) => !Number.isNaN(item.key.number));
  const isNumeric = numbers.length > 0 && 2 * numbers.length >= told.length;
  const isAbsent = (key) => (isNumeric ? Number.isNaN(key.number) : key.words === "");
  const difference = (a, b) =>
    isNumeric ? a.number - b.number : a.words.localeCompare(b.words, "en", { numeric: true });
  keyed.sort((a, b) => {
    const absent = isAbsent(a.key) - isAbsent(b.key); // without a figure: last, either way
    return absent || (isAbsent(a.key) ? 0 : (up ? 1 : -1) * difference(a.key, b.key));
  });
  for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...keyed.map((item) => item.row));
}

for (const head of document.querySelectorAll("thead th"))
  head.querySelector("button").addEventListener("click", () => sortBy(head));

async function draw() {
  const config = JSON.parse(document.getElementById("config").textContent);
  for (const data of document.querySelectorAll("script.spec")) {
    const place = data.parentNode.querySelector(".chart");
    const spec = JSON.parse(data.textContent);
    spec.width = "container";
    spec.autosize = { type: "fit-x", contains: "padding" };
    try {
      await vegaEmbed(place, spec, {
        actions: false, ast: true, config: config, defaultStyle: false, renderer: "svg",
        tooltip: { disableDefaultStyle: true },
      });
    } catch (error) {
      place.textContent = "This chart could not be drawn; its figures stand in words beneath.";
      console.error(error);
    }
  }
  document.documentElement.dataset.drawn = "yes";
}

window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
draw();
