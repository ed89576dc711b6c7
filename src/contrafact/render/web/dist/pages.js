"use strict";
(() => {
  // source/page.ts
  function el(tag, attributes = {}, ...children) {
    const made2 = document.createElement(tag);
    dress(made2, attributes, children);
    return made2;
  }
  function svg(tag, attributes = {}, ...children) {
    const made2 = document.createElementNS("http://www.w3.org/2000/svg", tag);
    dress(made2, attributes, children);
    return made2;
  }
  function dress(made2, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) made2.setAttribute(name, "");
      else if (value !== void 0 && value !== false) made2.setAttribute(name, String(value));
    }
    made2.append(...children.filter((c) => Boolean(c)));
  }
  var LOADING = "the image is loading";
  function byId(id) {
    const found = document.getElementById(id);
    if (!found) throw new Error(`the page has no #${id}`);
    return found;
  }
  async function getJson(address) {
    asked(1);
    try {
      const answer = await fetch(address);
      if (!answer.ok) throw new Error(await answer.text() || `${answer.status}`);
      return await answer.json();
    } finally {
      setTimeout(() => asked(-1));
    }
  }
  var asking = 0;
  function asked(by) {
    asking += by;
    document.documentElement.toggleAttribute("data-asking", asking > 0);
  }
  async function postJson(address, body) {
    const answer = await fetch(address, {
      method: "POST",
      headers: { "content-type": "application/json", "x-contrafact-token": document.body.dataset.token ?? "" },
      body: JSON.stringify(body)
    });
    if (!answer.ok) throw new Error(await answer.text() || `${answer.status}`);
    return await answer.json();
  }
  function tell(error) {
    const text = error instanceof Error ? error.message : String(error);
    const place2 = byId("notice");
    place2.textContent = text;
    place2.hidden = false;
  }
  function plural(count2, one, many = one + "s") {
    return `${count2} ${count2 === 1 ? one : many}`;
  }
  function signed(value, digits2 = 2) {
    const text = value.toFixed(digits2);
    return value > 0 && Number(text) !== 0 ? `+${text}` : text.replace(/^-(0\.?0*)$/, "$1").replace("-", "−");
  }
  function short(value) {
    return String(Number(value.toPrecision(3))).replace("-", "−");
  }

  // source/attributes.ts
  function attributesPage() {
    for (const form of document.querySelectorAll("form.naming")) {
      const input = form.querySelector("input"), said = form.querySelector("[role=status]");
      const title = form.closest("figcaption")?.querySelector("b");
      if (!input || !said || !title) continue;
      input.addEventListener("input", () => {
        said.textContent = "";
      });
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        byId("notice").hidden = true;
        try {
          const { folder, place: place2 } = form.dataset;
          const kept2 = await postJson("/api/attributes", { folder, place: place2, name: input.value });
          input.value = kept2.name;
          title.textContent = kept2.name || "not named yet";
          said.textContent = kept2.name ? "kept" : "name removed";
        } catch (error) {
          tell(error);
        }
      });
    }
  }

  // source/box.ts
  var NOW = "#ffcf5c";
  var WAS = "#7fe0ff";
  var MODES = [["only", "Change only here"], ["keep", "Leave unchanged"]];
  var Box = class {
    // why it cannot be
    constructor(width, height, depth, redraw, shown) {
      this.width = width;
      this.height = height;
      this.depth = depth;
      this.redraw = redraw;
      this.shown = shown;
    }
    width;
    height;
    depth;
    redraw;
    shown;
    at = null;
    ask = null;
    // set where a model can be asked
    why = "loading the model …";
    set(at) {
      this.at = at && {
        columns: inside(at.columns, this.width),
        rows: inside(at.rows, this.height),
        ...this.depth > 0 && { slices: inside(at.slices ?? this.near(), this.depth) }
      };
      this.tell();
    }
    tell() {
      this.redraw.forEach((again) => again());
    }
    /** A box in the middle, half as wide and as high as the image. */
    start() {
      this.set({ columns: middle(this.width), rows: middle(this.height) });
    }
    /** The box between two places, as shares of the image. */
    between(a, b) {
      const span = (from, to, size) => [Math.floor(Math.min(from, to) * size), Math.ceil(Math.max(from, to) * size) - 1];
      this.set({ columns: span(a.x, b.x, this.width), rows: span(a.y, b.y, this.height), slices: this.at?.slices });
    }
    holds(at) {
      const found = this.at && shares(this.at, this.width, this.height);
      return Boolean(found) && at.x >= found.x && at.x < found.x + found.w && at.y >= found.y && at.y < found.y + found.h;
    }
    /** Move the box, or only its far corner, by pixels; it keeps its size, and stays inside the image. */
    move(dx, dy, corner = false, from = this.at) {
      if (!from) return;
      const moved = (span, by, size) => {
        if (corner) return [span[0], Math.max(span[0], span[1] + by)];
        const kept2 = Math.max(-span[0], Math.min(size - 1 - span[1], by));
        return [span[0] + kept2, span[1] + kept2];
      };
      this.set({ ...from, columns: moved(from.columns, dx, this.width), rows: moved(from.rows, dy, this.height) });
    }
    words() {
      if (!this.at) return "no box";
      const { columns, rows, slices } = this.at;
      return `columns ${columns[0]} to ${columns[1]} of ${this.width}, rows ${rows[0]} to ${rows[1]} of ${this.height}` + (slices ? `, slices ${slices[0] + 1} to ${slices[1] + 1} of ${this.depth}` : "");
    }
    /** The slices around the one that is shown, a quarter of the volume. */
    near() {
      const at = this.shown(), half = Math.floor(this.depth / 8);
      return [at - half, at + half];
    }
  };
  function drawBox(context, at, size, answer, scale) {
    const { width: w, height: h } = context.canvas, box = shares(at, size.width, size.height);
    for (const [colour, wide] of [["#000", 5], [answer ? WAS : NOW, 2.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide / scale;
      context.setLineDash(answer ? [] : [10 / scale, 6 / scale]);
      context.strokeRect(box.x * w, box.y * h, box.w * w, box.h * h);
    }
    context.setLineDash([]);
  }
  function boxControls(box, wish, drag2) {
    const begin = el("button", { type: "button" }, "Box"), hint = el("span", { class: "dim small" }, "Shift and drag on a picture, or press Box.");
    const handle = el("div", { class: "handle", tabindex: 0, role: "group" });
    const fields2 = edges(box), remove = button("Remove the box", () => {
      box.set(null);
      begin.focus();
    });
    const asks = MODES.map(([mode, text]) => button(text, () => box.ask?.(mode, wish)));
    const why = el("p", { class: "doubt", role: "status" });
    const part2 = el(
      "div",
      { class: "boxing", role: "group", "aria-label": "the box" },
      handle,
      fields2.part,
      el("div", { class: "row-of" }, ...asks, remove),
      why,
      ...starting()
    );
    begin.addEventListener("click", () => {
      if (!box.at) box.start();
      drag2();
      handle.focus();
    });
    handle.addEventListener("keydown", (event) => arrows(event, box, () => remove.click()));
    part2.addEventListener("keydown", (event) => event.stopPropagation());
    const show3 = () => {
      hint.hidden = Boolean(box.at);
      part2.hidden = !box.at;
      handle.textContent = `Box: ${box.words()}`;
      handle.setAttribute("aria-label", `Box: ${box.words()}. Arrows move it, shift and arrows size it, delete removes it.`);
      fields2.show();
      asks.forEach((one) => {
        one.disabled = !box.ask;
      });
      why.textContent = box.ask ? "" : `No model can be asked: ${box.why}`;
      why.hidden = !why.textContent;
      part2.querySelectorAll(".starting").forEach((one) => {
        one.hidden = Boolean(box.ask) || box.why.endsWith("…");
      });
    };
    box.redraw.push(show3);
    show3();
    return el("div", {}, el("div", { class: "row-of" }, begin, hint), part2);
  }
  function starting() {
    const command = document.body.dataset.command;
    if (!command) return [];
    const code = el("code", {}, command), copy = el("button", { type: "button" }, "Copy");
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(command);
        copy.textContent = "Copied";
      } catch {
        getSelection()?.selectAllChildren(code);
        copy.textContent = "Selected: press Ctrl and C";
      }
    });
    return [el("p", { class: "starting" }, "Start the viewer with the bundle of this model: ", code, " ", copy)];
  }
  function arrows(event, box, remove) {
    const step = Math.max(1, Math.round(Math.max(box.width, box.height) / 128));
    const way = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (way[event.key]) box.move(...way[event.key], event.shiftKey);
    else if (event.key === "Delete" || event.key === "Backspace") remove();
    else return;
    event.preventDefault();
  }
  function edges(box) {
    const made2 = [];
    const pair = (name, size, plus) => {
      const inputs = [0, 1].map((end) => {
        const input = el("input", { type: "number", min: plus, max: size - 1 + plus, step: 1, "aria-label": `${end ? "last" : "first"} ${name.slice(0, -1)} of the box` });
        input.addEventListener("change", () => {
          const span = [...box.at[name]], value = Math.round(Number(input.value)) - plus;
          span[end] = Number.isFinite(value) ? value : span[end];
          box.set({ ...box.at, [name]: end ? [Math.min(...span), span[1]] : [span[0], Math.max(...span)] });
        });
        made2.push({ input, name, end, plus });
        return input;
      });
      return el("span", {}, `${name} `, inputs[0], " to ", inputs[1]);
    };
    const part2 = el("div", { class: "edges" }, pair("columns", box.width, 0), pair("rows", box.height, 0), box.depth > 0 && pair("slices", box.depth, 1));
    const show3 = () => made2.forEach(({ input, name, end, plus }) => {
      if (box.at) input.value = String(box.at[name][end] + plus);
    });
    return { part: part2, show: show3 };
  }
  var button = (text, pressed) => {
    const made2 = el("button", { type: "button" }, text);
    made2.addEventListener("click", pressed);
    return made2;
  };
  var middle = (size) => [Math.floor(size / 4), Math.max(Math.floor(size / 4), Math.ceil(3 * size / 4) - 1)];
  function inside([first, last2], size) {
    const from = Math.max(0, Math.min(size - 1, first));
    return [from, Math.max(from, Math.min(size - 1, last2))];
  }
  function shares({ columns, rows }, width, height) {
    return { x: columns[0] / width, y: rows[0] / height, w: (columns[1] - columns[0] + 1) / width, h: (rows[1] - rows[0] + 1) / height };
  }

  // source/controls.ts
  function trustCard(trust) {
    const none = !(trust.failed.length || trust.passed.length || trust.open.length);
    return el(
      "div",
      { class: "trust", role: "group", "aria-label": "reliability checks" },
      el("h3", {}, "Reliability checks"),
      none && el("p", { class: "dim" }, "This result has no reliability checks."),
      ...trust.failed.map((text) => el("p", { class: "doubt" }, el("b", {}, "Warning: "), text)),
      trust.passed.length > 0 && el("p", { class: "passed" }, el("b", {}, "Passed: "), trust.passed.join(", "), "."),
      trust.open.length > 0 && el(
        "details",
        {},
        el("summary", {}, `Not checked: ${trust.open.length}`),
        ...trust.open.map((text) => el("p", { class: "dim small" }, text))
      )
    );
  }
  function madeBy(made2) {
    const cost = [
      made2.seconds !== null && `${made2.seconds.toFixed(2)} s`,
      made2.passes !== null && plural(Math.round(made2.passes), "pass", "passes") + " through the model"
    ].filter(Boolean).join(", ");
    const how = made2.layer ? `Made in ${cost}, from ${made2.layer}` : `Made in ${cost}`;
    return el("details", {}, el("summary", {}, how), el("pre", {}, JSON.stringify(made2.parameters, null, 1)));
  }
  function slider(label, range2, say, moved) {
    const input = el("input", { type: "range", ...range2 });
    const shown = el("output", {}, say(range2.value));
    const tellValue = () => {
      const text = say(Number(input.value));
      shown.textContent = text;
      input.setAttribute("aria-valuetext", text);
    };
    input.addEventListener("input", () => {
      tellValue();
      moved(Number(input.value));
    });
    tellValue();
    const box = el("label", { class: "slider" }, el("span", {}, label), input, shown);
    return { box, input, set: (value) => {
      input.value = String(value);
      tellValue();
    } };
  }
  function choice(legend, options, chosen, picked) {
    const name = `choice-${++choices}`;
    const box = el(
      "fieldset",
      { class: "choice" },
      el("legend", {}, legend),
      ...options.map(([value, text]) => el(
        "label",
        {},
        el("input", { type: "radio", name, value, checked: value === chosen }),
        el("span", {}, text)
      ))
    );
    box.addEventListener("change", (event) => picked(event.target.value));
    return box;
  }
  var choices = 0;
  var painting = 0;
  function count(by) {
    painting += by;
    document.documentElement.toggleAttribute("data-painting", painting > 0);
  }
  function painter(paint) {
    let waiting = false, again = false;
    const run = async () => {
      try {
        await paint();
      } catch (error) {
        tell(error);
      }
      waiting = false;
      if (again) {
        again = false;
        ask();
      }
      count(-1);
    };
    const ask = () => {
      if (waiting) {
        again = true;
        return;
      }
      waiting = true;
      count(1);
      requestAnimationFrame(run);
    };
    return ask;
  }

  // source/pixels.ts
  var FOR = [255, 150, 40];
  var AGAINST = [70, 160, 255];
  var kept = /* @__PURE__ */ new Map();
  var given = /* @__PURE__ */ new Map();
  var provided = /* @__PURE__ */ new Map();
  function getValues(row3, name, slice) {
    const own = typeof row3 === "number" ? provided.get(row3) : void 0;
    if (own) return own(name, slice);
    const address = `${typeof row3 === "string" ? "/live" : ""}/array/${row3}/${name}${slice === void 0 ? "" : `?slice=${slice}`}`;
    let found = kept.get(address);
    if (!found) {
      if (kept.size > 60) kept.delete(kept.keys().next().value);
      found = given.get(address)?.() ?? fetchValues(address);
      kept.set(address, found);
    }
    return found;
  }
  async function fetchValues(address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(await answer.text());
    const shape = (answer.headers.get("x-shape") ?? "").split(",").map(Number);
    return { shape, data: new Float32Array(await answer.arrayBuffer()) };
  }
  function frameOf(values, k) {
    const shape = values.shape.slice(1), size = shape.reduce((a, b) => a * b, 1);
    return { shape, data: values.data.subarray(k * size, (k + 1) * size) };
  }
  function mixed(a, b, share) {
    if (share <= 0) return a;
    return { shape: a.shape, data: a.data.map((v, i) => v * (1 - share) + b.data[i] * share) };
  }
  function greyPixels(values, window2, dim = 1) {
    const [channels, height, width] = values.shape, size = height * width;
    const pixels = new ImageData(width, height), span = Math.max(window2.high - window2.low, 1e-9);
    for (let i = 0; i < size; i++) {
      for (let c = 0; c < 3; c++) {
        const value = values.data[(channels >= 3 ? c : 0) * size + i];
        pixels.data[4 * i + c] = 255 * dim * Math.min(1, Math.max(0, (value - window2.low) / span));
      }
      pixels.data[4 * i + 3] = 255;
    }
    return pixels;
  }
  function signedPixels(data, width, height, scale, opacity) {
    const pixels = new ImageData(width, height);
    for (let i = 0; i < data.length; i++) {
      const colour = data[i] > 0 ? FOR : AGAINST;
      for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = colour[c];
      pixels.data[4 * i + 3] = 255 * opacity * Math.min(1, Math.abs(data[i]) / scale);
    }
    return pixels;
  }
  function difference(a, b) {
    const [channels, height, width] = a.shape, size = height * width, found = new Float32Array(size);
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < size; i++) found[i] += (a.data[c * size + i] - b.data[c * size + i]) / channels;
    return found;
  }
  function exaggerated(origin, now, times) {
    return { shape: origin.shape, data: origin.data.map((value, i) => value + times * (now.data[i] - value)) };
  }
  function percentile(data, share) {
    const sorted = Float32Array.from(data).sort();
    return sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(share * (sorted.length - 1))))];
  }
  function layerOf(pixels) {
    const layer = document.createElement("canvas");
    layer.width = pixels.width;
    layer.height = pixels.height;
    layer.getContext("2d").putImageData(pixels, 0, 0);
    return layer;
  }
  function draw(context, pixels) {
    const layer = layerOf(pixels);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(layer, 0, 0, context.canvas.width, context.canvas.height);
  }
  function fit(canvas, height, width, aspect, least = 512) {
    const wide = Math.round(Math.min(1024, Math.max(least, width)));
    const high = Math.max(1, Math.round(wide * height * aspect / width));
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.width = wide;
      canvas.height = high;
    }
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, wide, high);
    return context;
  }
  var OUTLINED = 0.1;
  function strongest(sizes, share) {
    return percentile(sizes, 1 - share) || sizes.reduce((least, size) => size > 0 && (least === 0 || size < least) ? size : least, 0) / 2;
  }
  function outline(data, width, height) {
    const sizes = data.map(Math.abs), level = strongest(sizes, OUTLINED);
    const inside2 = sizes.reduce((count2, size) => count2 + (size >= level ? 1 : 0), 0) / sizes.length;
    return level > 0 && inside2 <= 1.5 * OUTLINED ? contour(data, width, height, level) : [];
  }
  function contour(data, width, height, level) {
    const lines = [];
    if (level <= 0) return lines;
    const at = (x, y) => (
      // values outside the image count as low, so that lines close at the edge
      x < 0 || y < 0 || x >= width || y >= height ? -level : Math.abs(data[y * width + x]) - level
    );
    for (let y = -1; y < height; y++) {
      for (let x = -1; x < width; x++) {
        const a = at(x, y), b = at(x + 1, y), c = at(x + 1, y + 1), d = at(x, y + 1);
        const cut2 = [];
        if (a >= 0 !== b >= 0) cut2.push([x + a / (a - b), y]);
        if (b >= 0 !== c >= 0) cut2.push([x + 1, y + b / (b - c)]);
        if (c >= 0 !== d >= 0) cut2.push([x + d / (d - c), y + 1]);
        if (d >= 0 !== a >= 0) cut2.push([x, y + a / (a - d)]);
        for (let i = 0; i + 1 < cut2.length; i += 2) lines.push([...cut2[i], ...cut2[i + 1]]);
      }
    }
    return lines;
  }
  function drawContour(context, lines, width, height, scale = 1) {
    const sx = context.canvas.width / width, sy = context.canvas.height / height;
    context.beginPath();
    for (const [x0, y0, x1, y1] of lines) {
      context.moveTo((x0 + 0.5) * sx, (y0 + 0.5) * sy);
      context.lineTo((x1 + 0.5) * sx, (y1 + 0.5) * sy);
    }
    context.lineCap = "round";
    for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide / scale;
      context.stroke();
    }
  }

  // source/film.ts
  function film(strip, view, picked) {
    const canvases = strip.order.map(() => el("canvas", { width: 96, height: 96, "aria-hidden": "true" }));
    const again = el("canvas", { width: 96, height: 96, role: "img", "aria-label": "reconstruction of the image by the generator" });
    const paint = painter(async () => {
      const frames = await getValues(strip.row, "frames", view.slice);
      const values = await getValues(strip.row, "reconstruction", view.slice);
      canvases.forEach((canvas, k) => small(canvas, frameOf(frames, strip.order[k]), view, strip.aspect));
      small(again, values, view, strip.aspect);
    });
    view.redraw.push(paint);
    paint();
    const buttons = canvases.map((canvas, k) => {
      const button2 = el(
        "button",
        { type: "button", class: k === strip.origin ? "frame origin" : "frame" },
        canvas,
        el("span", {}, strip.kinds[k]),
        el("b", {}, strip.levels[k])
      );
      button2.addEventListener("click", () => picked(k));
      return button2;
    });
    const box = el(
      "div",
      { class: "film", role: "group", "aria-label": "all frames" },
      ...buttons,
      el("figure", { class: "frame" }, again, el("figcaption", {}, "synthetic: reconstruction"))
    );
    const mark = (at) => buttons.forEach((button2, k) => {
      if (k === Math.round(at)) button2.setAttribute("aria-current", "true");
      else button2.removeAttribute("aria-current");
    });
    return { box, mark };
  }
  function small(canvas, values, view, aspect) {
    const [, height, width] = values.shape;
    canvas.height = Math.max(1, Math.round(canvas.width * height * aspect / width));
    draw(canvas.getContext("2d"), greyPixels(values, view.window));
  }

  // source/followup.ts
  function followupRow(strip, view) {
    const canvases = strip.followup.map((later) => el("canvas", { width: 160, height: 160, role: "img", "aria-label": `later image ${later.name}` }));
    const paint = painter(async () => {
      for (const [k, canvas] of canvases.entries())
        small(canvas, await getValues(strip.row, `followup_${String(k).padStart(3, "0")}`, view.slice), view, view.aspect);
    });
    view.redraw.push(paint);
    paint();
    const id = `later-${strip.row}`;
    return el(
      "section",
      { class: "card", "aria-labelledby": id },
      el("h2", { id }, "The same patient later"),
      el("div", { class: "film", tabindex: 0, role: "group", "aria-label": "later images" }, ...strip.followup.map((later, k) => el(
        "figure",
        { class: "frame later" },
        canvases[k],
        el("figcaption", {}, el("b", {}, later.name), el("span", { class: "block" }, later.answer))
      )))
    );
  }

  // source/judgement.ts
  var ANSWERS = ["plausible", "not plausible", "wrong region"];
  var LEVELS = [[1, "1 unsure"], [2, "2"], [3, "3"], [4, "4"], [5, "5 certain"]];
  var KEPT = "contrafact-reader";
  function judgementSection(id, results) {
    let answer = "", busy = false, judged = [], said = "";
    const name = el("input", { type: "text", maxlength: 40, autocomplete: "off", value: sessionStorage.getItem(KEPT) ?? "" });
    const which = el("select", {}, ...results.map((one) => el("option", { value: one.row }, one.name)));
    const status = el("p", { role: "status" }), all = el("ul", {}), summary2 = el("summary", {}), others = el("details", {}, summary2, all);
    const button2 = (text, pressed) => {
      const made2 = el("button", { type: "button", "aria-pressed": "false" }, text);
      made2.addEventListener("click", pressed);
      return made2;
    };
    const answers = ANSWERS.map((word) => button2(word.charAt(0).toUpperCase() + word.slice(1), () => {
      answer = word;
      say("");
    }));
    const levels = LEVELS.map(([level, text]) => button2(text, () => keep(level)));
    const row3 = () => Number(which.value);
    const reader = () => name.value.trim().split(/\s+/).join(" ");
    const show3 = () => {
      const mine = judged.find((one) => one.row === row3() && one.reader === reader());
      const chosen = answer || mine?.answer;
      answers.forEach((one, k) => one.setAttribute("aria-pressed", String(ANSWERS[k] === chosen)));
      levels.forEach((one, k) => {
        one.disabled = !answer;
        one.setAttribute("aria-pressed", String(!answer && LEVELS[k][0] === mine?.confidence));
      });
      status.textContent = said || (answer ? "How sure are you? The judgement is kept when you say it." : mine ? `Kept: ${wordsOf(mine)}.` : "No judgement of yours yet.");
      summary2.textContent = `All judgements of this case: ${judged.length}`;
      others.hidden = !judged.length;
      all.replaceChildren(...judged.map((one) => el("li", {}, el("b", {}, one.reader), `, ${results.find((r) => r.row === one.row)?.name}: ${wordsOf(one)}`)));
    };
    const say = (words3) => {
      said = words3;
      show3();
    };
    const keep = async (confidence) => {
      if (busy) return;
      if (!reader()) {
        say("Enter your name or code first.");
        name.focus();
        return;
      }
      busy = true;
      try {
        const kept2 = await postJson("/api/judgements", { case: id, row: row3(), reader: reader(), answer, confidence });
        judged = [...judged.filter((one) => one.row !== kept2.row || one.reader !== kept2.reader), kept2];
        answer = "";
        say("");
      } catch (error) {
        say(`Not kept: ${error instanceof Error ? error.message : error}`);
      }
      busy = false;
    };
    name.addEventListener("input", () => {
      sessionStorage.setItem(KEPT, reader());
      say("");
    });
    which.addEventListener("change", () => {
      answer = "";
      say("");
    });
    show3();
    getJson(`/api/judgements/${id}`).then((told) => {
      const older = told.judgements.filter((one) => !judged.some((newer) => newer.row === one.row && newer.reader === one.reader));
      judged = [...older, ...judged];
      show3();
    }).catch((error) => say(`The judgements could not be read: ${error instanceof Error ? error.message : error}`));
    return el(
      "section",
      { class: "card judging", "aria-labelledby": "judging" },
      el("h2", { id: "judging" }, "Your judgement"),
      el("p", { class: "dim" }, "Is what is shown plausible, and is it where it should be? Judgements lie beside the run and change no result."),
      el(
        "div",
        { class: "row-of" },
        el("label", { class: "pick" }, "Your name or code", name),
        results.length > 1 && el("label", { class: "pick" }, "Result", which)
      ),
      el("div", { class: "choices", role: "group", "aria-label": "judgement" }, ...answers),
      el("div", { class: "choices", role: "group", "aria-label": "how sure are you, from 1 to 5" }, ...levels),
      status,
      others
    );
  }
  function wordsOf(one) {
    const time = new Date(one.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    return `${one.answer}, confidence ${one.confidence} of 5 (${time})`;
  }

  // source/legend.ts
  function scaleBar(opacity, dim = 1) {
    const grey = 128 * dim, blend = (colour) => `rgb(${colour.map((part2) => Math.round(part2 * opacity + grey * (1 - opacity))).join(",")})`;
    const bar = el("div", { class: "scale", "aria-hidden": "true" });
    bar.style.background = `linear-gradient(90deg,${blend(AGAINST)},rgb(${grey},${grey},${grey}),${blend(FOR)})`;
    return bar;
  }
  function ends(left, middle2, right) {
    return el("div", { class: "ends" }, ...[left, middle2, right].map((text) => el("span", {}, text)));
  }
  var DIM = 0.35;
  var OVER = 0.95;
  function differenceLegend(scale, change) {
    const most = change.reduce((best, value) => Math.max(best, Math.abs(value)), 0);
    const over = change.reduce((count2, value) => count2 + (Math.abs(value) > scale.scale ? 1 : 0), 0) / change.length;
    const said = most === 0 ? "Nothing changed." : over > 0 ? `${over < 0.01 ? "Under 1" : (100 * over).toFixed(0)} % of the pixels change by more, up to ${short(most)}.` : most < 0.1 * scale.scale ? `The change is far below full colour: at most ${short(most)}.` : `Largest change: ${short(most)}.`;
    return [
      scaleBar(OVER, DIM),
      ends(`darker by ${short(scale.scale)}`, "no change", `brighter by ${short(scale.scale)}`),
      el("p", { class: "dim small" }, `${scale.words.charAt(0).toUpperCase()}${scale.words.slice(1)}. ${said}`.replaceAll(" %", " %"))
    ];
  }

  // source/panels.ts
  var LEAST = 1024;
  var SIDES = ["left", "right", "top", "bottom"];
  var LENSES = ["off", "magnify", "other"];
  var Panels = class {
    // the lens, in shares of the canvas
    /**
     * `measures`: letters of the sides (left, right, top, bottom), the width of the whole image in mm, and its rows and
     * columns. `view`: its box is drawn, and may be drawn by the reader; `answer`: the box of an answer.
     */
    constructor(names, otherName, measures, view, answer) {
      this.otherName = otherName;
      this.measures = measures;
      this.view = view;
      this.answer = answer;
      this.pictures = names.map(() => void 0);
      this.canvases = names.map((name) => el("canvas", { role: "img", width: 512, height: 512, "data-panel": name, "aria-label": LOADING }));
      this.corners = names.map(() => el("div", { class: "corner" }));
      this.tags = names.map(() => el("div", { class: "tag" }));
      this.captions = names.map(() => el("figcaption", {}));
      this.stages = this.canvases.map((canvas, k) => el("div", { class: "stage" }, canvas, this.corners[k], this.tags[k]));
      if (measures?.letters) for (const stage of this.stages)
        stage.append(...[...measures.letters].map((letter, side) => el("span", { class: `letter ${SIDES[side]}` }, letter)));
      this.figures = this.stages.map((stage, k) => el("figure", { class: "panel" }, this.captions[k], stage));
      this.stages.forEach((stage, k) => this.listen(stage, this.canvases[k]));
    }
    otherName;
    measures;
    view;
    answer;
    figures;
    stages;
    captions;
    tags;
    canvases;
    smooth = true;
    wiped = null;
    // set while dragging on the changed image moves the wipe
    drags = "window";
    corners;
    pictures;
    scale = 1;
    x = 0.5;
    // what is in the middle, as a share of the image
    y = 0.5;
    lens = "off";
    at = null;
    show(k, picture) {
      this.pictures[k] = picture;
      this.paint(k);
    }
    /** Where a pointer is, as shares of the image; null outside. */
    place(event, canvas) {
      const at = shareOf(event, canvas);
      const x = this.x + (at.x - 0.5) / this.scale, y = this.y + (at.y - 0.5) / this.scale;
      return x < 0 || y < 0 || x >= 1 || y >= 1 ? null : { x, y };
    }
    zoom(by, at) {
      const before = this.scale;
      this.scale = Math.max(1, Math.min(16, this.scale * by));
      if (at) {
        this.x += (at.x - 0.5) * (1 / before - 1 / this.scale);
        this.y += (at.y - 0.5) * (1 / before - 1 / this.scale);
      }
      this.move(0, 0);
    }
    whole() {
      this.scale = 1;
      this.move(0, 0);
    }
    /** Move the image by shares of what is shown. */
    move(dx, dy) {
      const half = 0.5 / this.scale, inside2 = (at) => Math.max(half, Math.min(1 - half, at));
      this.x = inside2(this.x - dx / this.scale);
      this.y = inside2(this.y - dy / this.scale);
      for (const stage of this.stages) stage.classList.toggle("zoomed", this.scale > 1);
      this.again();
    }
    /** Let a drag on the changed image move the wipe; null: as on the others. */
    wipeBy(moved) {
      this.wiped = moved;
      this.tellDrag();
    }
    tellDrag() {
      this.stages.forEach((stage, k) => {
        stage.dataset.drag = this.wiped && this.canvases[k].dataset.panel === "changed" ? "wipe" : this.drags;
      });
    }
    /** Keys that every group of panels knows; whether the key was one of them. */
    key(event) {
      const steps = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
      if (event.shiftKey && steps[event.key]) this.move(...steps[event.key]);
      else if (event.key === "+" || event.key === "=") this.zoom(1.5);
      else if (event.key === "-") this.zoom(1 / 1.5);
      else if (event.key === "0") this.whole();
      else if (event.key.toLowerCase() === "l") this.press("lens", LENSES[(LENSES.indexOf(this.lens) + 1) % LENSES.length]);
      else if (event.key.toLowerCase() === "p") this.press("pixels", this.smooth ? "pixels" : "smooth");
      else return false;
      return true;
    }
    /** Buttons of zoom and full screen, and choices of lens, pixels and what dragging does. */
    controls(whole2) {
      const button2 = (text, label, pressed) => {
        const made2 = el("button", { type: "button", title: label, "aria-label": label }, text);
        made2.addEventListener("click", pressed);
        return made2;
      };
      const full = el("button", { type: "button", "data-key": "full" }, "Full screen (F)");
      full.addEventListener("click", () => {
        void (document.fullscreenElement ? document.exitFullscreen() : whole2.requestFullscreen());
      });
      const lens = this.remember("lens", choice(
        "Lens (L)",
        [["off", "off"], ["magnify", "×2"], ["other", this.otherName]],
        "off",
        (v) => {
          this.lens = v;
          this.at ??= { x: 0.5, y: 0.5 };
          this.again();
        }
      ));
      const pixels = this.remember("pixels", choice(
        "Pixels (P)",
        [["smooth", "smooth"], ["pixels", "as they are"]],
        "smooth",
        (v) => {
          this.smooth = v === "smooth";
          this.again();
        }
      ));
      const drags = [["window", "window and level"], ["move", "what is shown"], ...this.view?.box ? [["box", "the box"]] : []];
      const drag2 = this.remember("drag", choice("Dragging changes", drags, "window", (v) => {
        this.drags = v;
        this.tellDrag();
      }));
      return {
        buttons: [
          button2("−", "zoom out (−)", () => this.zoom(1 / 1.5)),
          button2("+", "zoom in (+)", () => this.zoom(1.5)),
          button2("Whole image", "show the whole image (0)", () => this.whole()),
          full
        ],
        choices: [lens, pixels, drag2]
      };
    }
    /** Let a drag draw or move the box. */
    dragBox() {
      this.press("drag", "box");
    }
    known = {};
    remember(name, box) {
      this.known[name] = box;
      return box;
    }
    press(name, value) {
      this.known[name]?.querySelector(`input[value=${value}]`)?.click();
    }
    again() {
      this.pictures.forEach((_, k) => this.paint(k));
    }
    paint(k) {
      const picture = this.pictures[k];
      if (!picture) return;
      const context = fit(this.canvases[k], picture.height, picture.width, picture.aspect, LEAST);
      const { width: w, height: h } = context.canvas;
      this.look(context, picture, picture.layers, 1);
      if (picture.wipe) this.wipe(context, picture, picture.wipe);
      if (this.lens !== "off" && this.at) {
        const [x, y, r] = [this.at.x * w, this.at.y * h, 0.16 * Math.min(w, h)];
        context.save();
        context.beginPath();
        context.arc(x, y, r, 0, 2 * Math.PI);
        context.clip();
        context.clearRect(0, 0, w, h);
        this.look(context, picture, this.lens === "other" ? picture.other : picture.layers, this.lens === "other" ? 1 : 2);
        context.restore();
        for (const [colour, wide] of [["#000", 5], ["#fff", 2.5]]) {
          context.strokeStyle = colour;
          context.lineWidth = wide;
          context.beginPath();
          context.arc(x, y, r, 0, 2 * Math.PI);
          context.stroke();
        }
      }
      if (this.measures?.mm) ruler(context, this.measures.mm / this.scale);
      this.corners[k].textContent = [
        `${picture.width} × ${picture.height} px, ${this.smooth ? "smoothed" : "pixels as they are"}`,
        this.scale > 1 && `zoom ×${this.scale.toFixed(1)}`,
        this.lens === "magnify" ? "lens ×2" : this.lens === "other" && `lens: ${this.otherName}`,
        picture.note
      ].filter(Boolean).join(" · ");
      this.corners[k].classList.toggle("noted", Boolean(picture.note));
    }
    /** Draw layers and outline as zoomed; enlarged again around the lens. */
    look(context, picture, layers, by) {
      const { width: w, height: h } = context.canvas, s = this.scale * by;
      context.save();
      if (by > 1 && this.at) context.transform(by, 0, 0, by, (1 - by) * this.at.x * w, (1 - by) * this.at.y * h);
      context.transform(this.scale, 0, 0, this.scale, (0.5 - this.x * this.scale) * w, (0.5 - this.y * this.scale) * h);
      context.imageSmoothingEnabled = this.smooth;
      context.imageSmoothingQuality = "high";
      for (const layer of layers) context.drawImage(layer, 0, 0, w, h);
      if (picture.lines?.length && layers === picture.layers) drawContour(context, picture.lines, picture.width, picture.height, s / 1.6);
      this.boxes(context, s / 1.6);
      context.restore();
    }
    boxes(context, scale) {
      const { view, measures } = this, size = measures && { width: measures.plane[1], height: measures.plane[0] };
      for (const [box, answer] of [[this.answer, true], [view?.box?.at, false]]) {
        const here = !box?.slices || view?.slice !== void 0 && view.slice >= box.slices[0] && view.slice <= box.slices[1];
        if (box && size && here) drawBox(context, box, size, answer, scale);
      }
    }
    wipe(context, picture, wipe) {
      const { width, height } = context.canvas, x = Math.round(wipe.share * width);
      context.save();
      context.beginPath();
      context.rect(0, 0, x, height);
      context.clip();
      context.clearRect(0, 0, x, height);
      this.look(context, picture, [wipe.layer], 1);
      context.restore();
      context.fillStyle = "#fff";
      context.fillRect(x - 1, 0, 3, height);
      context.font = `${Math.round(width / 36)}px system-ui, sans-serif`;
      for (const [text, side, place2] of [[wipe.words[0], "right", x - 12], [wipe.words[1], "left", x + 12]]) {
        context.textAlign = side;
        context.lineWidth = 5;
        context.strokeStyle = "#000";
        context.strokeText(text, place2, 0.92 * height);
        context.fillText(text, place2, 0.92 * height);
      }
    }
    /** Whether a pointer draws the box: with shift, or where dragging is set to. */
    boxing(stage, event) {
      return Boolean(this.view?.box) && event.button === 0 && (event.shiftKey || stage.dataset.drag === "box");
    }
    /** Draw the box with a drag; one that begins inside the box, without shift, moves it. */
    draws(stage, canvas) {
      const box = this.view.box;
      let from = null, held = null;
      const share = (event) => {
        const at = shareOf(event, canvas), within = (value) => Math.max(0, Math.min(1, value));
        return { x: within(this.x + (at.x - 0.5) / this.scale), y: within(this.y + (at.y - 0.5) / this.scale) };
      };
      stage.addEventListener("mousedown", (event) => {
        if (this.boxing(stage, event)) event.preventDefault();
      });
      stage.addEventListener("pointerdown", (event) => {
        if (!this.boxing(stage, event)) return;
        stage.setPointerCapture(event.pointerId);
        from = share(event);
        held = !event.shiftKey && box.holds(from) ? box.at : null;
      });
      stage.addEventListener("pointermove", (event) => {
        if (!from) return;
        const to = share(event);
        if (held) box.move(Math.round((to.x - from.x) * box.width), Math.round((to.y - from.y) * box.height), false, held);
        else box.between(from, to);
      });
      for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => {
        from = null;
      });
    }
    listen(stage, canvas) {
      let from = null, wiping = false;
      if (this.view?.box) this.draws(stage, canvas);
      stage.addEventListener("pointerdown", (event) => {
        if (this.boxing(stage, event)) return;
        const moves = stage.dataset.drag === "move" || event.button === 1 || event.pointerType === "touch" && this.scale > 1;
        wiping = Boolean(this.wiped) && canvas.dataset.panel === "changed" && event.button === 0;
        if (!moves && !wiping) return;
        event.preventDefault();
        stage.focus?.();
        stage.setPointerCapture(event.pointerId);
        from = { x: event.clientX, y: event.clientY };
        if (wiping) this.wiped?.(shareOf(event, canvas).x);
      });
      stage.addEventListener("pointermove", (event) => {
        const box = canvas.getBoundingClientRect();
        if (wiping) this.wiped?.(Math.max(0, Math.min(1, shareOf(event, canvas).x)));
        else if (from) {
          this.move((event.clientX - from.x) / box.width, (event.clientY - from.y) / box.height);
          from = { x: event.clientX, y: event.clientY };
        }
        if (this.lens !== "off") {
          this.at = shareOf(event, canvas);
          this.again();
        }
      });
      for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => {
        from = null;
        wiping = false;
      });
      stage.addEventListener("wheel", (event) => {
        if (!event.ctrlKey && !document.fullscreenElement) return;
        event.preventDefault();
        this.zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, shareOf(event, canvas));
      }, { passive: false });
    }
  };
  function ruler(context, mm) {
    const { width: w, height: h } = context.canvas;
    const ten = 10 ** Math.floor(Math.log10(mm / 4)), length = [5, 2, 1].map((step) => step * ten).find((one) => one <= mm / 4) ?? ten;
    const long = length / mm * w, [x, y] = [0.97 * w - long, 0.93 * h];
    const size = Math.round(w / 20), words3 = `${length} mm`, above = y - 14;
    context.font = `${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    const across = Math.max(long, context.measureText(words3).width + size / 2), middle2 = Math.min(x + long / 2, w - across / 2);
    context.fillStyle = "rgb(0 0 0 / 70%)";
    context.fillRect(middle2 - across / 2, above - size, across, 1.2 * size);
    for (const [colour, wide] of [["#000", 7], ["#fff", 3]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.beginPath();
      for (const [x0, y0, x1, y1] of [[x, y, x + long, y], [x, y - 7, x, y + 7], [x + long, y - 7, x + long, y + 7]]) {
        context.moveTo(x0, y0);
        context.lineTo(x1, y1);
      }
      context.stroke();
    }
    context.fillStyle = "#fff";
    context.fillText(words3, middle2, above);
  }
  function shareOf(event, canvas) {
    const box = canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  // source/window.ts
  function windowControls(image, view, ...stages) {
    const [low, high] = image.window, span = Math.max(image.range[1] - image.range[0], high - low, 1e-6);
    const least = Math.min(image.range[0], low), most = Math.max(image.range[1], high);
    const centre = () => (view.window.low + view.window.high) / 2, width = () => view.window.high - view.window.low;
    const put = (first, last2) => {
      view.window.low = first;
      view.window.high = last2;
      view.redraw.forEach((again) => again());
    };
    const set = (middle2, wide) => {
      const kept2 = Math.max(span / 256, Math.min(2 * span, wide)), at = Math.max(least, Math.min(most, middle2));
      put(at - kept2 / 2, at + kept2 / 2);
    };
    const level = slider("Level", { min: least, max: most, step: "any", value: centre() }, short, (v) => set(v, width()));
    const wider = slider("Window", { min: span / 256, max: 2 * span, step: "any", value: width() }, short, (v) => set(centre(), v));
    const presets = el("select", {}, ...image.presets.map(([name], k) => el("option", { value: k }, name)), el("option", { value: "own", hidden: true }, "own"));
    presets.addEventListener("change", () => {
      const preset = image.presets[Number(presets.value)];
      if (preset) put(preset[1], preset[2]);
    });
    const told = () => {
      level.set(centre());
      wider.set(width());
      const is = image.presets.findIndex(([, first, last2]) => Math.abs(first - view.window.low) + Math.abs(last2 - view.window.high) < 1e-6 * span);
      presets.value = is < 0 ? "own" : String(is);
    };
    view.redraw.push(told);
    told();
    const reset = el("button", { type: "button" }, "Reset window");
    reset.addEventListener("click", () => put(low, high));
    let from = null;
    for (const stage of stages) {
      stage.addEventListener("pointerdown", (event) => {
        const other2 = stage.dataset.drag && stage.dataset.drag !== "window" || event.shiftKey && view.box;
        if (event.pointerType === "touch" || event.button !== 0 || other2) return;
        from = { x: event.clientX, y: event.clientY, middle: centre(), wide: width() };
        stage.setPointerCapture(event.pointerId);
      });
      stage.addEventListener("pointermove", (event) => {
        if (from) set(from.middle + (event.clientY - from.y) / 300 * span, from.wide + (event.clientX - from.x) / 300 * span);
      });
      for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => {
        from = null;
      });
    }
    return [el("label", { class: "pick" }, "Window preset", presets), level.box, wider.box, reset];
  }
  function sliceControl(image, view) {
    if (view.slice === void 0 || image.slices < 2) return null;
    const made2 = slider(
      "Slice",
      { min: 0, max: image.slices - 1, step: 1, value: view.slice },
      (at) => `${at + 1} of ${image.slices}`,
      (at) => {
        view.slice = at;
        view.redraw.forEach((again) => again());
      }
    );
    view.redraw.push(() => made2.set(view.slice));
    return made2;
  }

  // source/where.ts
  var STRONGEST = 10;
  function whereSection(image, maps, view) {
    const state = { map: maps[0], opacity: 0.85, own: faint(maps[0]), hidden: false };
    view.share ??= STRONGEST;
    const panels = new Panels(["map"], "the image alone", image, view), [canvas] = panels.canvases, [stage] = panels.stages;
    const readout = el("p", { class: "dim small under" }, "Point at the image to read values.");
    const legend = el("div", { class: "legend" }), beside = el("div", { class: "beside" });
    const paint = painter(async () => {
      const row3 = state.map?.row ?? image.row, map = state.map;
      const values = await getValues(row3, "image", view.slice);
      const [, height, width] = values.shape, plain = layerOf(greyPixels(values, view.window)), layers = [plain];
      let lines = [];
      if (map) {
        const found = await getValues(map.row, "values", view.slice), scale = state.own ? map.own : map.shared;
        if (!state.hidden) layers.push(layerOf(signedPixels(turned(found.data, map.sign), width, height, scale, state.opacity)));
        if (!state.hidden && view.share < 100) lines = contour(found.data, width, height, levelOf(map, view.share, found.data));
        legend.replaceChildren(...legendOf(map, scale, state.own, state.opacity));
      }
      panels.show(0, { height, width, aspect: view.aspect, layers, lines, other: [plain] });
      canvas.setAttribute("aria-label", map && !state.hidden ? `the image with the map ${map.label} for ${map.target_name} over it` : "the image alone");
    });
    view.redraw.push(paint);
    const picked = (row3) => {
      state.map = maps.find((map) => String(map.row) === row3);
      state.own = faint(state.map);
      if (scales) scales.querySelector(`input[value=${state.own ? "own" : "fixed"}]`).checked = true;
      beside.replaceChildren(...besideOf(state.map));
      paint();
    };
    const slices = sliceControl(image, view), inner = shareControl("Contour", view);
    const scales = maps.length > 0 && choice(
      "Scale",
      [["fixed", "cohort"], ["own", "per image"]],
      state.own ? "own" : "fixed",
      (v) => {
        state.own = v === "own";
        paint();
      }
    );
    const hide = el("input", { type: "checkbox" });
    hide.addEventListener("change", () => {
      state.hidden = hide.checked;
      paint();
    });
    const box = el("div", {
      class: "viewing one",
      tabindex: 0,
      role: "group",
      "aria-label": "image with map. H hides the map, L is the lens, P the pixels, plus, minus and 0 zoom, F is full screen; drag changes the window"
    });
    const { buttons, choices: choices3 } = panels.controls(box);
    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.target !== box && (event.key.startsWith("Arrow") || event.target instanceof HTMLSelectElement)) return;
      if (event.key.toLowerCase() === "h") hide.click();
      else if (event.key.toLowerCase() === "f") buttons[3].click();
      else if (!panels.key(event)) return;
      event.preventDefault();
    });
    const windows = windowControls(image, view, stage);
    readValues(panels, image, view, () => state.map, readout);
    beside.replaceChildren(...besideOf(state.map));
    paint();
    panels.figures[0].append(...maps.length ? [legend] : [], readout);
    box.append(panels.figures[0], el(
      "div",
      { class: "controls" },
      maps.length > 0 && choice("Map", maps.map((m) => [String(m.row), nameOf(m, maps)]), String(maps[0].row), picked),
      slices?.box,
      maps.length > 0 && slider(
        "Opacity",
        { min: 0, max: 100, step: 1, value: 85 },
        (v) => `${v} %`,
        (v) => {
          state.opacity = v / 100;
          paint();
        }
      ).box,
      maps.length > 0 && inner,
      scales,
      maps.length > 0 && el("label", { class: "check" }, hide, " Hide the map (H)"),
      el("div", { class: "row-of" }, ...buttons),
      view.box && boxControls(view.box, {}, () => panels.dragBox()),
      el("div", { class: "pairs" }, ...choices3, ...windows)
    ), beside);
    return el(
      "section",
      { class: "card", "aria-labelledby": "where" },
      el("h2", { id: "where" }, "Where the model looks"),
      !maps.length && el("p", { class: "dim" }, "This case has no heatmaps."),
      box
    );
  }
  function levelOf(map, share, shown) {
    return map.levels.length ? map.levels[100 - share] : strongest(shown.map(Math.abs), share / 100);
  }
  function shareControl(label, view) {
    const made2 = slider(
      label,
      { min: 1, max: 100, step: 1, value: view.share },
      (v) => v < 100 ? `the strongest ${v} %` : "off",
      (v) => {
        view.share = v;
        view.redraw.forEach((again) => again());
      }
    );
    view.redraw.push(() => made2.set(view.share));
    return made2.box;
  }
  function nameOf(map, maps) {
    return new Set(maps.map((m) => m.target)).size > 1 ? `${map.label}, ${map.target_name}` : map.label;
  }
  function besideOf(map) {
    return map ? [trustCard(map.trust), madeBy(map)] : [];
  }
  var faint = (map) => map !== void 0 && map.scale < map.shared;
  var turned = (data, sign) => sign < 0 ? data.map((value) => -value) : data;
  function ownScaleWords(map) {
    const factor = map.shared / map.own;
    return `×${factor.toFixed(factor >= 9.95 ? 0 : 1)}: per-image scale, not comparable with other maps; the cohort scale is ±${short(map.shared)}`;
  }
  function legendOf(map, scale, own, opacity = 0.85) {
    const [seen, there] = map.scale_from;
    const from = !there ? "Per-image scale: not comparable with other maps" : own ? ownScaleWords(map) : `Cohort scale: ${plural(there, "map")} of this model by ${map.method}` + (seen < there ? ` (estimated from ${seen} of them)` : "");
    return [
      scaleBar(opacity),
      ends(`${map.blue}: ${short(scale)}`, "0", `${map.orange}: ${short(scale)}`),
      el(
        "p",
        { class: "dim small" },
        `Target: ${map.target_name}; evidence in ${map.unit}. Orange: evidence ${map.orange}; blue: ${map.blue}. ${from}.`,
        map.layer && el("b", { class: "block" }, `Resolution of the map: ${map.layer}, enlarged to the image.`),
        map.part && el("b", { class: "block" }, `The map is ${map.part}.`)
      ),
      ...map.flaw ? [el("p", { class: "doubt" }, map.flaw)] : []
    ];
  }
  function evidence(map, value) {
    return value === 0 ? "0" : `${short(Math.abs(value))} ${value * map.sign > 0 ? map.orange : map.blue}`;
  }
  function readValues(panels, image, view, map, readout) {
    const [canvas] = panels.canvases;
    const read = async (event) => {
      const at = panels.place(event, canvas), chosen = map();
      const values = await getValues(chosen?.row ?? image.row, "image", view.slice).catch(() => null);
      const found = chosen && await getValues(chosen.row, "values", view.slice).catch(() => null);
      if (!values || !at) return;
      const [channels, height, width] = values.shape, x = Math.floor(at.x * width), y = Math.floor(at.y * height);
      const grey = Array.from({ length: channels }, (_, c) => short(values.data[(c * height + y) * width + x]));
      const said = found && chosen ? `, map ${evidence(chosen, found.data[y * width + x])}` : "";
      readout.textContent = `column ${x}, row ${y}: image ${grey.join(" ")}${said}`;
    };
    for (const kind of ["pointermove", "pointerdown"]) canvas.addEventListener(kind, read);
  }

  // source/live_map.ts
  function mapSection(map, view) {
    const canvas = el("canvas", { role: "img", width: 512, height: 512, "aria-label": `the image with the map ${map.label} for ${map.target_name} over it` });
    let opacity = 0.85;
    const paint = painter(async () => {
      const image = await getValues(map.row, "image", view.slice), found = await getValues(map.row, "values", view.slice);
      const [, height, width] = image.shape, context = fit(canvas, height, width, view.aspect);
      draw(context, greyPixels(image, view.window));
      draw(context, signedPixels(turned(found.data, map.sign), found.shape[2], found.shape[1], map.scale, opacity));
    });
    view.redraw.push(paint);
    paint();
    return el(
      "section",
      { class: "card", "aria-labelledby": `map-${map.row}` },
      el("h2", { id: `map-${map.row}` }, `Where: ${map.label} for ${map.target_name}`),
      el(
        "div",
        { class: "columns" },
        el("div", {}, el("div", { class: "stage" }, canvas), el(
          "div",
          { class: "legend" },
          ...legendOf(map, map.scale, faint(map))
        )),
        el("div", { class: "controls" }, slider("Opacity", { min: 0, max: 100, step: 1, value: 85 }, (v) => `${v} %`, (v) => {
          opacity = v / 100;
          paint();
        }).box),
        el("div", { class: "beside" }, trustCard(map.trust))
      )
    );
  }

  // source/nearest.ts
  function nearestOf(nearest, row3, view) {
    return nearest.filter((one) => one.row === row3).map((one) => nearestRow(one, view));
  }
  function nearestOfTarget(nearest, target, view) {
    const found = nearest.find((one) => one.target === target);
    if (found) {
      const row3 = nearestRow(found, view);
      row3.removeAttribute("aria-labelledby");
      return row3;
    }
    return el("p", { class: "dim" }, "The run holds no real cases for this target: contrafact explain with --cases FOLDER finds the nearest.");
  }
  var made = 0;
  function nearestRow(near, view) {
    const canvases = near.cases.map((real) => el("canvas", { width: 160, height: 160, role: "img", "aria-label": `real case ${real.name}` }));
    const [low, high] = [view.window.low, view.window.high];
    const paint = painter(async () => {
      for (const [k, canvas] of canvases.entries()) {
        const real = near.cases[k], same = real.window[0] === low && real.window[1] === high;
        const shown = same ? view : { ...view, window: { low: real.window[0], high: real.window[1] } };
        small(canvas, await getValues(near.row, real.array, view.slice), shown, real.aspect);
      }
    });
    view.redraw.push(paint);
    paint();
    const id = `nearest-${near.row}-${++made}`;
    return el(
      "section",
      { class: "card", "aria-labelledby": id },
      el("h2", { id }, near.heading),
      el("p", { class: "dim" }, near.words),
      el("div", { class: "film", tabindex: 0, role: "group", "aria-label": "real cases" }, ...near.cases.map((real, k) => el(
        "figure",
        { class: "frame later" },
        canvases[k],
        el(
          "figcaption",
          {},
          el("b", { class: "mark real" }, "REAL"),
          " ",
          real.name,
          el("b", { class: "block" }, real.answer.replaceAll(" %", " %")),
          real.label && el("span", { class: "block" }, `labelled ${real.label}`),
          ...real.place.map((line2) => el("span", { class: "block" }, line2))
        )
      )))
    );
  }

  // source/chart.ts
  function chart(strip) {
    const { width, height, points, ideal, x_ticks, y_ticks, goal_y, half_y } = strip.curve;
    const line2 = (list2) => list2.map((point) => point.join(",")).join(" ");
    const now = svg("circle", { class: "now", r: 6 });
    const last2 = strip.scores.length - 1, axis = strip.shares ? `probability of ${strip.target_name}` : `change achieved, ${strip.unit}`;
    const [from, to] = [strip.table[0], strip.table[last2]];
    const words3 = strip.shares ? `Probability over the change requested: from ${strip.levels[0]} to ${strip.levels[last2]}, for ${to.requested} ${strip.unit} requested.` : `Change requested against change achieved, in ${strip.unit}: from ${from.requested} requested and ${from.achieved} achieved to ${to.requested} requested and ${to.achieved} achieved.`;
    const across = (y, kind, text) => [
      svg("line", { x1: 54, x2: width - 14, y1: y, y2: y, class: kind }),
      kind === "half" ? svg("text", { ...points[points.length - 1][1] > y ? { x: 60 } : { x: width - 16, "text-anchor": "end" }, y: y + 13, class: "half-text" }, text) : svg("text", { x: 60, y: y - 4, class: `${kind}-text` }, text)
    ];
    const picture = svg(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words3, class: "chart" },
      ...x_ticks.flatMap(([x, text]) => [
        svg("line", { x1: x, x2: x, y1: 14, y2: height - 40, class: "grid" }),
        svg("text", { x, y: height - 24, "text-anchor": "middle" }, text)
      ]),
      ...y_ticks.flatMap(([y, text]) => [
        svg("line", { x1: 54, x2: width - 14, y1: y, y2: y, class: "grid" }),
        svg("text", { x: 50, y: y + 4, "text-anchor": "end" }, text)
      ]),
      svg("text", { x: (width + 40) / 2, y: height - 6, "text-anchor": "middle" }, `change requested, ${strip.unit}`),
      svg("text", { transform: `translate(12 ${height / 2 - 10}) rotate(-90)`, "text-anchor": "middle" }, cut(axis)),
      svg("polyline", { points: line2(ideal), class: "ideal" }),
      ...half_y === null ? [] : across(half_y, "half", "the prediction flips"),
      ...goal_y === null ? [] : across(goal_y, "goal", "goal"),
      svg("polyline", { points: line2(points), class: "measured" }),
      ...points.map(([x, y]) => svg("circle", { cx: x, cy: y, r: 2.6, class: "point" })),
      now
    );
    const at = (k, share) => {
      const next2 = points[Math.min(k + 1, points.length - 1)];
      now.setAttribute("cx", String(points[k][0] * (1 - share) + next2[0] * share));
      now.setAttribute("cy", String(points[k][1] * (1 - share) + next2[1] * share));
    };
    return { picture, at };
  }
  var cut = (text) => text.length > 34 ? `${text.slice(0, 33)}…` : text;

  // source/strip.ts
  var KEYS = "Left and right arrows change the frame, B puts the original in the place of the changed image and back, M the comparison mode, X exaggerates, L is the lens, P the pixels, plus, minus and 0 zoom, shift and arrows move what is shown, F is full screen";
  function displayed(strip) {
    const by = (list2) => strip.order.map((k) => list2[k]);
    return {
      ...strip,
      requested: by(strip.requested),
      scores: by(strip.scores),
      shares: strip.shares && by(strip.shares),
      latent_distance: by(strip.latent_distance),
      kinds: by(strip.kinds),
      levels: by(strip.levels),
      table: by(strip.table),
      origin: strip.order.indexOf(strip.origin),
      curve: { ...strip.curve, points: by(strip.curve.points) }
    };
  }
  function stripSection(given2, view, image, first = false) {
    const strip = displayed(given2), parts = new Part(strip, view, image);
    const title = strip.sentence || strip.picture ? "What would change the prediction?" : strip.heading;
    const failed = strip.trust.failed.length, doubts = failed > 0 && ` ${failed === 1 ? "One reliability check does" : `${failed} reliability checks do`} not pass (below).`;
    const section = el(
      "section",
      { class: "card how", "aria-label": `${strip.heading}, ${strip.label}` },
      first && title === strip.heading && el("p", { class: "kicker" }, "What would change the prediction?"),
      el("h2", {}, strip.picture ? strip.heading : title),
      strip.picture ? el("p", { class: "dim" }, "Made by gradient ascent: not a patient, and no likeness is claimed.") : el("p", { class: `lead verdict ${strip.tone}` }, strip.sentence && strip.verdict && el("b", {}, `${strip.verdict} `), strip.sentence.replaceAll(" %", " %") || `${strip.second} ${sentenceOf(strip.reason)}`, doubts),
      strip.box && el("p", { class: "dim" }, strip.box.words),
      parts.viewing(),
      parts.strip.box,
      el(
        "div",
        { class: "below" },
        !strip.picture && el("div", {}, parts.chart.picture, detailsOf(strip)),
        el("div", { class: "beside" }, strip.picture ? "" : verdict(strip), trustCard(strip.trust), madeBy(strip))
      )
    );
    parts.paint();
    return section;
  }
  var Part = class {
    constructor(about, view, image) {
      this.about = about;
      this.view = view;
      this.image = image;
      this.last = about.order.length - 1;
      this.state = { at: about.origin === 0 ? this.last : about.origin, compare: "beside", wipe: 0.5, swapped: false, times: 1, outlined: true };
      this.panels = new Panels(about.picture ? ["changed"] : ["original", "changed", "difference"], "the other image", image, view, about.box);
      this.paint = painter(() => this.draw());
      view.redraw.push(this.paint);
      this.chart = chart(about);
      this.strip = film(about, view, (k) => this.to(k));
      this.move = slider(
        about.shares ? `Probability of ${about.target_name}` : `Prediction: ${about.target_name}`,
        { min: 0, max: this.last, step: 0.02, value: this.state.at },
        (v) => words(about, v),
        (v) => {
          this.state.at = v;
          this.paint();
        }
      );
      this.move.box.classList.add("frames");
      this.move.input.addEventListener("keydown", (event) => this.arrows(event));
      this.wipe = slider("Wipe", { min: 0, max: 100, step: 1, value: 50 }, (v) => `${v} % is the original`, (v) => {
        this.state.wipe = v / 100;
        this.paint();
      });
      this.wipe.box.hidden = true;
    }
    about;
    view;
    image;
    paint;
    chart;
    strip;
    state;
    last;
    panels;
    read = el("dl", { class: "read" });
    legend = el("div", { class: "legend" });
    move;
    wipe;
    keys = {};
    /** The panels with their controls. */
    viewing() {
      const { panels, image } = this, plain = !this.about.picture;
      const box = el("div", { class: "viewing", tabindex: 0, role: "group", "aria-label": `original, changed image and difference. ${KEYS}` });
      const { buttons, choices: choices3 } = panels.controls(box);
      const flicker = el("button", { type: "button", "aria-pressed": "false" }, "Original / changed (B)");
      flicker.addEventListener("click", () => {
        this.state.swapped = !this.state.swapped;
        flicker.setAttribute("aria-pressed", String(this.state.swapped));
        this.paint();
      });
      const modes = choice("Compare (M)", [["beside", "side by side"], ["wipe", "wipe"]], "beside", (v) => {
        this.state.compare = v;
        this.wipe.box.hidden = v !== "wipe";
        panels.wipeBy(v === "wipe" ? (share) => {
          this.state.wipe = share;
          this.wipe.set(Math.round(100 * share));
          this.paint();
        } : null);
        this.paint();
      });
      const times = choice("Exaggerate the change (X)", [["1", "off"], ["2", "×2"], ["4", "×4"]], "1", (v) => {
        this.state.times = Number(v);
        this.paint();
      });
      const lines = el("input", { type: "checkbox", checked: true });
      lines.addEventListener("change", () => {
        this.state.outlined = lines.checked;
        this.paint();
      });
      this.keys = { b: () => flicker.click(), m: () => next(modes), x: () => next(times), f: () => buttons[3].click() };
      box.addEventListener("keydown", (event) => this.key(event, box));
      const slices = image && sliceControl(image, this.view);
      const figures = panels.figures;
      if (plain) figures[2].append(this.legend);
      const outlines = el("label", { class: "check" }, lines, " Outline the 10 % that change most");
      box.append(...figures, el(
        "div",
        { class: "controls" },
        this.move.box,
        slices?.box ?? "",
        el("div", { class: "row-of" }, this.play(), plain ? flicker : "", ...buttons),
        this.read,
        this.view.box ? boxControls(this.view.box, { target: this.about.target, goal: this.about.goal }, () => panels.dragBox()) : "",
        el(
          "div",
          { class: "pairs" },
          ...plain ? [modes, this.wipe.box, times, outlines] : [],
          ...choices3,
          ...image ? windowControls(image, this.view, ...panels.stages) : []
        )
      ));
      return box;
    }
    async draw() {
      const { about, state, view } = this, frames = await getValues(about.row, "frames", view.slice);
      const k = Math.min(Math.floor(state.at), this.last), share = state.at - k;
      const frame = (at) => frameOf(frames, about.order[at]);
      const origin = frame(about.origin), now = mixed(frame(k), frame(Math.min(k + 1, this.last)), share);
      this.put(origin, now);
      this.chart.at(k, share);
      this.strip.mark(state.at);
      view.moved?.(about.order[0] ? this.last - state.at : state.at);
      this.read.replaceChildren(...readings(about, k, share));
    }
    put(origin, now) {
      const { about, state, view, panels } = this, [, height, width] = origin.shape, size = { height, width, aspect: about.aspect };
      const first = layerOf(greyPixels(origin, view.window));
      const second = layerOf(greyPixels(state.times > 1 ? exaggerated(origin, now, state.times) : now, view.window));
      const note = state.times > 1 ? `CHANGE EXAGGERATED ×${state.times}` : void 0, changed = { ...size, layers: [second], other: [first], note };
      if (about.picture) return this.one(0, changed);
      panels.show(0, { ...size, layers: [first], other: [second] });
      if (state.swapped) panels.show(1, { ...size, layers: [first], other: [second] });
      else if (state.compare === "wipe") panels.show(1, { ...changed, wipe: { share: state.wipe, layer: first, words: ["original", "synthetic"] } });
      else panels.show(1, changed);
      const change = difference(now, origin), dark = layerOf(greyPixels(origin, view.window, DIM));
      panels.show(2, {
        ...size,
        layers: [dark, layerOf(signedPixels(change, width, height, about.difference.scale, OVER))],
        lines: state.outlined ? outline(change, width, height) : [],
        other: [second]
      });
      this.legend.replaceChildren(...differenceLegend(about.difference, change));
      this.captions();
    }
    one(k, picture) {
      this.panels.show(k, picture);
      this.panels.tags[k].textContent = "synthetic, not for diagnosis";
      this.panels.captions[k].replaceChildren(el("b", { class: "mark" }, "synthetic"), ` ${words(this.about, this.state.at)}`);
      this.panels.canvases[k].setAttribute("aria-label", words(this.about, this.state.at));
    }
    captions() {
      const { about, state, panels } = this, k = Math.min(Math.floor(state.at), this.last);
      const level = levelAt(about, k, state.at - k), before = about.levels[about.origin];
      const same = isOrigin(about, state.at) || state.swapped, kind = kindAt(about, state.swapped ? about.origin : state.at);
      const kinds = [
        kindAt(about, about.origin),
        state.compare === "wipe" && !same ? "left: original; right: synthetic, not for diagnosis" : kind,
        `difference of frame ${place(state.at)} (${isOrigin(about, state.at) ? "original" : "synthetic"}) from the original`
      ];
      const levels = [`${about.target_name}: ${before}`, `${about.target_name}: ${state.swapped ? before : level}`, "changed image minus original"];
      kinds.forEach((text, at) => {
        const real = at === 0 || at === 1 && same;
        panels.tags[at].textContent = text;
        panels.tags[at].classList.toggle("original", real);
        panels.captions[at].replaceChildren(
          el("b", { class: real ? "mark real" : "mark" }, at === 2 ? "difference" : real ? "original" : "synthetic"),
          ` ${levels[at].replaceAll(" %", " %")}`
        );
        panels.canvases[at].setAttribute("aria-label", `${text}. ${levels[at]}`);
      });
    }
    to(at) {
      this.state.at = at;
      this.move.set(at);
      this.paint();
    }
    arrows(event) {
      const step = event.shiftKey ? 0 : { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key] ?? 0, { at } = this.state;
      if (!step) return false;
      event.preventDefault();
      event.stopPropagation();
      this.to(Math.max(0, Math.min(this.last, step > 0 ? Math.floor(at + 1e-6) + 1 : Math.ceil(at - 1e-6) - 1)));
      return true;
    }
    key(event, box) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const inside2 = event.target !== box, own = this.keys[event.key.toLowerCase()];
      if (inside2 && (event.key.startsWith("Arrow") || event.target instanceof HTMLSelectElement)) return;
      if (own) {
        if (!event.repeat) own();
      } else if (!this.arrows(event) && !this.panels.key(event)) return;
      event.preventDefault();
    }
    play() {
      const button2 = el("button", { type: "button" }, "Play"), { state } = this;
      let timer2 = 0, step = 1;
      button2.addEventListener("click", () => {
        if (timer2) {
          clearInterval(timer2);
          timer2 = 0;
          button2.textContent = "Play";
          return;
        }
        button2.textContent = "Stop";
        timer2 = window.setInterval(() => {
          if (state.at + 0.08 * step > this.last || state.at + 0.08 * step < 0) step = -step;
          this.to(Math.max(0, Math.min(this.last, state.at + 0.08 * step)));
        }, 50);
      });
      return button2;
    }
  };
  function next(box) {
    const options = [...box.querySelectorAll("input")], at = options.findIndex((one) => one.checked);
    options[(at + 1) % options.length].click();
  }
  var sentenceOf = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
  var place = (at) => at.toFixed(Number.isInteger(at) ? 0 : 1);
  function verdict(strip) {
    const error = strip.above_tolerance ? "above the tolerance: generating this image without a change moves the prediction. Do not rely on this counterfactual" : "within the tolerance";
    return el(
      "p",
      { class: `verdict ${strip.tone}` },
      el("b", {}, strip.second),
      ` ${sentenceOf(strip.reason)} `,
      `Reconstruction error: ${strip.reconstruction_error.toFixed(2)} ${strip.unit}, ${error}.`,
      strip.outcome !== "already" && hasLatents(strip) && ` Largest latent distance: ${Math.max(...strip.latent_distance).toFixed(1)} SD.`,
      ` Engine: ${strip.engine}.`
    );
  }
  var hasLatents = (strip) => Math.max(...strip.latent_distance) > 0;
  var isOrigin = (strip, at) => Math.abs(at - strip.origin) < 1e-6 && !strip.picture;
  function kindAt(strip, at) {
    return isOrigin(strip, at) ? strip.kinds[strip.origin] : "synthetic, not for diagnosis";
  }
  function detailsOf(strip) {
    const heads = ["frame", "level", `score, ${strip.unit}`, "requested", "achieved", "latent distance (SD)"];
    return el(
      "details",
      { class: "details" },
      el("summary", {}, `Details: ${strip.unit}, changes requested and achieved`),
      el(
        "div",
        { class: "wide", role: "region", tabindex: 0, "aria-label": "figures of every frame" },
        el(
          "table",
          { class: "figures" },
          el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
          el("tbody", {}, ...strip.table.map((f, k) => el("tr", {}, ...[`${k}, ${f.kind}`, f.level, f.score, f.requested, f.achieved, f.distance].map((text) => el("td", {}, text)))))
        )
      )
    );
  }
  function between(list2, k, share) {
    return list2[k] * (1 - share) + list2[Math.min(k + 1, list2.length - 1)] * share;
  }
  function levelAt(strip, k, share) {
    const at = share < 0.011 ? k : share > 0.989 ? Math.min(k + 1, strip.levels.length - 1) : -1;
    if (at >= 0) return strip.levels[at];
    return "≈ " + (strip.shares ? `${(100 * between(strip.shares, k, share)).toFixed(0)} %` : `${between(strip.scores, k, share).toFixed(2)} ${strip.unit}`);
  }
  function readings(strip, k, share) {
    const name = strip.shares ? `probability of ${strip.target_name}` : strip.target_name;
    const pairs2 = strip.picture ? [[name, levelAt(strip, k, share)]] : [
      [name, `${strip.levels[strip.origin].replace(` ${strip.unit}`, "")} → ${levelAt(strip, k, share)}`],
      ...hasLatents(strip) ? [["latent distance", between(strip.latent_distance, k, share).toFixed(2) + " SD"]] : []
    ];
    return pairs2.flatMap(([label, value]) => [el("dt", {}, label), el("dd", {}, value)]);
  }
  function words(strip, at) {
    const k = Math.min(Math.floor(at), strip.order.length - 1);
    return `${levelAt(strip, k, at - k)}, frame ${place(at)} of ${strip.order.length - 1}: ${isOrigin(strip, at) ? "original" : "synthetic"}`;
  }

  // source/live.ts
  var pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  var chance = (score) => score > 5.3 ? ">99 %" : score < -5.3 ? "<1 %" : `${(100 / (1 + Math.exp(-score))).toFixed(0)} %`;
  function liveSection(id, image, view, nearest, shown) {
    const status = el("p", { class: "dim", role: "status", id: "live-status" }, "loading the model …");
    const section = el(
      "section",
      { class: "card live", "aria-labelledby": "live" },
      el("h2", { id: "live" }, "Live explanation"),
      status
    );
    const none = (words3, why) => {
      status.textContent = words3;
      if (view.box) {
        view.box.why = why;
        view.box.tell();
      }
    };
    enter(id).then((told) => {
      if (told.state === "none") none(`Not available: ${told.reason}`, String(told.reason));
      else new Panel(section, status, { id, image, session: told.session, nearest, shown }, told, view);
    }).catch((error) => none(lineOf(error), lineOf(error)));
    return section;
  }
  async function enter(id) {
    let session;
    for (; ; ) {
      const told = await postJson("/live/about", { case: id, session });
      if (told.state !== "loading") return told;
      session = told.session;
      await pause(400);
    }
  }
  function lineOf(error) {
    return error instanceof Error ? error.message : String(error);
  }
  var Panel = class {
    // painters of the page itself; those of a result follow
    constructor(section, status, page, offer, view) {
      this.status = status;
      this.page = page;
      this.offer = offer;
      this.view = view;
      this.target = offer.targets.find((t) => t.text === page.shown) ?? offer.targets[0];
      this.paint = painter(async () => this.put(this.now ?? await getValues(page.image.row, "image", view.slice)));
      view.redraw.push(() => this.slides && this.paint(), () => this.region());
      this.mark = view.redraw.length;
      const target = el("select", { id: "live-target" }, ...offer.targets.map((t) => el("option", { value: t.text }, t.name)));
      target.value = this.target.text;
      target.addEventListener("change", () => {
        this.aim(offer.targets.find((t) => t.text === target.value));
      });
      this.method.addEventListener("change", () => this.goals());
      this.ask.addEventListener("click", () => this.explain());
      this.cancel.addEventListener("click", () => {
        if (this.job) postJson("/live/cancel", { job: this.job }).catch((e) => this.say(lineOf(e)));
      });
      addEventListener("pagehide", () => this.leave());
      section.append(
        el(
          "div",
          { class: "columns" },
          this.view_,
          el(
            "div",
            { class: "controls" },
            el("label", { class: "field" }, "Target", target),
            el("label", { class: "field" }, "Method", this.method),
            this.goal,
            this.where,
            el("div", { class: "row-of" }, this.ask, this.cancel),
            this.bar
          ),
          el(
            "div",
            { class: "beside" },
            this.read,
            this.about,
            offer.why_not !== "" && el("p", { class: "doubt" }, `No counterfactuals: ${offer.why_not}`)
          )
        ),
        this.answer
      );
      this.methods();
      this.say("Ready.");
      if (view.box) {
        const targets = offer.targets.filter((one) => one.strips.length);
        if (targets.length) view.box.ask = (mode, wish) => {
          void this.within(mode, wish, targets, target);
        };
        else view.box.why = offer.why_not || "the bundle has no counterfactuals of this model.";
        view.box.tell();
      }
    }
    status;
    page;
    offer;
    view;
    target;
    by = "asked";
    amount = 0;
    chosen = false;
    // the reader has set a goal for this target
    mode = "";
    // what the box means, if anything
    held = /* @__PURE__ */ new Set();
    found = /* @__PURE__ */ new Set();
    // targets for which the image is inverted
    job = "";
    asking = false;
    // from the request to its result; the job id follows a little later
    moving = false;
    follows = false;
    // the slider was released: the latent path follows the model
    again = false;
    now = null;
    method = el("select", { id: "live-method" });
    goal = el("div", { class: "controls" });
    where = el("div", {});
    stage = el("canvas", { role: "img", width: 320, height: 320, "aria-label": "the changed image" });
    tag = el("div", { class: "tag" });
    view_ = el("div", {}, el("div", { class: "stage" }, this.stage, this.tag));
    read = el("dl", { class: "read" });
    bar = el("progress", { "aria-label": "progress", hidden: true });
    ask = el("button", { type: "button" }, "Explain");
    cancel = el("button", { type: "button", hidden: true }, "Cancel");
    answer = el("div", {});
    about = el("p", { class: "dim small" });
    paint;
    mark;
    /** Change the target; what was chosen for another one is forgotten. */
    aim(target) {
      this.target = target;
      this.amount = 0;
      this.chosen = false;
      this.held.clear();
      this.methods();
    }
    /** Answer a question about the box: a counterfactual to the goal of the reader, or else across the decision. */
    async within(mode, wish, targets, shown) {
      this.status.scrollIntoView({ block: "center" });
      if (this.asking) {
        this.say("One question at a time: wait, or cancel the one that is running.");
        return;
      }
      const wanted = targets.find((one) => one.text === wish.target) ?? (this.target.strips.length ? this.target : targets[0]);
      if (wanted !== this.target) {
        shown.value = wanted.text;
        this.aim(wanted);
      }
      if (!this.walks) this.method.value = wanted.strips[0];
      this.mode = mode;
      if (!this.chosen) [this.by, this.amount] = goalOf(wanted, wish.goal);
      this.goals();
      await this.explain();
    }
    /** What the box means for the next question, where there is one. */
    region() {
      const there = this.walks && Boolean(this.view.box?.at);
      if (!this.view.box?.at) this.mode = "";
      if (there === Boolean(this.where.firstChild)) {
        this.where.querySelectorAll("input").forEach((one) => {
          one.checked = one.value === this.mode;
        });
        return;
      }
      this.where.replaceChildren(...there ? [choice(
        "Region",
        [["", "everywhere"], ["only", "only in the box"], ["keep", "not in the box"]],
        this.mode,
        (value) => {
          this.mode = value;
          this.follows = true;
          this.move();
        }
      )] : []);
    }
    say(words3) {
      this.status.textContent = words3;
    }
    get walks() {
      return this.target.strips.includes(this.method.value);
    }
    get able() {
      return this.offer.methods[this.method.value] ?? { slides: false, holds: false, latent: false };
    }
    get slides() {
      return this.able.slides;
    }
    /** List the methods that are available for this target. */
    methods() {
      const before = this.method.value, names = [...this.target.strips, ...this.offer.maps];
      this.method.replaceChildren(...names.map((name) => el("option", { value: name }, `${this.target.strips.includes(name) ? "counterfactual" : "map"}: ${name}`)));
      if (names.includes(before)) this.method.value = before;
      this.goals();
    }
    /** Show the controls of the method: for a counterfactual, a goal and the scores to keep constant. */
    goals() {
      const { target } = this;
      this.now = null;
      this.view_.hidden = !this.slides;
      this.about.textContent = `Model ${this.offer.model} of bundle ${this.offer.bundle}. ` + (this.slides ? "While you drag the slider, the image changes along the global direction; when you release it, the latent path follows the model. The prediction is computed for every image shown. " : "") + `Explain computes ${this.walks ? "all frames" : "the map"} and the reliability checks. Nothing is stored unless you keep it.`;
      this.read.replaceChildren();
      this.region();
      if (!this.walks) {
        this.goal.replaceChildren();
        return;
      }
      const ways = [["asked", `change requested, ${target.unit}`], ["reached", target.odds ? "probability to reach" : "value to reach"]];
      const by = choice("Goal by", ways, this.by, (value) => {
        this.by = value;
        this.amount = 0;
        this.chosen = false;
        this.goals();
      });
      const holds = this.able.holds && target.holds.length > 0 && el(
        "fieldset",
        { class: "choice" },
        el("legend", {}, "Keep constant"),
        ...target.holds.map((name) => {
          const box = el("input", { type: "checkbox", value: name, checked: this.held.has(name) });
          box.addEventListener("change", () => {
            box.checked ? this.held.add(name) : this.held.delete(name);
            this.follows = true;
            this.move();
          });
          return el("label", {}, box, el("span", {}, name));
        })
      );
      this.goal.replaceChildren(by, this.slide(), ...holds ? [holds] : []);
      if (this.slides) this.original();
    }
    slide() {
      const { target } = this, reached = this.by === "reached";
      const least = reached ? target.odds ? 0.01 : target.start - target.span : -target.span;
      const most = reached ? target.odds ? 0.99 : target.start + target.span : target.span;
      const start = reached ? target.odds ? 1 / (1 + Math.exp(-target.start)) : target.start : 0;
      this.amount = Math.max(least, Math.min(most, this.amount || start));
      const said = (value) => !reached ? `${signed(value, 1)} ${target.unit}` : target.odds ? `${(100 * value).toFixed(0)} %` : short(value);
      const made2 = slider(
        reached ? "Goal" : "Change requested",
        { min: least, max: most, step: reached && target.odds ? 0.01 : "any", value: this.amount },
        said,
        (value) => {
          this.amount = value;
          this.chosen = true;
          this.follows = false;
          this.move();
        }
      );
      made2.input.addEventListener("change", () => {
        this.follows = true;
        this.move();
      });
      return made2.box;
    }
    /** The change requested, in units of the target. */
    get asked() {
      if (this.by === "asked") return this.amount;
      return (this.target.odds ? Math.log(this.amount / (1 - this.amount)) : this.amount) - this.target.start;
    }
    /** A score as text: a probability where there is one. */
    level(score) {
      return this.target.odds ? chance(score) : `${score.toFixed(2)} ${this.target.unit}`;
    }
    get levelName() {
      return this.target.odds ? `probability of ${this.target.name}` : this.target.name;
    }
    original() {
      this.read.replaceChildren(...pairs([[this.levelName, `${this.level(this.target.start)} (original)`]]));
      this.paint();
    }
    /** Compute one frame. The first needs the inversion of the image, which takes longer and can be cancelled. */
    async move() {
      if (!this.slides) return;
      if (this.moving) {
        this.again = true;
        return;
      }
      this.moving = true;
      try {
        do {
          this.again = false;
          const target = this.target;
          if (!this.found.has(target.text) && (this.asking || !await this.find())) return;
          const asked2 = this.asked, follow = this.follows, began = performance.now();
          const moved = await postJson("/live/move", { ...this.words(), amount: asked2, follow, slice: this.view.slice });
          if (target !== this.target || !this.slides) return;
          this.now = { shape: moved.shape, aspect: moved.aspect, data: floats(moved.frame) };
          this.reading(asked2, moved);
          if (!this.asking) this.say(`Computed in ${((performance.now() - began) / 1e3).toFixed(2)} s, along ${follow ? "the latent path" : "the global direction"}.`);
          this.paint();
        } while (this.again);
      } catch (error) {
        this.found.delete(this.target.text);
        this.say(lineOf(error));
      } finally {
        this.moving = false;
      }
    }
    reading(asked2, moved) {
      const { target } = this;
      this.read.replaceChildren(...pairs([
        [this.levelName, `${this.level(target.start)} → ${this.level(moved.score)}`],
        [`change requested, ${target.unit}`, signed(asked2)],
        [`change achieved, ${target.unit}`, signed(moved.score - target.start)],
        ["latent distance", `${moved.length.toFixed(2)} SD${moved.spent ? ", the maximum" : ""}`],
        ...heldPairs(moved.held)
      ]));
    }
    put(values) {
      const [, height, width] = values.shape;
      draw(fit(this.stage, height, width, values.aspect ?? this.view.aspect), greyPixels(values, this.view.window));
      this.tag.textContent = this.now ? "synthetic, not for diagnosis" : "original";
      this.tag.classList.toggle("original", !this.now);
      this.stage.setAttribute("aria-label", this.now ? `synthetic image, ${signed(this.asked, 1)} ${this.target.unit} requested` : "the original image");
    }
    words() {
      return {
        session: this.page.session,
        case: this.page.id,
        target: this.target.text,
        hold: this.able.holds ? [...this.held] : [],
        ...this.walks && this.mode && this.view.box?.at && { box: { ...this.view.box.at, mode: this.mode } }
      };
    }
    async find() {
      const target = this.target.text;
      const done = await this.run({ ...this.words(), method: "find" });
      if (done?.state !== "done") return false;
      this.found.add(target);
      return target === this.target.text;
    }
    async explain() {
      if (this.asking) return;
      const method = this.method.value, target = this.target.text, { latent } = this.able;
      const done = await this.run({ ...this.words(), method, by: this.by, amount: this.amount });
      if (done?.state !== "done") return;
      if (done.kind === "strip" && latent) this.found.add(target);
      const answer = done.about;
      this.say(`Computed in ${done.seconds.toFixed(1)} s.${done.kind === "strip" && answer.box ? ` ${answer.heading}.` : ""}`);
      this.show(done);
    }
    /** Run a job to its end and show its progress; null where it could not start. */
    async run(words3) {
      this.asking = true;
      this.busy(true);
      try {
        const { job } = await postJson("/live/ask", words3);
        this.job = this.last = job;
        for (; ; ) {
          const told = await getJson(`/live/job/${job}`);
          if (told.state === "failed") this.say(told.error);
          if (told.state === "cancelled") this.say("Cancelled.");
          if (told.state !== "waiting" && told.state !== "running") return told;
          this.progress(told);
          await pause(150);
        }
      } catch (error) {
        this.say(lineOf(error));
        return null;
      } finally {
        this.job = "";
        this.asking = false;
        this.busy(false);
      }
    }
    last = "";
    progress(told) {
      const counted = told.of ? `: ${told.count} of ${told.of}` : told.count ? `: ${told.count}` : "";
      this.say(`${told.words || "computing"}${counted} …`);
      if (told.of) {
        this.bar.max = told.of;
        this.bar.value = told.count ?? 0;
      } else this.bar.removeAttribute("value");
    }
    busy(now) {
      this.bar.hidden = this.cancel.hidden = !now;
      this.ask.disabled = now;
      if (now) this.bar.removeAttribute("value");
      else if (document.activeElement === document.body) this.ask.focus();
    }
    show(done) {
      this.view.redraw.length = this.mark;
      const job = this.last, kept2 = el("p", { class: "dim", role: "status" });
      const keep = el("button", { type: "button" }, "Keep in the run");
      keep.addEventListener("click", async () => {
        keep.disabled = true;
        try {
          await postJson("/live/keep", { job });
          kept2.textContent = "Stored in the run: the case page shows it from now on, the report when it is written again.";
        } catch (error) {
          keep.disabled = false;
          kept2.textContent = lineOf(error);
        }
      });
      const held = done.held?.length ? el("dl", { class: "read" }, ...pairs(heldPairs(done.held))) : "";
      const strip = done.kind === "strip" && done.about;
      const part2 = strip ? stripSection(strip, this.view, this.page.image) : mapSection(done.about, this.view);
      this.answer.replaceChildren(part2, strip ? nearestOfTarget(this.page.nearest, strip.target, this.view) : "", held, el("div", { class: "row-of" }, keep, kept2));
    }
    /** Cancel the job when the page is left. */
    leave() {
      if (!this.job) return;
      fetch("/live/cancel", {
        method: "POST",
        keepalive: true,
        body: JSON.stringify({ job: this.job }),
        headers: { "content-type": "application/json", "x-contrafact-token": document.body.dataset.token ?? "" }
      }).catch(() => void 0);
    }
  };
  function goalOf(target, goal) {
    const given2 = typeof goal === "number";
    if (!target.odds) return given2 ? ["reached", goal] : ["asked", target.span / 2];
    const wanted = given2 && goal > 0 !== target.start > 0 ? 1 / (1 + Math.exp(-goal)) : target.start < 0 ? 0.9 : 0.1;
    return ["reached", Math.max(0.01, Math.min(0.99, wanted))];
  }
  function pairs(list2) {
    return list2.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
  }
  function heldPairs(held) {
    return held.map((one) => [`kept constant: ${one.name}`, `${signed(one.from)} to ${signed(one.to)}`]);
  }
  function floats(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  }

  // source/volume_section.ts
  var SIGHTS = [
    ["planes", "planes and rendering"],
    ["axial", "axial"],
    ["coronal", "coronal"],
    ["sagittal", "sagittal"],
    ["render", "rendering"]
  ];
  var AXES = [["Sagittal slice", "left", "right"], ["Coronal slice", "back", "front"], ["Axial slice", "foot", "head"]];
  var WALKS = { planes: 2, axial: 2, coronal: 1, sagittal: 0, render: -1 };
  var NO_WEBGL = "This browser has no WebGL 2, which planes and rendering need. The slices above show the same values.";
  function volumeSection(image, maps, strips, view) {
    const card2 = (...parts) => el(
      "section",
      { class: "card", "aria-labelledby": "solid" },
      el("h2", { id: "solid" }, "In three dimensions"),
      ...parts
    );
    if (!document.createElement("canvas").getContext("webgl2")) return card2(el("p", { class: "dim" }, NO_WEBGL));
    const choices3 = [...maps, ...strips.filter((strip) => !strip.picture).map(displayed)];
    const state = {
      shown: choices3[0] ?? null,
      frame: lastOf(choices3[0]),
      opacity: 85,
      own: faint(maps[0]),
      hidden: false,
      sight: "planes",
      azimuth: 110,
      elevation: 15,
      cut: 0.3,
      channel: 0,
      place: null,
      level: 0,
      playing: false,
      plays: 0
    };
    const canvas = el("canvas", { role: "img", "aria-label": "the volume is loading" });
    const stage = el("div", { class: "solid", tabindex: 0, role: "group", "aria-label": "volume. Arrows and page up and down move the crosshair, V changes the view, H hides the map, space plays, S goes to the strongest voxel" }, canvas);
    const ruler2 = el("div", { class: "ruler", hidden: true });
    const letters = el("div", { "aria-hidden": "true" });
    stage.append(letters, ruler2);
    const readout = el("p", { class: "small under", role: "status", id: "place-read" }, "loading …");
    const legend = el("div", { class: "legend" });
    const page = new Page(image, state, view, { canvas, stage, readout, legend, ruler: ruler2, letters });
    const controls = page.controls(choices3);
    new IntersectionObserver((seen, watch) => {
      if (!seen.some((one) => one.isIntersecting)) return;
      watch.disconnect();
      page.start().catch((error) => {
        readout.textContent = "The volume could not be displayed. The slices above show the same values.";
        tell(error);
      });
    }, { threshold: 0.2 }).observe(stage);
    return card2(
      el("div", { class: "volumes" }, el("div", {}, stage, legend, readout), controls),
      el(
        "p",
        { class: "dim small" },
        "The patient's right and front are on the left, as on the slices above. Rendered by ",
        el("a", { href: "/web/licences.txt" }, "NiiVue"),
        ", from this machine."
      )
    );
  }
  var isStrip = (shown) => "frames" in shown || "requested" in shown;
  var lastOf = (shown) => shown && isStrip(shown) ? shown.origin ? 0 : shown.requested.length - 1 : 0;
  var Page = class {
    constructor(image, state, view, parts) {
      this.image = image;
      this.state = state;
      this.view = view;
      this.parts = parts;
      let share = view.share, { low, high } = view.window;
      view.redraw.push(() => {
        if (low !== view.window.low || high !== view.window.high) this.scene?.window(view.window.low, view.window.high);
        if (share !== view.share) this.lay();
        ({ share, window: { low, high } } = view);
      });
      for (const kind of ["keydown", "keyup"])
        parts.stage.addEventListener(kind, (event) => {
          event.stopPropagation();
          if (kind === "keydown") this.key(event);
        }, true);
    }
    image;
    state;
    view;
    parts;
    scene = null;
    sliders = [];
    frames = el("div");
    load = painter(async () => {
      if (this.scene) await this.reload(this.scene);
    });
    lay = painter(async () => {
      this.layer();
    });
    async start() {
      const address = "/web/niivue_scene.js", { NiivueScene } = await import(address);
      const scene = await NiivueScene.on(this.parts.canvas, (place2) => this.moved(place2));
      const { shown, frame, channel } = this.state;
      await this.reload(scene);
      this.scene = scene;
      scene.window(this.view.window.low, this.view.window.high);
      this.sliders.forEach((one) => {
        one.input.disabled = false;
      });
      if (this.state.place) this.moved(this.state.place);
      this.layer();
      if (shown !== this.state.shown || frame !== this.state.frame || channel !== this.state.channel) this.load();
      this.scene.sight(this.state.sight);
      addEventListener("resize", () => this.measure());
      this.measure();
      this.scene.turn(this.state.azimuth, this.state.elevation, this.state.cut);
      this.parts.stage.dataset.ready = "yes";
    }
    async reload(scene) {
      const { shown, frame, channel } = this.state;
      const row3 = shown?.row ?? this.image.row, at = shown && isStrip(shown) ? shown.order[frame] : 0;
      const base = shown && isStrip(shown) ? `frames.nii.gz?frame=${at}` : "image.nii.gz?frame=0";
      const over = !shown ? null : isStrip(shown) ? `change.nii.gz?frame=${at}` : "values.nii.gz";
      const [image, map] = await Promise.all([`${base}&channel=${channel}`, over].map((name) => name ? content(`/volume/${row3}/${name}`) : null));
      await scene.show(image, map, this.view.window, Boolean(shown && !isStrip(shown) && shown.sign < 0));
      scene.size.forEach((count2, axis) => {
        this.sliders[axis].input.max = String(count2 - 1);
      });
      this.layer();
      if (this.state.place) this.moved(this.state.place);
    }
    layer() {
      const { shown, opacity, own, hidden } = this.state, share = this.view.share;
      if (!this.scene || !shown) return;
      const scale = isStrip(shown) ? shown.difference.scale : own ? shown.own : shown.shared;
      this.state.level = this.scene.overlay({
        scale,
        opacity: hidden ? 0 : opacity / 100,
        share: share / 100,
        level: isStrip(shown) ? void 0 : shown.levels[100 - share]
      });
      const sides = isStrip(shown) ? [`darker by ${short(scale)}`, `brighter by ${short(scale)}`] : [`${shown.blue}: ${short(scale)}`, `${shown.orange}: ${short(scale)}`];
      const words3 = isStrip(shown) ? ` Difference from the original; ${shown.difference.words}.` : own ? ` ${ownScaleWords(shown)}.` : " Cohort scale: maps of this model by this method.";
      this.parts.legend.replaceChildren(
        scaleBar(opacity / 100),
        ends(sides[0], "0", sides[1]),
        el(
          "p",
          { class: "dim small" },
          share < 100 ? `Shown: the strongest ${share} %, ${short(this.state.level)} and more.` : "Shown: every voxel.",
          words3,
          !isStrip(shown) && shown.flaw ? ` ${shown.flaw}` : ""
        )
      );
      this.parts.canvas.setAttribute("aria-label", hidden ? "the volume alone" : `the volume with ${nameOf2(shown)} over it`);
    }
    moved(place2) {
      this.state.place = place2;
      this.measure();
      place2.ras.forEach((at, axis) => this.sliders[axis].set(Math.round(at)));
      const known = !this.image.spacing.includes("unknown");
      const said = known ? [["left", "right"], ["back", "front"], ["foot", "head"]].map(([less2, more], axis) => `${Math.abs(place2.mm[axis]).toFixed(1)} mm ${place2.mm[axis] < 0 ? less2 : more}`).join(", ") : this.image.spacing;
      const { shown } = this.state, value = place2.map;
      const what = shown && isStrip(shown) ? "change" : "map";
      this.parts.readout.textContent = `Voxel ${place2.voxel.map(Math.round).join(", ")} (${said}): image ${short(place2.image)}` + (value === null ? "" : `, ${what} ${signed(Number(value.toPrecision(3)), digits(value))}`);
    }
    /** Letters on the sides of every plane, and a bar of a round length in mm: the planes have one scale. */
    measure() {
      requestAnimationFrame(() => {
        this.parts.letters.replaceChildren(...(this.scene?.planes ?? []).map(({ letters, box: [left, top, width, height] }) => {
          const plane = el("div", { class: "plane" }, ...[...letters].map((letter, side) => el("span", { class: `letter ${SIDES[side]}` }, letter)));
          Object.assign(plane.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
          return plane;
        }));
        const { ruler: ruler2 } = this.parts, mm = this.scene?.scale;
        ruler2.hidden = !mm || this.image.spacing.includes("unknown");
        if (!mm) return;
        const most = 120 * mm, ten = 10 ** Math.floor(Math.log10(most)), length = [5, 2, 1].map((k) => k * ten).find((one) => one <= most) ?? ten;
        ruler2.style.width = `${length / mm}px`;
        ruler2.textContent = `${length} mm`;
      });
    }
    step(axis, by) {
      if (!this.scene || !this.state.place) return;
      const ras = this.state.place.ras.map(Math.round), count2 = this.scene.size[axis];
      ras[axis] = (ras[axis] + by + count2) % count2;
      this.scene.to(ras);
    }
    turn() {
      this.scene?.turn(this.state.azimuth, this.state.elevation, this.state.cut);
    }
    /** Play the slices of the plane, or rotate the rendering. The next step waits until the last one is on the screen. */
    play(button2) {
      this.state.playing = !this.state.playing;
      button2.textContent = this.state.playing ? "Stop" : "Play";
      this.parts.readout.setAttribute("aria-live", this.state.playing ? "off" : "polite");
      const mine = ++this.state.plays;
      const next2 = () => {
        const axis = WALKS[this.state.sight];
        if (!this.state.playing || mine !== this.state.plays) return;
        if (axis >= 0) this.step(axis, 1);
        else {
          this.state.azimuth = (this.state.azimuth + 4) % 360;
          this.sliders[3].set(this.state.azimuth);
          this.turn();
        }
        requestAnimationFrame(() => setTimeout(next2, 120));
      };
      next2();
    }
    key(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const walked = this.state.sight === "sagittal" ? 0 : this.state.sight === "coronal" ? 1 : 2;
      const [across, up] = [walked === 0 ? 1 : 0, walked === 2 ? 1 : 2];
      const steps = {
        // the patient's right and front are on the viewer's left
        ArrowLeft: [across, 1],
        ArrowRight: [across, -1],
        ArrowUp: [up, 1],
        ArrowDown: [up, -1],
        PageUp: [walked, 1],
        PageDown: [walked, -1]
      };
      const press = (name) => this.parts.stage.closest("section").querySelector(`[data-key=${name}]`)?.click();
      if (steps[event.key]) this.step(...steps[event.key]);
      else if (event.key === " ") press("play");
      else if (event.key.toLowerCase() === "h") press("hide");
      else if (event.key.toLowerCase() === "s") this.scene?.strongest();
      else if (event.key.toLowerCase() === "v") {
        const next2 = SIGHTS[(SIGHTS.findIndex(([name]) => name === this.state.sight) + 1) % SIGHTS.length][0];
        this.parts.stage.closest("section").querySelector(`input[value=${next2}]`)?.click();
      } else return;
      event.preventDefault();
    }
    controls(choices3) {
      const { state } = this, percent2 = (v) => `${v} %`;
      const spatial = AXES.map(([label, less2, more], axis) => slider(
        label,
        { min: 0, max: 1, step: 1, value: 0 },
        (at) => `${at + 1} of ${this.scene?.size[axis] ?? 1}, from ${less2} to ${more}`,
        (at) => {
          if (!this.scene || !this.state.place) return;
          const ras = this.state.place.ras.map(Math.round);
          ras[axis] = at;
          this.scene.to(ras);
        }
      ));
      const turns = el("div", { class: "controls" });
      const angle = (label, min, max, key, say) => slider(label, { min, max, step: key === "cut" ? 0.01 : 1, value: state[key] }, say, (v) => {
        state[key] = v;
        this.turn();
      });
      spatial.forEach((one) => {
        one.input.disabled = true;
      });
      this.sliders = [
        ...spatial,
        angle("Turn", 0, 359, "azimuth", (v) => `${v}°`),
        angle("Tilt", -90, 90, "elevation", (v) => `${v}°`),
        angle("Cut", 0, 1, "cut", (v) => v ? `${Math.round(100 * v)} % of the depth` : "off")
      ];
      turns.append(...this.sliders.slice(3).map((one) => one.box));
      const hide = el("input", { type: "checkbox", "data-key": "hide" });
      hide.addEventListener("change", () => {
        state.hidden = hide.checked;
        this.lay();
      });
      const play = el("button", { type: "button", "data-key": "play" }, "Play"), strongest2 = el("button", { type: "button" }, "Strongest voxel");
      play.addEventListener("click", () => this.play(play));
      strongest2.addEventListener("click", () => this.scene?.strongest());
      const sights = choice("View", SIGHTS, state.sight, (value) => {
        state.sight = value;
        turns.hidden = !["planes", "render"].includes(value);
        this.scene?.sight(state.sight);
        this.measure();
      });
      this.frames.replaceChildren(...this.frameSlider());
      const some = choices3.length > 0;
      let scales = false;
      return el(
        "div",
        { class: "controls" },
        choices3.length > 1 && choice("Over the volume", choices3.map((one) => [String(one.row), nameOf2(one, choices3)]), String(choices3[0].row), (row3) => {
          state.shown = choices3.find((one) => String(one.row) === row3) ?? null;
          state.frame = lastOf(state.shown ?? void 0);
          state.own = Boolean(state.shown && !isStrip(state.shown) && faint(state.shown));
          if (scales) scales.querySelectorAll("input").forEach((input) => {
            input.checked = input.value === "own" === state.own;
          });
          this.frames.replaceChildren(...this.frameSlider());
          this.load();
        }),
        this.frames,
        sights,
        ...spatial.map((one) => one.box),
        el("div", { class: "row-of" }, play, some && strongest2),
        turns,
        this.image.channels > 1 && slider(
          "Channel",
          { min: 0, max: this.image.channels - 1, step: 1, value: 0 },
          (v) => `${v + 1} of ${this.image.channels}`,
          (v) => {
            state.channel = v;
            this.load();
          }
        ).box,
        some && shareControl("Threshold", this.view),
        some && slider("Opacity", { min: 0, max: 100, step: 1, value: state.opacity }, percent2, (v) => {
          state.opacity = v;
          this.lay();
        }).box,
        scales = choices3.some((one) => !isStrip(one)) && choice(
          "Scale",
          [["fixed", "cohort"], ["own", "per image"]],
          state.own ? "own" : "fixed",
          (v) => {
            state.own = v === "own";
            this.lay();
          }
        ),
        some && el("label", { class: "check" }, hide, " Hide the map (H)"),
        ...windowControls(this.image, this.view)
      );
    }
    frameSlider() {
      const { shown } = this.state;
      if (!shown || !isStrip(shown)) return [];
      return [
        slider(
          "Frame",
          { min: 0, max: shown.requested.length - 1, step: 1, value: this.state.frame },
          (k) => `${k} of ${shown.requested.length - 1}: ${shown.kinds[k]}, ${shown.levels[k]}`,
          (k) => {
            this.state.frame = k;
            this.load();
          }
        ).box,
        el("p", { class: "tag-line small" }, `Frame ${shown.origin} is the original; the others are synthetic, not for diagnosis. Colours: difference from the original.`)
      ];
    }
  };
  var digits = (value) => value ? Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))) : 2;
  function nameOf2(shown, among = []) {
    const one = new Set(among.map((other2) => other2.target)).size === 1;
    return (isStrip(shown) ? "change by " : "") + (one ? shown.label : `${shown.label}, ${shown.target_name}`);
  }
  async function content(address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(await answer.text());
    return answer.arrayBuffer();
  }

  // source/case.ts
  async function casePage() {
    document.addEventListener("keydown", turn);
    const table = location.search;
    const about = await getJson(`/api/case/${document.body.dataset.id}${table}`);
    header(about, table);
    const main = byId("parts");
    if (about.image) {
      const [low, high] = about.image.window, redraw = [];
      const view = { window: { low, high }, aspect: about.image.aspect, redraw };
      if (about.image.slices) view.slice = about.maps[0]?.slice ?? Math.floor(about.image.slices * (about.strips[0]?.telling ?? 0.5));
      const [height, width] = about.image.plane;
      view.box = new Box(width, height, about.image.slices, view.redraw, () => view.slice ?? 0);
      if (!document.body.dataset.live) view.box.why = "the viewer was started without one.";
      for (const [k, strip] of about.strips.entries()) {
        main.append(stripSection(strip, view, about.image, k === 0));
        if (strip.followup.length) main.append(followupRow(strip, view));
        main.append(...nearestOf(about.nearest, strip.row, view));
      }
      main.append(whereSection(about.image, about.maps, view));
      if (about.image.slices) main.append(volumeSection(about.image, about.maps, about.strips, view));
      for (const map of about.maps) main.append(...nearestOf(about.nearest, map.row, view));
      main.append(judgementSection(about.id, [...about.strips, ...about.maps].map((one) => ({ row: one.row, name: `${one.label}, ${one.target_name}` }))));
      if (document.body.dataset.live) main.append(liveSection(about.id, about.image, view, about.nearest, (about.strips.find((s) => !s.picture) ?? about.maps[0])?.target ?? ""));
    }
    if (about.failures.length) main.append(failureSection(about));
    byId("waiting").remove();
  }
  function turn(event) {
    if (event.key.toLowerCase() !== "n" || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (event.target instanceof Element && event.target.closest("select, textarea, input:not([type=range], [type=radio], [type=checkbox])")) return;
    const link = byId(event.shiftKey ? "previous" : "next");
    if (link.href) {
      event.preventDefault();
      link.click();
    }
  }
  function header(about, table) {
    byId("back").setAttribute("href", "/" + table);
    byId("place").textContent = about.number ? `${about.number} of ${about.of}` : "";
    for (const side of ["previous", "next"]) {
      const link = byId(side), id = about[side];
      if (id) link.href = `/case/${id}${table}`;
      else {
        link.removeAttribute("href");
        link.setAttribute("aria-disabled", "true");
      }
    }
    const image = about.image, facts = [
      about.source,
      about.model && `model ${about.model}`,
      image && image.size.join(" × ") + " px" + (image.shrunk > 1 ? `, shown at 1/${image.shrunk}` : "") + `, ${image.spacing}`,
      about.synthetic && "synthetic image"
    ].filter(Boolean).join(" · ");
    const planted = Object.entries(image?.factors ?? {});
    byId("facts").append(
      el("p", { class: "dim" }, facts),
      about.answers.length > 0 ? el("p", {}, "Prediction: ", el("b", {}, about.answers.join(", ")), ".") : "",
      ...about.warnings.map((text) => el("p", { class: "doubt" }, text)),
      planted.length > 0 ? el("p", { class: "dim small" }, "Planted: " + planted.map(([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "number" ? value.toFixed(2) : value}`).join(", ")) : ""
    );
  }
  function failureSection(about) {
    return el(
      "section",
      { class: "card", "aria-labelledby": "failed" },
      el("h2", { id: "failed" }, `What failed: ${plural(about.failures.length, "result")}`),
      ...about.failures.map((failure) => el(
        "p",
        { class: "doubt" },
        el("b", {}, failure.method),
        ": ",
        failure.error,
        typeof failure.seconds === "number" && ` (after ${failure.seconds} s)`
      ))
    );
  }

  // source/cohort_parts.ts
  function part(id, title, open, ...children) {
    return el("details", { class: "part", id, open }, el("summary", {}, ...title), ...children);
  }

  // source/mean_changes.ts
  function meansPart(changes, ways, of, link, marked) {
    const by = el("select", {}, ...ways.map((way) => el("option", { value: way }, way)));
    const hint = marked ? null : el(
      "p",
      { class: "dim small" },
      "Flips that change mostly what lies outside the anatomy are counted where a mask of it is given: ",
      el("code", {}, "contrafact explain … --labels 'masks/{stem}.png'"),
      ", or in a study the metric change-share."
    );
    const status = el("p", { class: "dim", role: "status" }), tiles = el("div", { class: "tiles" });
    const bar = el("progress", { "aria-label": "counterfactuals that are summed", hidden: true });
    const box = part(
      "means",
      [el("b", {}, "Mean changes"), ` of ${plural(changes, "counterfactual")}`],
      false,
      ways.length > 1 ? el("label", { class: "pick" }, "One picture for each", by) : null,
      bar,
      status,
      tiles,
      hint
    );
    let turn3 = 0;
    const load = async () => {
      const mine = ++turn3;
      tiles.replaceChildren();
      bar.hidden = false;
      bar.removeAttribute("value");
      status.textContent = "reading the counterfactuals …";
      for (; ; ) {
        const found = await getJson(`/api/means?${new URLSearchParams({ ...of, by: by.value })}`);
        if (mine !== turn3 || !box.open) return;
        bar.max = found.of;
        bar.value = found.done;
        status.textContent = `${found.done} of ${plural(found.of, "counterfactual")}`;
        if (found.done < found.of) continue;
        bar.hidden = true;
        status.textContent = `Orange is brighter, blue darker on the average, over the mean image; full colour is ±${short(100 * found.scale)} % of the display window.`;
        tiles.replaceChildren(...found.tiles.map((tile) => figure(tile, link)));
        return;
      }
    };
    box.addEventListener("toggle", () => {
      if (box.open) load().catch(tell);
    });
    by.addEventListener("change", () => {
      load().catch(tell);
    });
    return box;
  }
  function figure(tile, link) {
    const words3 = `${tile.words}, changed ${tile.towards}`;
    return el(
      "figure",
      {},
      el("img", { src: `/mean/${tile.picture}.png`, alt: `mean change: ${words3}`, loading: "lazy" }),
      el(
        "figcaption",
        {},
        link({ ...tile.filters, change: "any" }, {}, tile.words),
        el("span", { class: "block" }, `changed ${tile.towards}`),
        el("span", { class: "dim small block" }, [`${tile.few ? "only " : ""}${plural(tile.count, "case")}${tile.few ? ", so single ones stand out" : ""}`, tile.slice].filter(Boolean).join(", ") + `. ${tile.without}`)
      )
    );
  }

  // source/cohort_above.ts
  var FIELDS = ["model", "truth", "predicted", "column", "group", "answer", "change"];
  var CHANGES = {
    any: "with a change",
    flipped: "whose prediction flips",
    unflipped: "whose prediction does not flip",
    confirmed: "with a flip that a second model confirms",
    unconfirmed: "with a flip that a second model does not confirm",
    outside: "with a flip that lies mostly outside the anatomy"
  };
  var ANSWERS2 = { right: "predicted right", wrong: "predicted wrong", unlabelled: "without a label" };
  function chosenWords(filters) {
    return [
      filters.model && `of the model ${filters.model}`,
      filters.truth && `labelled ${filters.truth}`,
      filters.predicted && `predicted ${filters.predicted}`,
      filters.column && `with ${filters.column} ${filters.group}`,
      filters.answer && (ANSWERS2[filters.answer] ?? filters.answer),
      filters.change && (CHANGES[filters.change] ?? filters.change)
    ].filter(Boolean).join(", ");
  }
  async function aboveList(only, model = new URLSearchParams(location.search).get("model") ?? "") {
    const about = await getJson(`/api/cohort?${new URLSearchParams(model ? { model } : {})}`);
    const of = about.models.length > 1 ? { model: about.model } : {}, link = links(only, of);
    const parts = [
      about.grid && truthPart(about.grid, link),
      about.columns.length > 0 && subgroupPart(about, link),
      about.outside && outsidePart(about.outside, link),
      about.changes > 1 && meansPart(about.changes, about.ways, of, link, about.outside !== null)
    ].filter((part2) => Boolean(part2));
    const place2 = byId("above");
    place2.hidden = byId("cases").hidden = !parts.length;
    place2.replaceChildren(...parts.length && about.models.length > 1 ? [modelChoice(about, only)] : [], ...parts);
  }
  function links(only, of) {
    return (filters, attributes, ...children) => {
      const wanted = { ...of, ...filters };
      const link = el("a", { href: `/?${new URLSearchParams(wanted)}`, ...attributes }, ...children);
      link.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        only(wanted);
      });
      return link;
    };
  }
  function modelChoice(about, only) {
    const select = el("select", {}, ...about.models.map((name) => el("option", { value: name, selected: name === about.model }, name)));
    select.addEventListener("change", () => {
      aboveList(only, select.value).then(() => byId("above").querySelector("select")?.focus()).catch(tell);
    });
    return el("label", { class: "pick" }, "Model", select);
  }
  function whole(share) {
    if (share > 0 && share <= 5e-3) return "<1";
    return share < 1 && share >= 0.995 ? ">99" : String(Math.round(100 * share));
  }
  function percent(share) {
    return `${whole(share)} %`;
  }
  function range(interval) {
    return interval ? `${whole(interval[0])} to ${percent(interval[1])}` : "";
  }
  function truthPart(grid, link) {
    const title = [el("b", {}, "Truth and prediction")];
    if (grid.share !== null) title.push(`: ${grid.right} of ${plural(grid.compared, "case")} right `, el(
      "span",
      { class: "dim" },
      `(${percent(grid.share)}${grid.patients < grid.compared ? ` over ${plural(grid.patients, "patient")}` : ""}, 95 % interval ${range(grid.interval)})`
    ));
    const cell = (truth, one) => el(
      "td",
      { role: "cell", "data-label": `predicted ${one.predicted}` },
      one.count ? link(
        { truth, predicted: one.predicted },
        { class: one.right === null ? "" : one.right ? "is-right" : "is-wrong" },
        el("span", { class: "count" }, String(one.count)),
        el("span", { class: "dim small" }, `${percent(one.share)} of the row${one.right === null ? "" : one.right ? ", right" : ", wrong"}`),
        el("span", { class: "few-of" }, ...one.thumbnails.map((row3) => el("img", { src: `/thumbnail/${row3}.png`, alt: "", loading: "lazy", width: 72, height: 72 })))
      ) : el("span", { class: "none dim" }, "0")
    );
    const table = el(
      "table",
      { class: "truth", role: "table", "aria-label": "cases by label and prediction" },
      el("thead", { role: "rowgroup" }, el(
        "tr",
        { role: "row" },
        el("th", { role: "columnheader", scope: "col" }, "label"),
        ...grid.predicted.map((name) => el("th", { role: "columnheader", scope: "col" }, `predicted ${name}`))
      )),
      el("tbody", { role: "rowgroup" }, ...grid.rows.map((row3) => el(
        "tr",
        { role: "row" },
        el("th", { role: "rowheader", scope: "row" }, `labelled ${row3.truth}`),
        ...row3.cells.map((one) => cell(row3.truth, one))
      )))
    );
    return part(
      "truth",
      title,
      true,
      el("div", { class: "wide", role: "region", "aria-label": "truth and prediction", tabindex: 0 }, table),
      grid.unknown ? el("p", { class: "dim" }, grid.unknown) : null,
      grid.unlabelled ? el(
        "p",
        { class: "dim" },
        link({ answer: "unlabelled" }, {}, plural(grid.unlabelled, "case")),
        grid.unlabelled === 1 ? " has no label." : " have no label."
      ) : null
    );
  }
  function subgroupPart(about, link) {
    const names = about.columns.map((column) => column.name).join(", ");
    const row3 = (group, filters) => el(
      "tr",
      { role: "row" },
      el("th", { role: "rowheader", scope: "row" }, link(filters, {}, group.name || "all cases")),
      el("td", { role: "cell", "data-label": "cases" }, String(group.cases)),
      ...about.figures.map((figure2) => el(
        "td",
        { role: "cell", "data-label": figure2.title },
        ...valueOf(group.values[figure2.key], about.all.values[figure2.key], filters, link)
      ))
    );
    const columns = 2 + about.figures.length;
    const table = el(
      "table",
      { class: "subgroups", role: "table", "aria-label": "figures by subgroup" },
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...["subgroup", "cases", ...about.figures.map((f) => f.title)].map((title) => el("th", { role: "columnheader", scope: "col" }, title)))),
      el("tbody", { role: "rowgroup" }, row3(about.all, {})),
      ...about.columns.map((column) => el(
        "tbody",
        { role: "rowgroup" },
        el("tr", { role: "row" }, el("th", { role: "rowheader", scope: "rowgroup", colspan: columns }, column.name)),
        ...column.groups.map((group) => row3(group, { column: column.name, group: group.name }))
      ))
    );
    return part(
      "subgroups",
      [el("b", {}, "Subgroups"), `: ${names}`],
      about.labelled > 0 && matchMedia("(min-width: 701px)").matches,
      about.differing.length ? el("p", {}, el("b", {}, "Look here first"), ": subgroups whose interval lies apart from that of all other cases.") : null,
      about.differing.length ? el("ul", { class: "first" }, ...about.differing.slice(0, 8).map((one) => el(
        "li",
        {},
        link(one.filters, {}, `${one.filters.column} ${one.filters.group}`),
        `: ${one.figure} ${percent(one.share)}, others ${percent(one.others)}`
      ))) : null,
      el("div", { class: "wide", role: "region", "aria-label": "subgroups", tabindex: 0 }, table),
      el(
        "p",
        { class: "dim small" },
        "Means over patients with their 95 % intervals: of twenty intervals, about one misses the true value by chance. ",
        "The orange line is the value of all cases. Below ten patients there is no interval."
      ),
      about.unused ? el("p", { class: "dim small" }, `No subgroups: ${about.unused}.`) : null
    );
  }
  function valueOf(value, all, filters, link) {
    if (value.value === null) return [el("span", { class: "dim" }, "none")];
    const said = value.interval ? range(value.interval) : value.few ? `only ${plural(value.patients, "patient")}: too few` : "";
    return [
      el("span", { class: "value" }, percent(value.value)),
      " ",
      el("span", { class: "dim small" }, said),
      value.interval ? line(value.value, value.interval, all.value ?? value.value) : "",
      value.count ? link({ ...filters, ...value.behind }, { class: "small block" }, `${value.count} ${value.word}`) : ""
    ];
  }
  function line(value, [low, high], whole2) {
    const at = (share) => 5 + 120 * share;
    return svg(
      "svg",
      { class: "interval", viewBox: "0 0 130 12", "aria-hidden": "true" },
      svg("line", { class: "track", x1: at(0), x2: at(1), y1: 6, y2: 6 }),
      svg("line", { class: "whole", x1: at(whole2), x2: at(whole2), y1: 0, y2: 12 }),
      svg("line", { class: "bar", x1: at(low), x2: at(high), y1: 6, y2: 6 }),
      svg("circle", { class: "dot", cx: at(value), cy: 6, r: 4 })
    );
  }
  function outsidePart(found, link) {
    const most = found.outside > found.of / 2, words3 = `${found.outside} of ${plural(found.of, "flip")}`;
    return el(
      "p",
      { class: most ? "doubt" : "", id: "outside" },
      "In ",
      found.outside ? link({ change: "outside" }, {}, words3) : words3,
      " most of the change lies outside the anatomy you marked."
    );
  }

  // source/cohort.ts
  var COUNT = 50;
  var ENDS = {
    reached: "goal reached",
    already: "already met",
    budget: "budget exhausted",
    search: "not found",
    no_change: "no response",
    steps: "fixed steps",
    flips: "flips, goal not reached"
  };
  function cohortPage() {
    const words3 = byId("words"), show3 = byId("show");
    const sort = byId("sort"), body = byId("lines");
    const status = byId("status"), more = byId("more");
    const asked2 = new URLSearchParams(location.search);
    words3.value = asked2.get("q") ?? "";
    show3.value = asked2.get("show") ?? "all";
    sort.value = asked2.get("sort") ?? "problems";
    if (!show3.value) show3.value = "all";
    if (!sort.value) sort.value = "problems";
    let filters = Object.fromEntries(FIELDS.flatMap((name) => asked2.get(name) ? [[name, asked2.get(name) ?? ""]] : []));
    let shown = 0, found = Infinity, turn3 = 0, busy = false;
    const query = () => {
      const chosen = new URLSearchParams();
      if (words3.value.trim()) chosen.set("q", words3.value.trim());
      if (show3.value !== "all") chosen.set("show", show3.value);
      if (sort.value !== "problems") chosen.set("sort", sort.value);
      for (const [name, value] of Object.entries(filters)) chosen.set(name, value);
      return chosen;
    };
    const load = async (fresh) => {
      if (!fresh && (busy || shown >= found)) return;
      const mine = fresh ? ++turn3 : turn3;
      const from = fresh ? 0 : shown;
      busy = true;
      try {
        const wanted = query(), table = wanted.toString();
        wanted.set("from", String(from));
        wanted.set("count", String(COUNT));
        const answer = await getJson(`/api/cases?${wanted}`);
        if (mine !== turn3) return;
        const lines = answer.cases.map((line2) => row(line2, table));
        if (fresh) body.replaceChildren(...lines);
        else body.append(...lines);
        shown = from + lines.length;
        found = answer.found;
        status.textContent = summary(answer);
        say();
        more.hidden = shown >= found;
        more.textContent = `Show more (${found - shown} left)`;
        if (fresh) history.replaceState(null, "", table ? `?${table}` : location.pathname);
      } catch (error) {
        tell(error);
      } finally {
        if (mine === turn3) busy = false;
      }
    };
    const only = (wanted) => {
      filters = wanted;
      void load(true);
      byId("cases").focus({ preventScroll: true });
      byId("cases").scrollIntoView();
    };
    const say = () => {
      const words4 = chosenWords(filters), place2 = byId("chosen");
      place2.hidden = !words4;
      const clear = el("button", { type: "button" }, "Show all cases");
      clear.addEventListener("click", () => only({}));
      place2.replaceChildren(...words4 ? ["Only cases ", el("b", {}, words4), ". ", clear] : []);
    };
    let wait = 0;
    words3.addEventListener("input", () => {
      clearTimeout(wait);
      wait = window.setTimeout(() => load(true), 150);
    });
    for (const choice2 of [show3, sort]) choice2.addEventListener("change", () => load(true));
    more.addEventListener("click", async () => {
      const before = body.rows.length;
      await load(false);
      body.rows[before]?.querySelector("a")?.focus();
    });
    new IntersectionObserver(
      (seen) => {
        if (seen.some((s) => s.isIntersecting) && shown) load(false);
      },
      { rootMargin: "600px" }
    ).observe(more);
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && document.activeElement === document.body) {
        event.preventDefault();
        words3.focus();
      }
    });
    void load(true).then(() => aboveList(only)).catch(tell);
  }
  function summary(answer) {
    const part2 = answer.found === answer.all ? plural(answer.all, "case") : `${answer.found} of ${plural(answer.all, "case")}`;
    return `${part2} · ${answer.failures} with failures · ${answer.doubts} with warnings`;
  }
  function row(line2, table) {
    const link = `/case/${line2.id}${table ? "?" + table : ""}`;
    const picture = line2.thumbnail === null ? el("span", { class: "blank", "aria-hidden": "true" }) : el("img", { src: `/thumbnail/${line2.thumbnail}.png`, alt: "", loading: "lazy", width: 56, height: 56 });
    const change = line2.change !== null && el("img", { src: `/change/${line2.change}.png`, alt: "what the counterfactual changes", loading: "lazy", width: 56, height: 56 });
    const cell = (label, ...children) => el("td", { role: "cell", "data-label": label }, ...children.map((c) => c ?? ""));
    return el(
      "tr",
      { role: "row" },
      el("td", { role: "cell", class: "picture" }, el("span", { class: "pictures-of" }, picture, change)),
      el(
        "th",
        { role: "rowheader", scope: "row" },
        el("a", { href: link }, line2.name),
        line2.source && el("span", { class: "dim small block" }, line2.source),
        line2.synthetic && el("span", { class: "small block warn-text" }, "synthetic image")
      ),
      cell("prediction", ...line2.answers.map((a) => el("span", { class: "block" }, a))),
      cell("target", line2.targets.join(", ")),
      cell("heatmaps", String(line2.maps)),
      cell("counterfactuals", line2.ends.length ? line2.ends.map((end) => ENDS[end] ?? end).join(", ") : "none"),
      cell("warnings", list(line2.doubts, "doubt", "warning")),
      cell("failures", list(line2.failures, "failure", "failure"))
    );
  }
  function list(found, style, kind) {
    if (!found.length) return el("span", { class: "dim" }, "none");
    const first = found[0].length > 90 ? found[0].slice(0, 88) + "…" : found[0];
    return el(
      "span",
      { class: style, title: found.join("\n") },
      el("b", {}, plural(found.length, kind)),
      " ",
      el("span", { class: "small block" }, first + (found.length > 1 ? `; ${found.length - 1} more` : ""))
    );
  }

  // source/compare.ts
  var COUNT2 = 50;
  var NAMES = ["a", "b", "method", "sort"];
  function comparePage() {
    const pick = Object.fromEntries(NAMES.map((name) => [name, byId(name)]));
    const words3 = byId("words"), body = byId("lines");
    const status = byId("status"), more = byId("more");
    const asked2 = new URLSearchParams(location.search);
    words3.value = asked2.get("q") ?? "";
    if (asked2.get("sort")) pick.sort.value = asked2.get("sort");
    let shown = 0, turn3 = 0;
    const query = () => {
      const chosen = new URLSearchParams();
      for (const name of NAMES) {
        const value = pick[name].value || asked2.get(name) || "";
        if (value && !(name === "sort" && value === "answers")) chosen.set(name, value);
      }
      if (words3.value.trim()) chosen.set("q", words3.value.trim());
      return chosen;
    };
    const load = async (from) => {
      const mine = ++turn3;
      try {
        const wanted = query(), table = wanted.toString();
        wanted.set("from", String(from));
        wanted.set("count", String(COUNT2));
        const answer = await getJson(`/api/compare?${wanted}`);
        if (mine !== turn3) return;
        fill(pick, answer);
        const lines = answer.lines.map((line2) => row2(line2, table, answer.chosen));
        body.replaceChildren(...[...body.rows].slice(0, from), ...lines);
        shown = from + lines.length;
        more.hidden = shown >= answer.found || answer.left > 0;
        more.textContent = `Show more (${answer.found - shown} left)`;
        status.textContent = (answer.found === answer.all ? plural(answer.all, "case") : `${answer.found} of ${plural(answer.all, "case")}`) + ` of both models${answer.left ? ` · comparing maps, ${answer.left} left` : ""}`;
        if (from === 0) history.replaceState(null, "", `?${table}`);
        if (answer.left) await load(from);
      } catch (error) {
        tell(error);
      }
    };
    let wait = 0;
    words3.addEventListener("input", () => {
      clearTimeout(wait);
      wait = window.setTimeout(() => load(0), 150);
    });
    for (const name of NAMES) pick[name].addEventListener("change", () => {
      if (name === "a" && pick.a.value === pick.b.value) pick.b.value = other(pick.b, pick.a.value);
      if (name === "b" && pick.a.value === pick.b.value) pick.a.value = other(pick.a, pick.b.value);
      if (name === "a" || name === "b") {
        asked2.delete("method");
        pick.method.replaceChildren();
      }
      load(0);
    });
    more.addEventListener("click", async () => {
      const before = body.rows.length;
      await load(shown);
      body.rows[before]?.querySelector("a")?.focus();
    });
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && document.activeElement === document.body) {
        event.preventDefault();
        words3.focus();
      }
    });
    load(0);
  }
  var other = (select, taken) => [...select.options].find((o) => o.value !== taken).value;
  function fill(pick, answer) {
    const lists = { a: answer.models, b: answer.models, method: answer.methods };
    const chosen = { a: answer.chosen[0], b: answer.chosen[1], method: answer.method };
    for (const name of ["a", "b", "method"]) {
      const there = [...pick[name].options].map((option) => option.value);
      if (there.length !== lists[name].length || there.some((text, k) => text !== lists[name][k]))
        pick[name].replaceChildren(...lists[name].map((text) => el("option", { value: text }, text)));
      pick[name].value = chosen[name];
    }
    byId("says-a").textContent = `prediction of ${answer.chosen[0]}`;
    byId("says-b").textContent = `prediction of ${answer.chosen[1]}`;
  }
  function row2(line2, table, models2) {
    const cell = (label, ...children) => el("td", { role: "cell", "data-label": label }, ...children);
    const doubts = line2.doubts.map((count2, k) => count2 || line2.failures[k] ? `${models2[k]}: ${plural(count2, "warning")}${line2.failures[k] ? `, ${plural(line2.failures[k], "failure")}` : ""}` : "").filter(Boolean);
    return el(
      "tr",
      { role: "row" },
      el(
        "td",
        { role: "cell", class: "picture" },
        el("img", { src: `/thumbnail/${line2.thumbnail}.png`, alt: "", loading: "lazy", width: 56, height: 56 })
      ),
      el(
        "th",
        { role: "rowheader", scope: "row" },
        el("a", { href: `/compare/${line2.id}?${table}` }, line2.name),
        line2.source !== line2.name && el("span", { class: "dim small block" }, line2.source)
      ),
      ...line2.answers.map((said, k) => cell(`prediction of ${models2[k]}`, ...said.map((text) => el("span", { class: "block" }, text)))),
      cell(
        "difference of predictions",
        line2.apart ? apartWords(line2.apart) : el("span", { class: "dim" }, "not comparable"),
        line2.apart?.other === true && el("b", { class: "block warn-text" }, "different classes")
      ),
      cell("map distance", line2.maps === null ? el("span", { class: "dim" }, "not compared") : line2.maps.toFixed(2)),
      cell("warnings", doubts.length ? doubts.join("; ") : el("span", { class: "dim" }, "none"))
    );
  }
  function apartWords(apart) {
    const size = {
      points: `${apart.value.toFixed(0)} points`,
      share: `${(100 * apart.value).toFixed(0)} % of the region`,
      units: apart.value.toPrecision(3)
    }[apart.unit];
    return `${size} (${apart.name})`;
  }

  // source/running.ts
  var GOES_ON = ["running", "stopping"];
  function runPanel(path, saved) {
    const run = byId("run"), cancel = byId("cancel");
    let state = { state: "none", seconds_left: null };
    const allow = () => {
      run.disabled = GOES_ON.includes(state.state) || !saved();
    };
    const took = (now) => {
      state = now;
      show(now);
      cancel.hidden = !GOES_ON.includes(now.state);
      cancel.disabled = now.state === "stopping";
      allow();
      if (GOES_ON.includes(now.state)) setTimeout(() => watch().catch(tell), 400);
    };
    const watch = async () => took(await getJson("/api/run"));
    run.addEventListener("click", () => {
      run.disabled = true;
      postJson("/api/run", { path: path() }).then(took).catch((error) => {
        allow();
        tell(error);
      });
    });
    cancel.addEventListener("click", () => postJson("/api/cancel", {}).then((now) => {
      state = now;
      cancel.disabled = true;
    }).catch(tell));
    watch().catch(tell);
    return { allow };
  }
  function show(now) {
    byId("progress").hidden = now.state === "none";
    if (now.state === "none") return;
    const bar = byId("bar"), done = now.done ?? 0, total = now.total ?? 0;
    bar.max = Math.max(total, 1);
    bar.value = done;
    const failed = now.failed ? `, ${now.failed} failed` : "", rows = `${done} of ${plural(total, "row")}${failed}`;
    byId("state").textContent = {
      running: total ? `${rows}${now.seconds_left === null ? "" : `, about ${clock(now.seconds_left)} left`}: ${now.text}` : "starting …",
      stopping: "stopping …",
      none: "",
      done: `Done: ${rows}.`,
      cancelled: `Cancelled at ${rows}. Finished rows are kept: Run continues from there.`,
      failed: `Stopped: ${now.why}`
    }[now.state];
    byId("failures").replaceChildren(...(now.failures ?? []).map((text) => el("li", {}, text)));
    const after = byId("after");
    after.hidden = now.state !== "done";
    after.replaceChildren("Open it with ", el("code", {}, now.command ?? ""), "; the report: ", el("code", {}, now.report ?? ""));
  }
  function clock(seconds) {
    const whole2 = Math.round(seconds);
    return whole2 >= 3600 ? `${Math.floor(whole2 / 3600)} h ${Math.floor(whole2 % 3600 / 60)} min` : whole2 >= 60 ? `${Math.floor(whole2 / 60)} min ${whole2 % 60} s` : `${whole2} s`;
  }

  // source/form.ts
  var IMAGES = ["cohort", "images", "split", "subgroups", "masks", "background", "cases", "region", "keep", "reference"];
  var LIMITS = ["limit_seconds", "devices", "workers_per_device", "seed"];
  var STUDY = ["title", "out"];
  var choices2;
  var draft;
  var turn2 = 0;
  var timer = 0;
  var dirty = () => {
  };
  var last = null;
  async function formPage() {
    choices2 = await getJson("/api/choices");
    const path = byId("path");
    const save = byId("save");
    const runs = runPanel(() => path.value, () => Boolean(last?.saved));
    dirty = () => {
      save.disabled = true;
      runs.allow();
      byId("question").hidden = true;
      clearTimeout(timer);
      timer = window.setTimeout(() => examine(path.value, runs.allow), 250);
    };
    const open = async (address) => {
      const opened = await getJson(address);
      draft = opened.draft;
      path.value = opened.path;
      byId("notice").hidden = true;
      if (opened.note) tell(opened.note);
      drawAll();
      dirty();
    };
    await open("/api/draft");
    byId("waiting").remove();
    path.addEventListener("input", () => dirty());
    byId("open").addEventListener("click", () => open(`/api/draft?path=${encodeURIComponent(path.value)}`).catch(tell));
    save.addEventListener("click", () => write(path.value, false).catch(tell));
  }
  async function examine(path, after) {
    const mine = ++turn2;
    last = null;
    try {
      const answer = await postJson("/api/examine", { path, draft });
      if (mine !== turn2) return;
      last = answer;
      byId("notice").hidden = !byId("notice").textContent?.includes("is not a valid study:");
      show2(answer);
    } catch (error) {
      if (mine !== turn2) return;
      byId("verdict").textContent = "";
      tell(error);
    }
    after();
  }
  function show2(answer) {
    byId("toml").textContent = answer.text;
    byId("save").disabled = answer.problems.length > 0 || answer.saved;
    const elsewhere = [];
    for (const place2 of document.querySelectorAll("[data-for]")) {
      const name = place2.dataset.for;
      const wrong = answer.problems.filter((one) => one.place === name), absent = answer.missing.filter((one) => one.place === name);
      place2.replaceChildren(
        ...wrong.map((one) => el("span", { class: "refused" }, one.text)),
        ...absent.map((one) => el("span", { class: "absent" }, one.text)),
        ...(answer.facts[name] ?? []).map((text) => el("span", { class: "fact" }, text))
      );
      const input = document.getElementById(name);
      if (input) input.setAttribute("aria-invalid", String(wrong.length + absent.length > 0));
    }
    for (const one of [...answer.problems, ...answer.missing]) {
      const there = document.getElementById(one.place) ?? document.querySelector(`[data-for="${CSS.escape(one.place)}"]`);
      elsewhere.push(there ? toField(one.place, there) : document.createTextNode(one.text));
    }
    byId("wrong").replaceChildren(...elsewhere.map((node) => el("li", {}, node)));
    for (const [place2, words3] of Object.entries(answer.known)) suggest(place2, words3);
    const count2 = answer.problems.length;
    byId("verdict").textContent = count2 ? `${plural(count2, "problem")} to fix before this can be saved.` : answer.missing.length ? `Valid study, but ${plural(answer.missing.length, "input")} cannot be found.` : answer.saved ? "Saved. Nothing is missing." : "Valid study. Nothing is missing.";
  }
  function toField(place2, there) {
    const [part2, number, ...rest2] = place2.split("."), parts = draft[part2];
    const label = parts?.[Number(number)] && (parts[Number(number)].label || part2.replace("_", " ").replace(/s$/, ""));
    const link = el("a", { href: `#${place2}` }, label ? [label, words2(rest2.join("."))].filter(Boolean).join(": ") : words2(number));
    link.addEventListener("click", (event) => {
      event.preventDefault();
      there.scrollIntoView({ block: "center" });
      there.focus();
    });
    return link;
  }
  function suggest(place2, words3) {
    const input = document.getElementById(place2);
    if (!(input instanceof HTMLInputElement)) return;
    const id = `known-${place2}`;
    document.getElementById(id)?.remove();
    input.after(el("datalist", { id }, ...words3.map((value) => el("option", { value }))));
    input.setAttribute("list", id);
  }
  async function write(path, replace) {
    const done = await postJson("/api/save", { path, draft, replace });
    const question = byId("question");
    question.hidden = !done.question;
    if (!done.question) {
      dirty();
      return;
    }
    const over = el("button", { type: "button" }, "Overwrite it"), keep = el("button", { type: "button" }, "Keep it");
    over.addEventListener("click", () => write(path, true).catch(tell));
    keep.addEventListener("click", () => {
      question.hidden = true;
      byId("save").focus();
    });
    question.replaceChildren(el("p", {}, done.question), el("div", { class: "with" }, over, keep));
    over.focus();
  }
  function drawAll() {
    const named = /* @__PURE__ */ new Set([...IMAGES, ...LIMITS, ...STUDY]), known = choices2.study.map((one) => one.name);
    const more = [...known, ...Object.keys(draft.study)].filter((name, k, all) => !named.has(name) && all.indexOf(name) === k);
    byId("parts").replaceChildren(
      card("The study", fields(STUDY)),
      card("Images", fields(IMAGES)),
      models(),
      card("Targets", studyField("targets"), targetsHelp()),
      members("methods", "Methods"),
      members("metrics", "Metrics"),
      card("Limits and workers", fields(LIMITS)),
      ...more.filter((name) => name !== "targets").length ? [card("More", fields(more.filter((name) => name !== "targets")))] : []
    );
  }
  function card(title, ...children) {
    return el("section", { class: "card" }, el("h2", {}, title), ...children);
  }
  function fields(names) {
    return el("div", { class: "fields" }, ...names.map(studyField));
  }
  function studyField(name) {
    const setting = choices2.study.find((one) => one.name === name);
    return field(setting, name, `study.${name}`, draft.study, () => {
      delete draft.study[name];
      drawAll();
      dirty();
    });
  }
  function field(setting, name, place2, texts, remove) {
    const kind = setting?.kind ?? "unknown setting", about = `${place2}-about`, said = `${place2}-said`;
    const asked2 = { id: place2, "aria-describedby": `${about} ${said}`, spellcheck: "false", autocomplete: "off" };
    let input;
    if (kind === "texts") {
      input = el("textarea", { ...asked2, rows: Math.max(2, (texts[name] ?? "").split("\n").length), placeholder: "one per line" });
    } else if (kind === "yes or no") {
      const plain = setting.default === "true" ? "yes" : "no";
      input = el(
        "select",
        asked2,
        el("option", { value: "" }, `default (${plain})`),
        el("option", { value: "true" }, "yes"),
        el("option", { value: "false" }, "no")
      );
    } else {
      const mode = kind === "whole number" ? "numeric" : kind === "number" ? "decimal" : void 0;
      input = el("input", { ...asked2, type: "text", inputmode: mode, placeholder: setting?.default });
    }
    input.value = texts[name] ?? "";
    input.addEventListener("input", () => {
      texts[name] = input.value;
      dirty();
    });
    const usual = setting?.default ? `default ${setting.default}` : "", kinds = kind === "texts" ? "texts, one per line" : kind;
    const removes = el("button", { type: "button", "aria-label": `remove ${name}` }, "Remove");
    removes.addEventListener("click", remove);
    return el(
      "div",
      { class: "field" },
      el("label", { for: place2 }, words2(name)),
      setting ? input : el("div", { class: "with" }, input, removes),
      el("p", { class: "about", id: about }, ...coded([setting?.help, [kinds, usual].filter(Boolean).join(", ")].filter(Boolean).join(" · "))),
      el("div", { class: "said", id: said, "data-for": place2, "aria-live": "polite" })
    );
  }
  function coded(text) {
    return text.split("`").map((part2, k) => k % 2 ? el("code", {}, part2) : part2);
  }
  function words2(name) {
    return name.replaceAll("_", " ").replaceAll(".", ": ");
  }
  function fieldsOf(settings, part2, place2, again) {
    const names = [...settings.map((one) => one.name), ...Object.keys(part2.fields)];
    return el("div", { class: "fields" }, ...names.filter((name, k) => names.indexOf(name) === k).map((name) => field(
      settings.find((one) => one.name === name),
      name,
      `${place2}.${name}`,
      part2.fields,
      () => {
        delete part2.fields[name];
        again();
        dirty();
      }
    )));
  }
  function partBox(part2, place2, settings, title, about, again, remove, labelled) {
    const label = el("input", { type: "text", id: `${place2}-label`, autocomplete: "off", spellcheck: "false" });
    label.value = part2.label;
    label.addEventListener("input", () => {
      if (!part2.kind && place2.startsWith("me")) part2.kind = title;
      part2.label = label.value;
      dirty();
    });
    const removes = el("button", { type: "button", "aria-label": `remove ${part2.label || title}` }, "Remove");
    removes.addEventListener("click", remove);
    return el(
      "fieldset",
      { class: "part" },
      el("legend", {}, title),
      ...about,
      el("div", { class: "said", "data-for": place2, "aria-live": "polite" }),
      labelled ? el("div", { class: "field" }, el("label", { for: label.id }, labelled), label) : "",
      fieldsOf(settings, part2, place2, again),
      removes
    );
  }
  function members(which, title) {
    const section = card(title), one = which.slice(0, -1);
    const redraw = () => {
      const boxes = draft[which].map((part2, k) => {
        const name = part2.kind || part2.label;
        const member = choices2[which].find((m) => m.name === name || m.aliases.includes(name));
        const about = member ? [
          el("p", { class: "about" }, member.about),
          el("details", {}, el("summary", {}, "What it does, its cost and its source"), el("pre", {}, member.more))
        ] : [];
        return partBox(
          part2,
          `${which}.${k}`,
          member?.settings ?? [],
          name || `no ${one}`,
          about,
          redraw,
          () => {
            draft[which].splice(k, 1);
            redraw();
            dirty();
            adding.focus();
          },
          "label"
        );
      });
      section.replaceChildren(el("h2", {}, title), ...boxes, el("div", { class: "with" }, el("label", { for: adding.id }, `Add a ${one}`), adding, add));
    };
    const adding = el("select", { id: `add-${which}` }, ...choices2[which].map((m) => el("option", { value: m.name }, `${m.name}: ${m.about}`.slice(0, 90))));
    const add = el("button", { type: "button" }, "Add");
    add.addEventListener("click", () => {
      const name = adding.value, taken = new Set(draft[which].map((part2) => part2.label));
      let label = name, number = 2;
      while (taken.has(label)) label = `${name}-${number++}`;
      draft[which].push({ label, kind: label === name ? "" : name, fields: {} });
      redraw();
      dirty();
      document.getElementById(`${which}.${draft[which].length - 1}-label`)?.focus();
    });
    redraw();
    return section;
  }
  function models() {
    const section = card("Models");
    const redraw = () => {
      const boxes = ["models", "second_model"].flatMap((which) => draft[which].map((part2, k) => partBox(
        part2,
        `${which}.${k}`,
        choices2.models,
        which === "models" ? "Model" : "Second model",
        [],
        redraw,
        () => {
          draft[which].splice(k, 1);
          redraw();
          dirty();
          add.focus();
        },
        which === "models" && (draft.models.length > 1 || part2.label) ? "name" : ""
      )));
      second.hidden = draft.second_model.length > 0;
      section.replaceChildren(el("h2", {}, "Models"), ...boxes, el("div", { class: "with" }, add, second));
      for (let k = 0; k < draft.models.length; k++) suggest(`models.${k}.bundle`, choices2.bundles);
    };
    const add = el("button", { type: "button" }, "Add a model"), second = el("button", { type: "button" }, "Add a second model that checks counterfactuals");
    add.addEventListener("click", () => {
      const names = draft.models.length > 0;
      if (names && draft.models[0].label === "") draft.models[0].label = "model-1";
      draft.models.push({ label: names ? `model-${draft.models.length + 1}` : "", kind: "", fields: {} });
      redraw();
      suggest(`models.${draft.models.length - 1}.bundle`, choices2.bundles);
      dirty();
      document.getElementById(`models.${draft.models.length - 1}.path`)?.focus();
    });
    second.addEventListener("click", () => {
      draft.second_model.push({ label: "", kind: "", fields: {} });
      redraw();
      dirty();
      document.getElementById("second_model.0.path")?.focus();
    });
    redraw();
    return section;
  }
  function targetsHelp() {
    return el("details", {}, el("summary", {}, "Available targets"), el(
      "dl",
      { class: "asked" },
      ...choices2.targets.flatMap((one) => [el("dt", {}, el("code", {}, one.name)), el("dd", {}, one.about)])
    ));
  }

  // source/pair.ts
  async function pairPage() {
    const table = location.search, about = await getJson(`/api/compare/${document.body.dataset.id}${table}`);
    header2(about, table);
    const main = byId("parts");
    if (about.image) {
      const [low, high] = about.image.window;
      const view = { window: { low, high }, aspect: about.image.aspect, redraw: [] };
      const maps = about.items.filter((item) => item.kind === "heatmap"), strips = about.items.filter((item) => item.kind === "strip");
      if (about.image.slices) view.slice = maps[0]?.parts[0]?.slice ?? Math.floor(about.image.slices / 2);
      const slices = sliceControl(about.image, view);
      if (maps.length) main.append(mapsSection(about, about.image, maps, view, slices));
      strips.forEach((strip, k) => main.append(stripsSection(about, strip, view, maps.length || k ? null : slices)));
    }
    main.append(...rest(about));
    byId("waiting").remove();
  }
  function header2(about, table) {
    byId("back").setAttribute("href", "/compare" + table);
    byId("place").textContent = about.number ? `${about.number} of ${about.of}` : "";
    for (const side of ["previous", "next"]) {
      const link = byId(side), id = about[side];
      if (id) link.href = `/compare/${id}${table}`;
      else {
        link.removeAttribute("href");
        link.setAttribute("aria-disabled", "true");
      }
    }
    byId("facts").append(...about.models.map((model, k) => el(
      "p",
      {},
      el("a", { href: `/case/${about.cases[k]}` }, model),
      ": prediction ",
      el("b", {}, about.answers[k].join(", ") || "none"),
      "."
    )));
    if (about.apart) byId("facts").append(el(
      "p",
      { class: about.apart.other ? "verdict warn" : "verdict plain" },
      about.apart.other === null ? "" : about.apart.other ? "The predicted classes differ. " : "The predicted class is the same. ",
      "Difference of the predictions: ",
      apartWords(about.apart),
      "."
    ));
  }
  function mapsSection(about, image, items, view, slices) {
    const state = { item: items[0], opacity: 0.85, share: STRONGEST, own: uneven(items[0]), hidden: false };
    const names = [...about.models, `${about.models[0]} minus ${about.models[1]}`];
    const canvases = names.map(() => el("canvas", { role: "img", width: 512, height: 512, "aria-label": LOADING }));
    const legend = el("div", { class: "legend" }), said = el("div"), trust = el("div", { class: "twins" });
    const paint = painter(async () => paintMaps(canvases, names, image, state, view, legend));
    view.redraw.push(paint);
    const tellItem = () => {
      said.replaceChildren(...likeness(state.item, about.models), scoreTable(state.item, about.models));
      trust.replaceChildren(...state.item.parts.map((part2, k) => el("div", {}, el("h3", {}, about.models[k]), trustCard(part2.trust))));
    };
    const picked = (index) => {
      state.item = items[Number(index)];
      state.own = uneven(state.item);
      scales.querySelectorAll("input").forEach((input) => {
        input.checked = input.value === "own" === state.own;
      });
      tellItem();
      paint();
    };
    const scales = choice(
      "Scale",
      [["fixed", "common"], ["own", "per model"]],
      state.own ? "own" : "fixed",
      (v) => {
        state.own = v === "own";
        paint();
      }
    );
    const hide = el("input", { type: "checkbox" });
    hide.addEventListener("change", () => {
      state.hidden = hide.checked;
      paint();
    });
    const row3 = el(
      "div",
      { class: "stages", tabindex: 0, role: "group", "aria-label": "both maps and their difference. H hides the maps, drag changes the window" },
      ...canvases.map((canvas, k) => el("figure", {}, el("figcaption", {}, names[k]), el("div", { class: "stage" }, canvas))),
      legend
    );
    row3.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() === "h") hide.click();
    });
    tellItem();
    paint();
    const several = new Set(items.map((item) => item.target)).size > 1;
    return el(
      "section",
      { class: "card", "aria-labelledby": "where" },
      el("h2", { id: "where" }, "Where both models look"),
      row3,
      el("div", { class: "pair-parts" }, el(
        "div",
        { class: "controls" },
        choice("Map", items.map((item, k) => [String(k), several ? `${item.label}, ${item.target_name}` : item.label]), "0", picked),
        slices?.box,
        slider("Opacity", { min: 0, max: 100, step: 1, value: 85 }, (v) => `${v} %`, (v) => {
          state.opacity = v / 100;
          paint();
        }).box,
        slider(
          "Contour",
          { min: 1, max: 100, step: 1, value: STRONGEST },
          (v) => v < 100 ? `the strongest ${v} %` : "off",
          (v) => {
            state.share = v;
            paint();
          }
        ).box,
        ...windowControls(image, view, ...row3.querySelectorAll(".stage")),
        scales,
        el("label", { class: "check" }, hide, " Hide the maps (H)")
      ), said, trust)
    );
  }
  function uneven(item) {
    const parts = item.parts, most = Math.max(...parts.map((part2) => part2.shared));
    return parts.some((part2) => part2.own > 1e-9 && part2.own < 0.15 * most);
  }
  async function paintMaps(canvases, names, image, state, view, legend) {
    const parts = state.item.parts;
    const base = await getValues(image.row, "image", view.slice);
    const maps = await Promise.all(parts.map((part2) => getValues(part2.row, "values", view.slice)));
    const scales = parts.map((part2) => state.own ? part2.own : Math.max(...parts.map((other2) => other2.shared)));
    const unit = Math.max(...scales), colours = (data) => turned(data, parts[0].sign);
    const apart = state.own ? maps[0].data.map((v, i) => v / scales[0] - maps[1].data[i] / scales[1]) : maps[0].data.map((v, i) => v - maps[1].data[i]);
    const drawn = [[colours(maps[0].data), scales[0]], [colours(maps[1].data), scales[1]], [colours(apart), state.own ? 1 : unit]];
    const [, height, width] = base.shape;
    drawn.forEach(([data, scale], k) => {
      const context = fit(canvases[k], height, width, view.aspect);
      draw(context, greyPixels(base, view.window, k === 2 ? 0.6 : 1));
      if (!state.hidden) {
        draw(context, signedPixels(data, width, height, scale, state.opacity));
        if (state.share < 100) drawContour(context, contour(data, width, height, strongest(data.map(Math.abs), state.share / 100)), width, height);
      }
      canvases[k].setAttribute("aria-label", state.hidden ? "the image alone" : `${state.item.label} for ${state.item.target_name}: ${names[k]}`);
    });
    legend.replaceChildren(
      el("div", { class: "scale", "aria-hidden": "true" }),
      el("div", { class: "ends" }, el("span", {}, state.own ? parts[0].blue : `${parts[0].blue}: ${short(unit)}`), el("span", {}, state.own ? parts[0].orange : `${parts[0].orange}: ${short(unit)}`)),
      el("p", { class: "dim small" }, `Target: ${state.item.target_name}. The first two: orange is evidence ${parts[0].orange}, blue ${parts[0].blue}. The third: orange where ${names[0]} has more of it, blue where ${names[1]} has. ` + (state.own ? `One scale per model (${scales.map(short).join(" and ")}): shapes can be compared, magnitudes cannot.` : `Common scale, that of the model with the stronger maps by ${parts[0].method}; the maps of the other model may be faint.`)),
      ...parts.map((part2, k) => part2.part && el("p", { class: "small" }, el("b", {}, `${names[k]}: the map is ${part2.part}.`))).filter(Boolean),
      ...parts.map((part2, k) => part2.flaw && el("p", { class: "doubt" }, `${names[k]}: ${part2.flaw}`)).filter(Boolean)
    );
  }
  function likeness(item, models2) {
    if (item.alike === null || !item.overlap) return [el("p", { class: "dim" }, "The two results cannot be compared: one is empty, or their shapes differ.")];
    const words3 = item.alike > 0.8 ? "similar" : item.alike > 0.4 ? "partly similar" : item.alike > -0.2 ? "dissimilar" : "opposite";
    const facts = [
      ["cosine similarity", signed(item.alike)],
      ["strongest 5 %: overlap", `${(100 * item.overlap.shared).toFixed(0)} %`],
      ["opposite signs in the overlap", `${(100 * item.overlap.opposite).toFixed(0)} %`]
    ];
    return [
      el("h3", {}, `${models2[0]} and ${models2[1]}: ${words3}`),
      el("dl", { class: "read" }, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))
    ];
  }
  function scoreTable(item, models2) {
    if (!item.scores.length) return el("p", { class: "dim small" }, "The run has no metrics of this method.");
    const cells = (values, better) => {
      const [a, b] = values, wins = a === null || b === null || a === b || !better ? -1 : a > b === (better === "higher") ? 0 : 1;
      return values.map((value, k) => el("td", { class: k === wins ? "wins" : "" }, value === null ? "failed" : short(value), k === wins && " (better)"));
    };
    return el(
      "table",
      { class: "scores" },
      el("caption", {}, `Scores of ${item.label}`),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "metric"), ...models2.map((model) => el("th", { scope: "col" }, model)))),
      el("tbody", {}, ...item.scores.map((score) => el("tr", {}, el("th", { scope: "row" }, score.metric), ...cells(score.values, score.better))))
    );
  }
  function stripsSection(about, item, view, slices) {
    const parts = item.parts, id = `how-${parts[0].row}`, state = { at: 1, change: false };
    const canvases = parts.map(() => el("canvas", { role: "img", width: 512, height: 512, "aria-label": LOADING }));
    const charts = parts.map((part2) => chart(part2)), reads = parts.map(() => el("p", { class: "small" })), tags = parts.map(() => el("div", { class: "tag" })), legend = el("div", { class: "legend" });
    const paint = painter(async () => {
      const changes = await Promise.all(parts.map((part2) => changeOf(part2, view)));
      const scale = parts[0].difference.scale;
      for (const [k, part2] of parts.entries()) {
        const { frames } = changes[k], { index, share } = placeOf(part2, state.at), origin = frameOf(frames, part2.origin);
        const now = mixed(frameOf(frames, index), frameOf(frames, Math.min(index + 1, part2.requested.length - 1)), share);
        const [, height, width] = origin.shape, context = fit(canvases[k], height, width, part2.aspect);
        draw(context, greyPixels(state.change ? origin : now, view.window, state.change ? 0.5 : 1));
        if (state.change) draw(context, signedPixels(less(now, origin), width, height, scale, 0.95));
        charts[k].at(index, share);
        tags[k].textContent = state.change ? "difference from the original" : kindAt(part2, index + share);
        reads[k].textContent = `${part2.target_name}: ${part2.levels[part2.origin]} → ${levelAt(part2, index, share)}. ${part2.reason.charAt(0).toUpperCase()}${part2.reason.slice(1)}; reconstruction error ${part2.reconstruction_error.toFixed(2)} ${part2.unit}${part2.above_tolerance ? ", above the tolerance" : ""}.${part2.part && ` The change is ${part2.part}.`}`;
        canvases[k].setAttribute("aria-label", `${about.models[k]}, ${state.change ? "change" : "frame"} at ${Math.round(100 * state.at)} % of the path`);
      }
      const all = Float32Array.from(changes.flatMap((change) => [...change.most]));
      legend.replaceChildren(...state.change ? differenceLegend(parts[0].difference, all) : []);
    });
    view.redraw.push(paint);
    paint();
    return el(
      "section",
      { class: "card", "aria-labelledby": id },
      el("h2", { id }, `How the image would have to change for each model (${item.label}, ${item.target_name})`),
      el(
        "div",
        { class: "controls across" },
        slices?.box,
        slider("Position", { min: 0, max: 1, step: 0.01, value: 1 }, (v) => `${Math.round(100 * v)} % of the path`, (v) => {
          state.at = v;
          paint();
        }).box,
        choice("Show", [["frame", "frame"], ["change", "change"]], "frame", (v) => {
          state.change = v === "change";
          paint();
        })
      ),
      el("div", { class: "stages two" }, ...parts.map((part2, k) => el(
        "figure",
        {},
        el("figcaption", {}, about.models[k]),
        el("div", { class: "stage" }, canvases[k], tags[k]),
        reads[k],
        charts[k].picture,
        detailsOf(part2),
        trustCard(part2.trust)
      ))),
      legend,
      ...likeness(item, about.models),
      scoreTable(item, about.models)
    );
  }
  function placeOf(part2, at) {
    const last2 = part2.requested.length - 1, end = part2.origin === last2 ? 0 : last2, place2 = part2.origin + at * (end - part2.origin);
    const index = Math.min(Math.floor(place2), last2);
    return { index, share: place2 - index };
  }
  async function changeOf(part2, view) {
    const frames = await getValues(part2.row, "frames", view.slice), end = part2.origin === part2.requested.length - 1 ? 0 : part2.requested.length - 1;
    return { frames, most: less(frameOf(frames, end), frameOf(frames, part2.origin)) };
  }
  function less(a, b) {
    const [channels, height, width] = a.shape, size = height * width;
    return Float32Array.from({ length: size }, (_, i) => {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += a.data[c * size + i] - b.data[c * size + i];
      return sum / channels;
    });
  }
  function rest(about) {
    const failed = about.failures.flatMap((list2, k) => list2.map((failure) => ({ ...failure, model: about.models[k] })));
    return [
      ...about.items.length ? [] : [el("section", { class: "card" }, el("p", {}, 'No method has results of both models for the same target: each model was explained for its own predicted class. To compare models, name the targets in the study (targets = ["class:1"]).'))],
      ...about.alone.length ? [el(
        "details",
        { class: "card" },
        el("summary", {}, `Of one model only: ${plural(about.alone.length, "result")}`),
        ...about.alone.map((text) => el("p", { class: "dim small" }, text))
      )] : [],
      ...failed.length ? [el(
        "section",
        { class: "card", "aria-labelledby": "failed" },
        el("h2", { id: "failed" }, `What failed: ${plural(failed.length, "result")}`),
        ...failed.map((f) => el("p", { class: "doubt" }, el("b", {}, `${f.model}, ${f.method}`), ": ", f.error))
      )] : []
    ];
  }

  // source/looking.ts
  var MOST = 8;
  function looking(pictures, about) {
    const [low, high] = about.window, span = Math.max(high - low, 1e-6), middle2 = Math.floor(about.slices / 2);
    const now = { level: (low + high) / 2, width: span, slice: middle2, zoom: 1, x: 0, y: 0 };
    const holders = pictures.map(() => el("div", { class: "holder" }));
    const figures = pictures.map((picture, k) => el(
      "figure",
      {},
      holders[k],
      picture.caption && el("figcaption", { "aria-hidden": "true" }, picture.caption)
    ));
    const address = (picture) => {
      const changed = now.level !== (low + high) / 2 || now.width !== span;
      const window2 = changed ? `&low=${now.level - now.width / 2}&high=${now.level + now.width / 2}` : "";
      return `${picture.source}${window2}${about.slices > 1 ? `&slice=${now.slice}` : ""}`;
    };
    const load = async () => {
      const loaded = pictures.map((picture) => el("img", { src: address(picture), alt: picture.name, draggable: "false" }));
      await Promise.all(loaded.map((one) => one.decode()));
      loaded.forEach((one, k) => holders[k].replaceChildren(one));
      place2();
    };
    const redraw = painter(async () => {
      if (figures[0]?.isConnected) await load().catch((error) => {
        if (figures[0].isConnected) throw error;
      });
    });
    const place2 = () => {
      const most = (now.zoom - 1) / 2;
      now.x = Math.max(-most, Math.min(most, now.x));
      now.y = Math.max(-most, Math.min(most, now.y));
      for (const holder of holders) {
        const image = holder.firstElementChild;
        if (image) image.style.transform = `translate(${100 * now.x}%, ${100 * now.y}%) scale(${now.zoom})`;
        holder.dataset.zoom = short(now.zoom);
      }
    };
    const level = slider("Brightness", { min: low - span, max: high + span, step: "any", value: now.level }, short, (value) => {
      now.level = value;
      redraw();
    });
    const width = slider("Window", { min: span / 64, max: 2 * span, step: "any", value: now.width }, short, (value) => {
      now.width = value;
      redraw();
    });
    const slice = about.slices > 1 ? slider("Slice", { min: 0, max: about.slices - 1, step: 1, value: middle2 }, (at) => `${at + 1} of ${about.slices}`, (at) => {
      now.slice = at;
      redraw();
    }) : null;
    const zoomBy = (times) => {
      now.zoom = Math.max(1, Math.min(MOST, now.zoom * times));
      place2();
    };
    const windowTo = (centre, wide) => {
      now.level = Math.max(low - span, Math.min(high + span, centre));
      now.width = Math.max(span / 64, Math.min(2 * span, wide));
      level.set(now.level);
      width.set(now.width);
      redraw();
    };
    const sliceTo = (at) => {
      now.slice = Math.max(0, Math.min(about.slices - 1, at));
      slice?.set(now.slice);
      redraw();
    };
    const reset = () => {
      now.zoom = 1;
      now.x = now.y = 0;
      windowTo((low + high) / 2, span);
      sliceTo(middle2);
      place2();
    };
    const button2 = (text, name, act) => {
      const made2 = el("button", { type: "button", "aria-label": name }, text);
      made2.addEventListener("click", act);
      return made2;
    };
    holders.forEach((holder) => drag(holder, (x, y) => {
      if (now.zoom > 1) {
        now.x += x;
        now.y += y;
        place2();
      } else windowTo(now.level - y * span, now.width + x * span);
    }));
    const moves = {
      "+": () => zoomBy(1.25),
      "=": () => zoomBy(1.25),
      "-": () => zoomBy(0.8),
      "0": reset,
      w: () => windowTo(now.level, now.width * 0.8),
      s: () => windowTo(now.level, now.width * 1.25),
      a: () => windowTo(now.level + span / 20, now.width),
      d: () => windowTo(now.level - span / 20, now.width)
    };
    const step = 0.1;
    const arrows2 = {
      ArrowLeft: () => {
        now.x += step;
      },
      ArrowRight: () => {
        now.x -= step;
      },
      ArrowUp: () => {
        now.y += step;
      },
      ArrowDown: () => {
        now.y -= step;
      }
    };
    const key = (name, arrowsTaken) => {
      const move = moves[name.length === 1 ? name.toLowerCase() : name];
      if (move) {
        move();
        return true;
      }
      if (slice && (name === "PageUp" || name === "PageDown")) {
        sliceTo(now.slice + (name === "PageUp" ? 1 : -1));
        return true;
      }
      if (!arrows2[name] || arrowsTaken || now.zoom === 1) return false;
      arrows2[name]();
      place2();
      return true;
    };
    const controls = [
      button2("+", "enlarge", moves["+"]),
      button2("−", "make smaller", moves["-"]),
      button2("Reset view", "reset view", reset),
      level.box,
      width.box,
      ...slice ? [slice.box] : []
    ];
    return { figures, controls, ready: load(), key };
  }
  function drag(stage, moved) {
    let from = null;
    stage.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch" && stage.dataset.zoom === "1" || event.button !== 0) return;
      from = { x: event.clientX, y: event.clientY };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => {
      if (!from) return;
      moved((event.clientX - from.x) / stage.clientWidth, (event.clientY - from.y) / stage.clientHeight);
      from = { x: event.clientX, y: event.clientY };
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => {
      from = null;
    });
  }

  // source/read.ts
  var WORDS = { real: "Real", synthetic: "Synthetic", left: "Image 1", right: "Image 2", yes: "Yes", no: "No" };
  var LEVELS2 = [["1", "1 unsure"], ["2", "2"], ["3", "3"], ["4", "4"], ["5", "5 certain"]];
  var KEYS2 = { decide: "Keys Y and N decide, 1 to 5 tell how sure you are" };
  function readPage() {
    let reader = "", trial = null, since = 0, spent = 0, busy = false, view = null;
    let decided = "", confidence = 0;
    const part2 = (name) => {
      for (const id of ["enter", "trial", "waiting", "paused", "finished"]) byId(id).hidden = id !== name;
    };
    const next2 = async () => {
      trial = await getJson(`/api/trial?reader=${encodeURIComponent(reader)}`);
      if (trial.finished) {
        part2("finished");
        byId("thanks").focus();
        return;
      }
      if (trial.waiting) {
        wait(trial.waiting);
        return;
      }
      const shown = trial;
      const pictures = Array.from({ length: shown.pictures }, (_, k) => ({
        source: `/picture.png?reader=${encodeURIComponent(reader)}&position=${shown.done}&k=${k}`,
        name: shown.captions?.[k] ?? (shown.pictures > 1 ? `image ${k + 1}` : "image"),
        caption: shown.pictures > 1 ? shown.captions?.[k] ?? `Image ${k + 1}` : ""
      }));
      view = looking(pictures, { window: shown.window, slices: shown.slices ?? 1 });
      await view.ready;
      const session = (shown.sessions ?? 1) > 1 ? `, session ${shown.session} of ${shown.sessions}` : "";
      byId("progress").textContent = `${shown.done} of ${shown.of} answered${session}`;
      byId("bar").value = shown.done / shown.of;
      byId("question").textContent = shown.question;
      byId("said").textContent = shown.said ?? "";
      byId("said").hidden = !shown.said;
      byId("keys-said").textContent = KEYS2[shown.task] ?? "Keys 1 and 2 answer";
      byId("pictures").replaceChildren(...view.figures);
      byId("looking").replaceChildren(...view.controls);
      offer(shown);
      part2("trial");
      byId("question").focus();
      spent = 0;
      since = performance.now();
    };
    const wait = (begins) => {
      byId("begins").textContent = new Date(begins).toLocaleString([], { dateStyle: "full", timeStyle: "short" });
      part2("waiting");
      byId("waiting-title").focus();
    };
    const offer = (shown) => {
      decided = "";
      confidence = 0;
      const decision = shown.task === "decide";
      byId("choices").replaceChildren(...shown.choices.map((word, k) => {
        const text = decision || shown.pictures > 1 ? WORDS[word] : `${WORDS[word]} (${k + 1})`;
        const button2 = el("button", { type: "button", "data-choice": word, ...decision && { "aria-pressed": "false" } }, text);
        button2.addEventListener("click", () => choose(word));
        return button2;
      }));
      byId("confidence").replaceChildren(...decision ? [choice("How sure are you?", LEVELS2, "", (level) => sure(Number(level)))] : []);
    };
    const choose = (word) => {
      if (trial?.task !== "decide") {
        answer(word);
        return;
      }
      decided = word;
      byId("choices").querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.choice === word)));
      if (confidence) answer(word, confidence);
    };
    const sure = (level) => {
      confidence = level;
      byId("confidence").querySelectorAll("input").forEach((input) => {
        input.checked = Number(input.value) === level;
      });
      if (decided) answer(decided, level);
    };
    const answer = async (word, level) => {
      if (busy || !trial || trial.finished) return;
      busy = true;
      const seconds = (spent + performance.now() - since) / 1e3;
      byId("notice").hidden = true;
      try {
        await postJson("/api/answer", { reader, position: trial.done, answer: word, seconds, ...level && { confidence: level } });
        await next2();
      } catch (error) {
        tell(error);
      }
      busy = false;
    };
    byId("name-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      byId("notice").hidden = true;
      try {
        reader = (await postJson("/api/reader", { name: byId("name").value })).name;
        await next2();
      } catch (error) {
        tell(error);
      }
    });
    byId("pause").addEventListener("click", () => {
      spent += performance.now() - since;
      part2("paused");
      byId("resume").focus();
    });
    byId("resume").addEventListener("click", () => {
      since = performance.now();
      part2("trial");
      byId("question").focus();
    });
    document.addEventListener("keydown", (event) => {
      const within = event.target instanceof HTMLInputElement ? event.target.type : "";
      if (byId("trial").hidden || within === "text" || !byId("keys").checked) return;
      if (event.ctrlKey || event.metaKey || event.altKey || !trial) return;
      if (view?.key(event.key, ["range", "radio"].includes(within))) {
        event.preventDefault();
        return;
      }
      if (event.repeat) return;
      const number = Number(event.key);
      if (trial.task !== "decide") {
        if (trial.choices[number - 1]) answer(trial.choices[number - 1]);
        return;
      }
      if (number >= 1 && number <= LEVELS2.length) sure(number);
      const word = trial.choices.find((one) => one[0] === event.key.toLowerCase());
      if (word) choose(word);
    });
  }

  // source/pages.ts
  var pages = { cohort: cohortPage, case: casePage, read: readPage, compare: comparePage, pair: pairPage, form: formPage, attributes: attributesPage };
  Promise.resolve(pages[document.body.dataset.page ?? ""]?.()).catch(tell);
})();
