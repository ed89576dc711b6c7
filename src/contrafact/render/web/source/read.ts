// The reader study: the server stores every answer on disk before the next trial is shown.

import { byId, el, getJson, postJson, tell } from "./page";

interface Trial {
  done: number; of: number; finished: boolean; task: string; question: string; choices: string[]; pictures: number;
}
const WORDS: Record<string, string> = { real: "Real", synthetic: "Synthetic", left: "Image 1", right: "Image 2" };

export function readPage(): void {
  let reader = "", trial: Trial | null = null, since = 0, spent = 0, busy = false;
  const part = (name: string): void => {
    for (const id of ["enter", "trial", "paused", "finished"]) byId(id).hidden = id !== name;
  };

  const next = async (): Promise<void> => {
    trial = await getJson<Trial>(`/api/trial?reader=${encodeURIComponent(reader)}`);
    if (trial.finished) { part("finished"); byId("thanks").focus(); return; }
    const shown = trial;
    const pictures = Array.from({ length: shown.pictures }, (_, k) => el("img", {
      src: `/picture.png?reader=${encodeURIComponent(reader)}&position=${shown.done}&k=${k}`,
      alt: shown.pictures > 1 ? `image ${k + 1}` : "image" }));
    await Promise.all(pictures.map(picture => picture.decode()));
    byId("progress").textContent = `${shown.done} of ${shown.of} answered`;
    byId<HTMLProgressElement>("bar").value = shown.done / shown.of;
    byId("question").textContent = shown.question;
    byId("pictures").replaceChildren(...pictures.map((picture, k) => el("figure", {}, picture,
      shown.pictures > 1 && el("figcaption", { "aria-hidden": "true" }, `Image ${k + 1}`))));
    byId("choices").replaceChildren(...shown.choices.map((choice, k) => {
      const button = el("button", { type: "button", "data-choice": choice }, shown.pictures > 1 ? WORDS[choice] : `${WORDS[choice]} (${k + 1})`);
      button.addEventListener("click", () => answer(choice));
      return button;
    }));
    part("trial");
    byId("question").focus();
    spent = 0;
    since = performance.now();
  };

  const answer = async (choice: string): Promise<void> => {
    if (busy || !trial || trial.finished) return;
    busy = true;
    const seconds = (spent + performance.now() - since) / 1000;
    byId("notice").hidden = true;
    try {
      await postJson("/api/answer", { reader, position: trial.done, answer: choice, seconds });
      await next();
    } catch (error) {
      tell(error);
    }
    busy = false;
  };

  byId("name-form").addEventListener("submit", async event => {
    event.preventDefault();
    byId("notice").hidden = true;
    try {
      reader = (await postJson<{ name: string }>("/api/reader", { name: byId<HTMLInputElement>("name").value })).name;
      await next();
    } catch (error) { tell(error); }
  });
  byId("pause").addEventListener("click", () => { spent += performance.now() - since; part("paused"); byId("resume").focus(); });
  byId("resume").addEventListener("click", () => { since = performance.now(); part("trial"); byId("question").focus(); });
  document.addEventListener("keydown", event => {
    const typing = event.target instanceof HTMLInputElement && event.target.type === "text";
    if (byId("trial").hidden || typing || event.repeat || !byId<HTMLInputElement>("keys").checked) return;
    const choice = trial?.choices[Number(event.key) - 1];
    if (choice && !event.ctrlKey && !event.metaKey && !event.altKey) answer(choice);
  });
}
