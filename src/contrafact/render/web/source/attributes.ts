// Attributes of a generator: a reader names each, and the server stores the name before the page says so.

import { byId, postJson, tell } from "./page";

export function attributesPage(): void {
  for (const form of document.querySelectorAll<HTMLFormElement>("form.naming")) {
    const input = form.querySelector("input"), said = form.querySelector("[role=status]");
    const title = form.closest("figcaption")?.querySelector("b");
    if (!input || !said || !title) continue;
    input.addEventListener("input", () => { said.textContent = ""; });
    form.addEventListener("submit", async event => {
      event.preventDefault();
      byId("notice").hidden = true;
      try {
        const { folder, place } = form.dataset;
        const kept = await postJson<{ name: string }>("/api/attributes", { folder, place, name: input.value });
        input.value = kept.name;
        title.textContent = kept.name || "not named yet";
        said.textContent = kept.name ? "kept" : "name removed";
      } catch (error) { tell(error); }
    });
  }
}
