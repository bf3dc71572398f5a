// What makes the pages smoother: every one of them works without it.
"use strict";

// A row that changed glows once.
let before = new Map();
const rows = () => new Map([...document.querySelectorAll("#content tr[id]")].map((row) => [row.id, row.textContent]));
document.addEventListener("htmx:before:swap", () => { before = rows(); });
document.addEventListener("htmx:after:swap", () => {
  for (const row of document.querySelectorAll("#content tr[id]")) {
    if (before.size && before.get(row.id) !== row.textContent) {
      row.classList.add("changed");
      row.addEventListener("animationend", () => row.classList.remove("changed"), { once: true });
    }
  }
});

// What is ticked stays ticked when the table updates.
let ticked = new Set();
const boxes = () => [...document.querySelectorAll("#content input[type=checkbox]")];
document.addEventListener("htmx:before:swap", (event) => {
  if (event.target.id === "content") ticked = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
});
document.addEventListener("htmx:after:swap", (event) => {
  if (event.target.id === "content") for (const box of boxes()) box.checked = ticked.has(box.value);
});

// Keys: / searches, c makes a new one, g then a letter goes to a page, j and k walk the rows, Enter opens, x selects.
const typing = (element) => element.closest("input, textarea, select, [contenteditable]");
let going = false;
let row = -1;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (going) {
    going = false;
    document.querySelector(`[data-go="${CSS.escape(event.key)}"]`)?.click();
    return;
  }
  const walk = { j: 1, k: -1 }[event.key];
  if (event.key === "g") going = true;
  else if (walk) {
    const all = [...document.querySelectorAll("table.rows tbody tr, ul.rows > li")];
    row = Math.max(0, Math.min(all.length - 1, row + walk));
    all[row]?.querySelector("a, button, input")?.focus();
  } else if (event.key === "x") event.target.closest("tr, li")?.querySelector("input[type=checkbox]")?.click();
  else if (event.key === "/") {
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); }
  } else if (event.key === "?") document.getElementById("keys")?.showModal?.();
  else press(event.target.closest("[data-card]"), `[data-key="${CSS.escape(event.key)}"]`);
});
// A key means the card in which one is, else the first thing on the page that has it.
const press = (card, key) => {
  const button = card?.querySelector(key) ?? [...document.querySelectorAll(key)].find((each) => !each.closest("[hidden]"));
  button?.click();
  if (button?.matches("summary")) button.parentElement.querySelector("form button, form select")?.focus();
};

// Copying: a button copies the field that it names.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const field = document.getElementById(button.dataset.copy);
  try { await navigator.clipboard.writeText(field.value); } catch { field.select(); return; }
  const said = button.innerHTML;
  button.textContent = "Copied";
  setTimeout(() => { button.innerHTML = said; }, 1500);
});

// Undo: what can't be taken back once it is done waits ten seconds on this page; whoever leaves it sends it at once.
const UNDO_SECONDS = 10;
const HIDDEN_SECONDS = 30; // until the server has done it, and shows the list without it
const held = new Set();
const hidden = new Set();
const hideCards = () => { for (const id of hidden) document.getElementById(id)?.setAttribute("hidden", ""); };
const showCard = (id) => { hidden.delete(id); document.getElementById(id)?.removeAttribute("hidden"); };
const toast = (text, kind) => {
  let room = document.getElementById("toasts");
  if (!room) {
    room = document.body.appendChild(document.createElement("div"));
    room.id = "toasts";
    room.setAttribute("role", "status");
  }
  const line = room.appendChild(document.createElement("p"));
  line.className = `note ${kind}`;
  line.append(Object.assign(document.createElement("span"), { textContent: text }));
  return line;
};
const toastButton = (line, label, does) => {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: label });
  button.addEventListener("click", does);
  return line.appendChild(button);
};
const sendNow = async (one) => {
  if (!held.delete(one)) return;
  clearTimeout(one.timer);
  one.line.remove();
  let wrong = "It was not done: load the page again, and look.";
  try {
    const answer = await fetch(one.url, { method: "POST", body: one.body, redirect: "manual", keepalive: true });
    if (answer.status === 204) wrong = "";
    else if (answer.headers.get("Content-Type")?.startsWith("text/plain")) wrong = await answer.text();
  } catch { wrong = "It was not done: the server can't be reached. Try again."; }
  if (!wrong) { setTimeout(() => hidden.delete(one.id), HIDDEN_SECONDS * 1000); return; }
  showCard(one.id);
  const line = toast(wrong, "problem");
  toastButton(line, "Close", () => line.remove());
};
const holdBack = (form, submitter, card) => {
  const body = new URLSearchParams(new FormData(form, submitter));
  body.set("later", "yes");
  const one = { id: card.id, url: form.action, body, line: toast(submitter?.dataset.undo ?? form.dataset.undo, "waiting") };
  toastButton(one.line, "Undo (u)", () => {
    held.delete(one);
    clearTimeout(one.timer);
    one.line.remove();
    showCard(one.id);
    document.getElementById(one.id)?.querySelector("a")?.focus();
  }).dataset.key = "u";
  one.timer = setTimeout(() => sendNow(one), UNDO_SECONDS * 1000);
  held.add(one);
  hidden.add(one.id);
  const cards = [...document.querySelectorAll("[data-card]:not([hidden])")];
  const following = cards[cards.indexOf(card) + 1] ?? cards[cards.indexOf(card) - 1];
  hideCards();
  following?.querySelector("a")?.focus();
};
document.addEventListener("submit", (event) => {
  const form = event.target;
  const card = form.closest("[data-card]");
  if (!card || !("undo" in form.dataset)) return;
  // What will be refused is refused at once, on a page that says why.
  if (form.querySelector("option[data-nobody]:checked") && form.elements.responded?.checked) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  holdBack(form, event.submitter, card);
}, true);
window.addEventListener("pagehide", () => { for (const one of held) sendNow(one); });
document.addEventListener("htmx:after:swap", () => {
  hideCards();
  for (const one of held) if (!one.line.isConnected) sendNow(one);
});

