"use strict";
(() => {
  // source/carried.ts
  async function opened(found) {
    const packed = Uint8Array.from(atob(found.data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    const { shape, low, step } = found, size = bytes.length / 2, width = shape[shape.length - 1];
    const frame = shape.length === 4 ? size / shape[0] : size;
    const levels = new Int32Array(size), data = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      const folded = bytes[i] | bytes[size + i] << 8;
      levels[i] = (folded & 1 ? -(folded + 1) / 2 : folded / 2) + (i >= frame ? levels[i - frame] : 0);
    }
    for (let i = 0; i < size; i++) {
      if (i % width) levels[i] += levels[i - 1];
      data[i] = low + step * levels[i];
    }
    return { shape, data };
  }

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
  function tell(error) {
    const text = error instanceof Error ? error.message : String(error);
    const place2 = byId("notice");
    place2.textContent = text;
    place2.hidden = false;
  }
  function plural(count2, one, many = one + "s") {
    return `${count2} ${count2 === 1 ? one : many}`;
  }
  function short(value) {
    return String(Number(value.toPrecision(3))).replace("-", "−");
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
  function slider(label, range, say, moved) {
    const input = el("input", { type: "range", ...range });
    const shown = el("output", {}, say(range.value));
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
  function give(address, open) {
    given.set(address, open);
  }
  var provided = /* @__PURE__ */ new Map();
  function getValues(row, name, slice) {
    const own = typeof row === "number" ? provided.get(row) : void 0;
    if (own) return own(name, slice);
    const address = `${typeof row === "string" ? "/live" : ""}/array/${row}/${name}${slice === void 0 ? "" : `?slice=${slice}`}`;
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
    const inside = sizes.reduce((count2, size) => count2 + (size >= level ? 1 : 0), 0) / sizes.length;
    return level > 0 && inside <= 1.5 * OUTLINED ? contour(data, width, height, level) : [];
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

  // source/nearest.ts
  function nearestOf(nearest, row, view) {
    return nearest.filter((one) => one.row === row).map((one) => nearestRow(one, view));
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
          ...real.place.map((line) => el("span", { class: "block" }, line))
        )
      )))
    );
  }

  // source/box.ts
  var NOW = "#ffcf5c";
  var WAS = "#7fe0ff";
  var MODES = [["only", "Change only here"], ["keep", "Leave unchanged"]];
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
  function boxControls(box, wish, drag) {
    const begin = el("button", { type: "button" }, "Box"), hint = el("span", { class: "dim small" }, "Shift and drag on a picture, or press Box.");
    const handle = el("div", { class: "handle", tabindex: 0, role: "group" });
    const fields = edges(box), remove = button("Remove the box", () => {
      box.set(null);
      begin.focus();
    });
    const asks = MODES.map(([mode, text]) => button(text, () => box.ask?.(mode, wish)));
    const why = el("p", { class: "doubt", role: "status" });
    const part = el(
      "div",
      { class: "boxing", role: "group", "aria-label": "the box" },
      handle,
      fields.part,
      el("div", { class: "row-of" }, ...asks, remove),
      why,
      ...starting()
    );
    begin.addEventListener("click", () => {
      if (!box.at) box.start();
      drag();
      handle.focus();
    });
    handle.addEventListener("keydown", (event) => arrows(event, box, () => remove.click()));
    part.addEventListener("keydown", (event) => event.stopPropagation());
    const show = () => {
      hint.hidden = Boolean(box.at);
      part.hidden = !box.at;
      handle.textContent = `Box: ${box.words()}`;
      handle.setAttribute("aria-label", `Box: ${box.words()}. Arrows move it, shift and arrows size it, delete removes it.`);
      fields.show();
      asks.forEach((one) => {
        one.disabled = !box.ask;
      });
      why.textContent = box.ask ? "" : `No model can be asked: ${box.why}`;
      why.hidden = !why.textContent;
      part.querySelectorAll(".starting").forEach((one) => {
        one.hidden = Boolean(box.ask) || box.why.endsWith("…");
      });
    };
    box.redraw.push(show);
    show();
    return el("div", {}, el("div", { class: "row-of" }, begin, hint), part);
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
    const part = el("div", { class: "edges" }, pair("columns", box.width, 0), pair("rows", box.height, 0), box.depth > 0 && pair("slices", box.depth, 1));
    const show = () => made2.forEach(({ input, name, end, plus }) => {
      if (box.at) input.value = String(box.at[name][end] + plus);
    });
    return { part, show };
  }
  var button = (text, pressed) => {
    const made2 = el("button", { type: "button" }, text);
    made2.addEventListener("click", pressed);
    return made2;
  };
  function shares({ columns, rows }, width, height) {
    return { x: columns[0] / width, y: rows[0] / height, w: (columns[1] - columns[0] + 1) / width, h: (rows[1] - rows[0] + 1) / height };
  }

  // source/chart.ts
  function chart(strip) {
    const { width, height, points, ideal, x_ticks, y_ticks, goal_y, half_y } = strip.curve;
    const line = (list) => list.map((point) => point.join(",")).join(" ");
    const now = svg("circle", { class: "now", r: 6 });
    const last = strip.scores.length - 1, axis = strip.shares ? `probability of ${strip.target_name}` : `change achieved, ${strip.unit}`;
    const [from, to] = [strip.table[0], strip.table[last]];
    const words2 = strip.shares ? `Probability over the change requested: from ${strip.levels[0]} to ${strip.levels[last]}, for ${to.requested} ${strip.unit} requested.` : `Change requested against change achieved, in ${strip.unit}: from ${from.requested} requested and ${from.achieved} achieved to ${to.requested} requested and ${to.achieved} achieved.`;
    const across = (y, kind, text) => [
      svg("line", { x1: 54, x2: width - 14, y1: y, y2: y, class: kind }),
      kind === "half" ? svg("text", { ...points[points.length - 1][1] > y ? { x: 60 } : { x: width - 16, "text-anchor": "end" }, y: y + 13, class: "half-text" }, text) : svg("text", { x: 60, y: y - 4, class: `${kind}-text` }, text)
    ];
    const picture = svg(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words2, class: "chart" },
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
      svg("polyline", { points: line(ideal), class: "ideal" }),
      ...half_y === null ? [] : across(half_y, "half", "the prediction flips"),
      ...goal_y === null ? [] : across(goal_y, "goal", "goal"),
      svg("polyline", { points: line(points), class: "measured" }),
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

  // source/legend.ts
  function scaleBar(opacity, dim = 1) {
    const grey = 128 * dim, blend = (colour) => `rgb(${colour.map((part) => Math.round(part * opacity + grey * (1 - opacity))).join(",")})`;
    const bar = el("div", { class: "scale", "aria-hidden": "true" });
    bar.style.background = `linear-gradient(90deg,${blend(AGAINST)},rgb(${grey},${grey},${grey}),${blend(FOR)})`;
    return bar;
  }
  function ends(left, middle, right) {
    return el("div", { class: "ends" }, ...[left, middle, right].map((text) => el("span", {}, text)));
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
      const half = 0.5 / this.scale, inside = (at) => Math.max(half, Math.min(1 - half, at));
      this.x = inside(this.x - dx / this.scale);
      this.y = inside(this.y - dy / this.scale);
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
    controls(whole) {
      const button2 = (text, label, pressed) => {
        const made2 = el("button", { type: "button", title: label, "aria-label": label }, text);
        made2.addEventListener("click", pressed);
        return made2;
      };
      const full = el("button", { type: "button", "data-key": "full" }, "Full screen (F)");
      full.addEventListener("click", () => {
        void (document.fullscreenElement ? document.exitFullscreen() : whole.requestFullscreen());
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
      const drag = this.remember("drag", choice("Dragging changes", drags, "window", (v) => {
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
        choices: [lens, pixels, drag]
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
    const size = Math.round(w / 20), words2 = `${length} mm`, above = y - 14;
    context.font = `${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    const across = Math.max(long, context.measureText(words2).width + size / 2), middle = Math.min(x + long / 2, w - across / 2);
    context.fillStyle = "rgb(0 0 0 / 70%)";
    context.fillRect(middle - across / 2, above - size, across, 1.2 * size);
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
    context.fillText(words2, middle, above);
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
    const put = (first, last) => {
      view.window.low = first;
      view.window.high = last;
      view.redraw.forEach((again) => again());
    };
    const set = (middle, wide) => {
      const kept2 = Math.max(span / 256, Math.min(2 * span, wide)), at = Math.max(least, Math.min(most, middle));
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
      const is = image.presets.findIndex(([, first, last]) => Math.abs(first - view.window.low) + Math.abs(last - view.window.high) < 1e-6 * span);
      presets.value = is < 0 ? "own" : String(is);
    };
    view.redraw.push(told);
    told();
    const reset = el("button", { type: "button" }, "Reset window");
    reset.addEventListener("click", () => put(low, high));
    let from = null;
    for (const stage of stages) {
      stage.addEventListener("pointerdown", (event) => {
        const other = stage.dataset.drag && stage.dataset.drag !== "window" || event.shiftKey && view.box;
        if (event.pointerType === "touch" || event.button !== 0 || other) return;
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

  // source/strip.ts
  var KEYS = "Left and right arrows change the frame, B puts the original in the place of the changed image and back, M the comparison mode, X exaggerates, L is the lens, P the pixels, plus, minus and 0 zoom, shift and arrows move what is shown, F is full screen";
  function displayed(strip) {
    const by = (list) => strip.order.map((k) => list[k]);
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
      const { buttons, choices: choices2 } = panels.controls(box);
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
          ...choices2,
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
      const inside = event.target !== box, own = this.keys[event.key.toLowerCase()];
      if (inside && (event.key.startsWith("Arrow") || event.target instanceof HTMLSelectElement)) return;
      if (own) {
        if (!event.repeat) own();
      } else if (!this.arrows(event) && !this.panels.key(event)) return;
      event.preventDefault();
    }
    play() {
      const button2 = el("button", { type: "button" }, "Play"), { state } = this;
      let timer = 0, step = 1;
      button2.addEventListener("click", () => {
        if (timer) {
          clearInterval(timer);
          timer = 0;
          button2.textContent = "Play";
          return;
        }
        button2.textContent = "Stop";
        timer = window.setInterval(() => {
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
  function between(list, k, share) {
    return list[k] * (1 - share) + list[Math.min(k + 1, list.length - 1)] * share;
  }
  function levelAt(strip, k, share) {
    const at = share < 0.011 ? k : share > 0.989 ? Math.min(k + 1, strip.levels.length - 1) : -1;
    if (at >= 0) return strip.levels[at];
    return "≈ " + (strip.shares ? `${(100 * between(strip.shares, k, share)).toFixed(0)} %` : `${between(strip.scores, k, share).toFixed(2)} ${strip.unit}`);
  }
  function readings(strip, k, share) {
    const name = strip.shares ? `probability of ${strip.target_name}` : strip.target_name;
    const pairs = strip.picture ? [[name, levelAt(strip, k, share)]] : [
      [name, `${strip.levels[strip.origin].replace(` ${strip.unit}`, "")} → ${levelAt(strip, k, share)}`],
      ...hasLatents(strip) ? [["latent distance", between(strip.latent_distance, k, share).toFixed(2) + " SD"]] : []
    ];
    return pairs.flatMap(([label, value]) => [el("dt", {}, label), el("dd", {}, value)]);
  }
  function words(strip, at) {
    const k = Math.min(Math.floor(at), strip.order.length - 1);
    return `${levelAt(strip, k, at - k)}, frame ${place(at)} of ${strip.order.length - 1}: ${isOrigin(strip, at) ? "original" : "synthetic"}`;
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
      const row = state.map?.row ?? image.row, map = state.map;
      const values = await getValues(row, "image", view.slice);
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
    const picked = (row) => {
      state.map = maps.find((map) => String(map.row) === row);
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
    const { buttons, choices: choices2 } = panels.controls(box);
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
      el("div", { class: "pairs" }, ...choices2, ...windows)
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

  // source/report.ts
  function liven(section) {
    const { about, arrays } = JSON.parse(section.querySelector("script").textContent);
    for (const [address, found] of Object.entries(arrays))
      give(address, () => opened("same" in found ? arrays[found.same] : found));
    if (!about.image) return;
    const [low, high] = about.image.window, moving = el("div", { class: "moving" });
    const view = { window: { low, high }, aspect: about.image.aspect, redraw: [] };
    for (const strip of about.strips) {
      moving.append(stripSection(strip, view, about.image));
      if (strip.followup.length) moving.append(followupRow(strip, view));
      moving.append(...nearestOf(about.nearest, strip.row, view));
    }
    moving.append(whereSection(about.image, about.maps, view));
    for (const map of about.maps) moving.append(...nearestOf(about.nearest, map.row, view));
    for (const part of moving.querySelectorAll("section")) {
      part.removeAttribute("aria-labelledby");
      part.removeAttribute("aria-label");
      part.querySelector("h2").removeAttribute("id");
    }
    section.querySelector("details.all").append(moving);
    section.classList.add("alive");
  }
  for (const section of document.querySelectorAll("section.case")) {
    const all = section.querySelector("details.all");
    all?.addEventListener("toggle", () => {
      if (!all.open || section.classList.contains("alive") || !section.querySelector("script")) return;
      try {
        liven(section);
      } catch (error) {
        tell(error);
      }
    });
  }
  function unfold() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const part = target && (target.closest("details") ?? target.querySelector("details") ?? target.closest("section")?.querySelector("details"));
    if (part) part.open = true;
  }
  addEventListener("hashchange", unfold);
  unfold();
})();
