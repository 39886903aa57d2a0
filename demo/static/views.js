// The two pages of the demo: your keys, and under the hood. Which one is seen is in the
// address, so that links, the back button and a reload work.

import { byId } from "./dom.js";

const titles = { home: "Your keys", hood: "Under the hood" };

/** Shows the page that the address names, from now on. */
export function views() {
  addEventListener("hashchange", () => show(true));
  show(false);
}

function show(moved) {
  const name = named(location.hash.slice(1));
  if (name === "main") return; // the link that skips the header
  const target = name ? byId(name) : null;
  const view = target?.closest(".view")?.id ?? "home";
  for (const id of Object.keys(titles)) {
    byId(id).hidden = id !== view;
    const link = document.querySelector(`[data-view="${id}"]`);
    if (id === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${titles[view]} · enclave demo`;
  if (!moved && !target) return;
  if (target && target.id !== view) target.scrollIntoView();
  else if (moved) scrollTo(0, 0);
}

/** An id as an address names it; "" if it is malformed. */
function named(hash) {
  try {
    return decodeURIComponent(hash);
  } catch {
    return "";
  }
}
