// Replaces the page's content whenever the server says that it changed; a changed row glows once.
"use strict";
const content = document.getElementById("content");
const source = new EventSource(content.dataset.live);
source.addEventListener("content", (event) => {
  const before = new Map([...content.querySelectorAll("tr[id]")].map((row) => [row.id, row.textContent]));
  content.innerHTML = event.data; // rendered and escaped by our own server, which never sends scripts
  if (before.size === 0) return;
  for (const row of content.querySelectorAll("tr[id]")) {
    if (before.get(row.id) !== row.textContent) row.classList.add("changed");
  }
});
addEventListener("pagehide", () => source.close());
