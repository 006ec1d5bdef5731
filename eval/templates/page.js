"use strict";
// Tables of class "sortable": a button in every heading, also by keyboard. Cells without a number come last.
(() => {
  const status = document.getElementById("status");

  function valueOf(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.classList.contains("number") ? null : cell.textContent.trim();
  }

  function compare(a, b, descending) {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return descending ? -order : order;
  }

  function sort(table, column, descending) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, value: valueOf(row, column) }));
    rows.sort((a, b) => compare(a.value, b.value, descending)); // stable: ties keep their order
    body.append(...rows.map(({ row }) => row));
    [...table.tHead.rows[0].cells].forEach((heading, index) => {
      if (index === column) heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        // The first click puts the better end on top; the next ones turn the order around.
        const now = heading.getAttribute("aria-sort");
        const descending = now ? now === "ascending" : heading.dataset.first === "descending";
        sort(table, column, descending);
        status.textContent = `sorted by ${button.textContent.trim()}, ${descending ? "descending" : "ascending"}`;
      });
    });
  }

  // One clip at a time.
  document.addEventListener("play", (event) => {
    for (const player of document.querySelectorAll("audio")) if (player !== event.target) player.pause();
  }, true);

  // What is folded on the screen is printed.
  window.addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
  });

  const save = document.getElementById("save");
  if (save) {
    save.hidden = false;
    save.addEventListener("click", () => {
      const link = document.createElement("a");
      const text = JSON.stringify(JSON.parse(document.getElementById("data").textContent), null, 1) + "\n";
      link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      link.download = save.dataset.name;
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }
})();
