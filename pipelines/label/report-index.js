// SPDX-License-Identifier: LGPL-2.1-or-later
// The list of all videos: finds and sorts.
"use strict";
const $ = id => document.getElementById(id);
const body = $("videos").tBodies[0], rows = [...body.rows];

function choose() {
  const words = $("words").value.toLowerCase().split(/\s+/), failed = $("failed").checked;
  let shown = 0;
  for (const row of rows) {
    const said = row.textContent.toLowerCase();
    row.hidden = failed && !row.classList.contains("failed") || !words.every(word => said.includes(word));
    shown += !row.hidden;
  }
  $("shown").textContent = shown === rows.length ? "" : shown + " of " + rows.length;
}
$("find").hidden = false;
$("find").addEventListener("input", choose);
$("find").addEventListener("submit", event => event.preventDefault());

// A click sorts by the column, another turns the order round, a third gives the first order back.
const values = [row => row.cells[0].textContent.toLowerCase(), row => Number(row.cells[1].dataset.v), row => row.cells[2].textContent];
$("videos").querySelectorAll("th").forEach((head, column) => {
  const button = document.createElement("button");
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const order = {none: "ascending", ascending: "descending", descending: "none"}[head.ariaSort || "none"];
    $("videos").querySelectorAll("th").forEach(other => { other.ariaSort = "none"; });
    head.ariaSort = order;
    const sorted = rows.map(row => [values[column](row), row]), turn = order === "descending" ? -1 : 1;
    if (order !== "none") sorted.sort(([a], [b]) => turn * (a < b ? -1 : a > b));
    body.append(...sorted.map(([, row]) => row));
  });
});
