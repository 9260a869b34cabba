// Pages are whole without this. With it, their live parts are fetched anew every 5 seconds: the server renders,
// only what changed is replaced, so that a selection, an opened part or the keyboard's place stays.
"use strict";

const POLL_MS = 5000;

function replaceChanged(live, text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const old = live.querySelector(`[data-part="${part.dataset.part}"]`);
    if (old && old.innerHTML !== part.innerHTML && !old.contains(document.activeElement)) {
      old.innerHTML = part.innerHTML;
    } else if (old && old.contains(document.activeElement) && old.innerHTML !== part.innerHTML) {
      // A link in it has the focus: put it back onto the same link.
      const href = document.activeElement.getAttribute("href");
      old.innerHTML = part.innerHTML;
      const same = [...old.querySelectorAll("a[href], [tabindex]")].find((each) => each.getAttribute("href") === href);
      if (same) same.focus({ preventScroll: true });
    }
  }
}

async function refresh(live) {
  const offline = document.getElementById("offline");
  if (document.hidden) return;
  try {
    const answer = await fetch(live.dataset.live, { signal: AbortSignal.timeout(30000) });
    if (answer.redirected) return location.reload(); // the session has ended
    if (!answer.ok) throw new Error(answer.status);
    replaceChanged(live, await answer.text());
    offline.hidden = true;
  } catch {
    offline.hidden = false;
  }
}

async function follow(live) {
  for (;;) {
    await new Promise((done) => setTimeout(done, POLL_MS));
    await refresh(live);
  }
}

for (const live of document.querySelectorAll("[data-live]")) {
  follow(live);
  document.addEventListener("visibilitychange", () => refresh(live));
}

// A button is pressed once; what it started is told by the next page.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", () => {
    for (const button of form.querySelectorAll("button")) setTimeout(() => { button.disabled = true; });
  });
}
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("form[method=post] button")) button.disabled = false;
});

for (const back of document.querySelectorAll("[data-back]")) {
  back.addEventListener("click", (event) => {
    if (history.length > 1) { event.preventDefault(); history.back(); }
  });
}

for (const element of document.querySelectorAll("[data-needs-js]")) element.hidden = false;
for (const button of document.querySelectorAll("[data-check]")) {
  button.addEventListener("click", () => {
    for (const box of document.querySelectorAll("input[name^='t.']:not(:disabled)")) box.checked = Boolean(button.dataset.check);
  });
}