// The editor. Which cards are open goes with the form; writing in a stage shows that one in the preview.
const editor = () => document.getElementById("editor");
document.addEventListener("toggle", (event) => {
  const open = event.target.matches?.(".stage") && event.target.parentElement.querySelector('input[name$=".open"]');
  if (open) open.value = event.target.open ? "1" : "";
}, true);
document.addEventListener("change", (event) => {
  if (event.target.matches("#editor [data-again]")) editor().requestSubmit(editor().querySelector(".enter"));
});

// Tokens: a click, or { in a text, puts one where the writer is.
let written = null;
let picker = null;
const ends = () => { picker?.remove(); picker = null; };
const insertToken = (name) => {
  const field = written?.isConnected ? written : document.querySelector("#editor [data-templated]");
  if (!field) return;
  const start = field.selectionStart;
  const typed = field.value.slice(0, start).match(/\{{1,2}\w*$/)?.[0].length ?? 0;
  field.setRangeText(`{{${name}}}`, start - typed, field.selectionEnd, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
  ends();
  field.focus();
};
const offerTokens = (field) => {
  const typed = field.value.slice(0, field.selectionStart).match(/\{{1,2}(\w*)$/);
  ends();
  if (!typed) return;
  const fitting = [...document.querySelectorAll("#tokens .token")].filter((each) => each.dataset.token.startsWith(typed[1]));
  if (!fitting.length) return;
  picker = document.createElement("div");
  picker.className = "picker tokens";
  picker.setAttribute("role", "group");
  picker.setAttribute("aria-label", "Tokens: arrow down to choose");
  picker.append(...fitting.map((each) => each.cloneNode(true)));
  field.after(picker);
  picker.scrollIntoView({ block: "nearest" });
};
document.addEventListener("focusin", (event) => {
  if (event.target.matches("#editor [data-templated]")) written = event.target;
  if (picker && !picker.contains(event.target) && event.target !== written) ends();
  const place = event.target.closest("#editor [data-place]")?.dataset.place;
  const shown = document.getElementById("preview.stage");
  if (place !== undefined && shown && shown.value !== place) {
    shown.value = place;
    shown.dispatchEvent(new Event("change", { bubbles: true }));
  }
});
document.addEventListener("click", (event) => {
  const token = event.target.closest("[data-token]");
  if (token) insertToken(token.dataset.token);
});
document.addEventListener("keydown", (event) => {
  if (!picker) return;
  const all = [...picker.children];
  const at = all.indexOf(document.activeElement);
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (event.key === "Escape") { ends(); written?.focus(); }
  else if (step && (at >= 0 || event.key === "ArrowDown")) {
    event.preventDefault();
    all[(at + step + all.length) % all.length].focus();
  }
});

// Drafts: what is typed outlives a reload and a time-out, in this browser. A save ends it, and names it then.
const DRAFT = "segue-draft:";
const draftKey = () => DRAFT + editor().dataset.draft;
const readDraft = (key) => { try { return JSON.parse(localStorage.getItem(key)); } catch { return null; } };
const keepDraft = () => {
  const fields = [...new FormData(editor())].filter(([name]) => name !== "csrf" && name !== "do");
  const at = new Date().toTimeString().slice(0, 5);
  try { localStorage.setItem(draftKey(), JSON.stringify({ at, fields })); } catch { /* full or forbidden */ }
};
const restoreDraft = async (draft) => {
  const body = new FormData(editor());
  const csrf = body.get("csrf");
  const typed = new URLSearchParams([...draft.fields, ["csrf", csrf], ["do", `restored:${draft.at}`]]);
  const answer = await fetch(editor().action, { method: "POST", body: typed });
  const restored = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
  if (!answer.ok || !restored?.querySelector("#editor")) return;
  document.getElementById("main").replaceWith(restored);
  window.htmx?.process(restored);
};
const lookForDrafts = () => {
  const saved = new URLSearchParams(location.search).get("saved");
  for (const key of saved ? Object.keys(localStorage) : []) {
    if (key.startsWith(DRAFT) && key.endsWith(`:${saved}`)) localStorage.removeItem(key);
  }
  if (saved) history.replaceState(history.state, "", location.pathname); // or a draft begun since would go too
  if (!editor()) return;
  const draft = "fresh" in editor().dataset && readDraft(draftKey());
  if (draft) restoreDraft(draft);
  else if (!("fresh" in editor().dataset)) keepDraft();
};
document.addEventListener("input", (event) => {
  const field = event.target;
  if (!field.closest("#editor")) return;
  keepDraft();
  if (field.matches("[data-templated]")) offerTokens(field);
});
document.addEventListener("change", (event) => { if (event.target.closest("#editor")) keepDraft(); });
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-discard]")) localStorage.removeItem(draftKey());
});
document.addEventListener("DOMContentLoaded", lookForDrafts);
document.addEventListener("htmx:after:swap", (event) => { if (!event.target.closest?.("#preview")) lookForDrafts(); });
