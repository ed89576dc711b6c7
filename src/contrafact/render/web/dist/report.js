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
    const made = document.createElement(tag);
    dress(made, attributes, children);
    return made;
  }
  function svg(tag, attributes = {}, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    dress(made, attributes, children);
    return made;
  }
  function dress(made, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) made.setAttribute(name, "");
      else if (value !== void 0 && value !== false) made.setAttribute(name, String(value));
    }
    made.append(...children.filter((c) => Boolean(c)));
  }
  function byId(id) {
    const found = document.getElementById(id);
    if (!found) throw new Error(`the page has no #${id}`);
    return found;
  }
  function tell(error) {
    const text = error instanceof Error ? error.message : String(error);
    const place = byId("notice");
    place.textContent = text;
    place.hidden = false;
  }
  function plural(count, one, many = one + "s") {
    return `${count} ${count === 1 ? one : many}`;
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
  function madeBy(made) {
    const cost = [
      made.seconds !== null && `${made.seconds.toFixed(2)} s`,
      made.passes !== null && plural(Math.round(made.passes), "pass", "passes") + " through the model"
    ].filter(Boolean).join(", ");
    const how = made.layer ? `Made in ${cost}, from ${made.layer}` : `Made in ${cost}`;
    return el("details", {}, el("summary", {}, how), el("pre", {}, JSON.stringify(made.parameters, null, 1)));
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
  function painter(paint) {
    let waiting = false, again = false;
    const run = async () => {
      waiting = true;
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
    };
    const ask = () => {
      if (waiting) again = true;
      else {
        waiting = true;
        requestAnimationFrame(run);
      }
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
  function percentile(data, share) {
    const sorted = Float32Array.from(data).sort();
    return sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(share * (sorted.length - 1))))];
  }
  function draw(context, pixels) {
    const layer = document.createElement("canvas");
    layer.width = pixels.width;
    layer.height = pixels.height;
    layer.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(layer, 0, 0, context.canvas.width, context.canvas.height);
  }
  function fit(canvas, height, width, aspect) {
    const wide = Math.round(Math.min(1024, Math.max(512, width)));
    const high = Math.max(1, Math.round(wide * height * aspect / width));
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.width = wide;
      canvas.height = high;
    }
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, wide, high);
    return context;
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
        const cut = [];
        if (a >= 0 !== b >= 0) cut.push([x + a / (a - b), y]);
        if (b >= 0 !== c >= 0) cut.push([x + 1, y + b / (b - c)]);
        if (c >= 0 !== d >= 0) cut.push([x + d / (d - c), y + 1]);
        if (d >= 0 !== a >= 0) cut.push([x, y + a / (a - d)]);
        for (let i = 0; i + 1 < cut.length; i += 2) lines.push([...cut[i], ...cut[i + 1]]);
      }
    }
    return lines;
  }
  function drawContour(context, lines, width, height) {
    const sx = context.canvas.width / width, sy = context.canvas.height / height;
    context.beginPath();
    for (const [x0, y0, x1, y1] of lines) {
      context.moveTo((x0 + 0.5) * sx, (y0 + 0.5) * sy);
      context.lineTo((x1 + 0.5) * sx, (y1 + 0.5) * sy);
    }
    context.lineCap = "round";
    for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.stroke();
    }
  }

  // source/chart.ts
  function chart(strip) {
    const { width, height, points, ideal, x_ticks, y_ticks, goal_y } = strip.curve;
    const line = (list) => list.map((point) => point.join(",")).join(" ");
    const now = svg("circle", { class: "now", r: 6 });
    const last = strip.scores.length - 1;
    const [from, to] = [strip.table[0], strip.table[last]];
    const words2 = `Change requested against change achieved, in ${strip.unit}: from ${from.requested} requested and ${from.achieved} achieved to ${to.requested} requested and ${to.achieved} achieved.`;
    const picture = svg(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words2, class: "chart" },
      ...x_ticks.flatMap(([x, text]) => [
        svg("line", { x1: x, x2: x, y1: 14, y2: height - 40, class: "grid" }),
        svg("text", { x, y: height - 24, "text-anchor": "middle" }, text)
      ]),
      ...y_ticks.flatMap(([y, text]) => [
        svg("line", { x1: 44, x2: width - 14, y1: y, y2: y, class: "grid" }),
        svg("text", { x: 38, y: y + 4, "text-anchor": "end" }, text)
      ]),
      svg("text", { x: (width + 30) / 2, y: height - 6, "text-anchor": "middle" }, `change requested, ${strip.unit}`),
      svg("text", { transform: `translate(11 ${height / 2 - 10}) rotate(-90)`, "text-anchor": "middle" }, `change achieved, ${strip.unit}`),
      svg("polyline", { points: line(ideal), class: "ideal" }),
      goal_y !== null && svg("line", { x1: 44, x2: width - 14, y1: goal_y, y2: goal_y, class: "goal" }),
      goal_y !== null && svg("text", { x: 48, y: goal_y - 4, class: "goal-text" }, "goal"),
      svg("polyline", { points: line(points), class: "measured" }),
      ...points.map(([x, y]) => svg("circle", { cx: x, cy: y, r: 2.6, class: "point" })),
      now
    );
    const at = (k, share) => {
      const next = points[Math.min(k + 1, points.length - 1)];
      now.setAttribute("cx", String(points[k][0] * (1 - share) + next[0] * share));
      now.setAttribute("cy", String(points[k][1] * (1 - share) + next[1] * share));
    };
    return { picture, at };
  }

  // source/strip.ts
  function stripSection(strip, view) {
    const last = strip.requested.length - 1, first = strip.origin === 0 ? last : strip.origin === last ? 0 : strip.origin;
    const state = { at: first, mode: "morph", wipe: 0.5 };
    const canvas = el("canvas", { role: "img", width: 512, height: 512 });
    const tag = el("div", { class: "tag" });
    const stage = el("div", {
      class: "stage",
      tabindex: 0,
      role: "group",
      "aria-label": "counterfactual. Left and right arrows change the frame, M the comparison mode"
    }, canvas, tag);
    const { picture, at: mark } = chart(strip);
    const legend = el("div", { class: "legend" }), read = el("dl", { class: "read" });
    const paint = painter(async () => {
      const frames = await getValues(strip.row, "frames", view.slice);
      const k = Math.min(Math.floor(state.at), last), share = state.at - k;
      const origin = frameOf(frames, strip.origin), now = mixed(frameOf(frames, k), frameOf(frames, Math.min(k + 1, last)), share);
      const [, height, width] = origin.shape, context = fit(canvas, height, width, strip.aspect);
      legend.replaceChildren();
      if (state.mode === "difference") paintDifference(context, origin, now, strip, view, legend);
      else draw(context, greyPixels(now, view.window));
      if (state.mode === "wipe") paintWipe(context, origin, view, state.wipe);
      mark(k, share);
      tagFor(tag, strip, state.mode, state.at);
      view.moved?.(state.at);
      read.replaceChildren(...readings(strip, k, share));
      canvas.setAttribute("aria-label", `${state.mode}: ${words(strip, state.at)}`);
    });
    view.redraw.push(paint);
    const move = slider("Frame", { min: 0, max: last, step: 0.02, value: first }, (v) => words(strip, v), (v) => {
      state.at = v;
      paint();
    });
    const whole = (step) => {
      state.at = Math.max(0, Math.min(last, step > 0 ? Math.floor(state.at + 1e-6) + 1 : Math.ceil(state.at - 1e-6) - 1));
      move.set(state.at);
      paint();
    };
    const arrows = (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (step) {
        event.preventDefault();
        whole(step);
      }
    };
    move.input.addEventListener("keydown", arrows);
    const wipe = slider("Wipe", { min: 0, max: 100, step: 1, value: 50 }, (v) => `${v} % is the original`, (v) => {
      state.wipe = v / 100;
      paint();
    });
    wipe.box.hidden = true;
    const modes = choice("Compare by", [["morph", "morph"], ["wipe", "wipe"], ["difference", "difference"]], "morph", (v) => {
      state.mode = v;
      wipe.box.hidden = v !== "wipe";
      paint();
    });
    stage.addEventListener("keydown", (event) => {
      arrows(event);
      if (event.key.toLowerCase() === "m") {
        const next = { morph: "wipe", wipe: "difference", difference: "morph" }[state.mode];
        modes.querySelector(`input[value=${next}]`).click();
      }
    });
    wipeByHand(stage, canvas, (share) => {
      if (state.mode === "wipe") {
        state.wipe = share;
        wipe.set(Math.round(100 * share));
        paint();
      }
    });
    paint();
    const id = `how-${strip.row}`;
    return el(
      "section",
      { class: "card", "aria-labelledby": id },
      el("h2", { id }, strip.heading),
      strip.picture ? el("p", { class: "dim" }, "Made by gradient ascent: not a patient, and no likeness is claimed.") : verdict(strip),
      el(
        "div",
        { class: "columns" },
        el("div", {}, stage, legend),
        el("div", { class: "controls" }, move.box, playButton(state, last, move.set, paint), modes, wipe.box, read),
        el("div", { class: "beside" }, strip.picture ? "" : detailsOf(strip, picture), trustCard(strip.trust), madeBy(strip))
      ),
      film(strip, view, (k) => {
        state.at = k;
        move.set(k);
        paint();
      })
    );
  }
  function verdict(strip) {
    const error = strip.above_tolerance ? "above the tolerance: generating this image without a change moves the prediction. Do not rely on this counterfactual" : "within the tolerance";
    const reason = strip.reason.charAt(0).toUpperCase() + strip.reason.slice(1);
    return el(
      "p",
      { class: `verdict ${strip.tone}` },
      el("b", {}, strip.second),
      " ",
      reason,
      ". ",
      `Reconstruction error: ${strip.reconstruction_error.toFixed(2)} ${strip.unit}, ${error}.`,
      strip.outcome !== "already" && hasLatents(strip) && ` Largest latent distance: ${Math.max(...strip.latent_distance).toFixed(1)} SD.`,
      !strip.picture && ` Engine: ${strip.engine}.`
    );
  }
  var hasLatents = (strip) => Math.max(...strip.latent_distance) > 0;
  var isOrigin = (strip, at) => Math.abs(at - strip.origin) < 1e-6 && !strip.picture;
  function kindAt(strip, at) {
    return isOrigin(strip, at) ? strip.kinds[strip.origin] : "synthetic, not for diagnosis";
  }
  function tagFor(tag, strip, mode, at) {
    const original = isOrigin(strip, at);
    tag.textContent = mode === "difference" ? `difference of frame ${at.toFixed(Number.isInteger(at) ? 0 : 1)} (${original ? "original" : "synthetic"}) from the original` : mode === "wipe" && !original ? "left: original; right: synthetic, not for diagnosis" : kindAt(strip, at);
    tag.classList.toggle("original", tag.textContent === "original");
  }
  function detailsOf(strip, picture) {
    const heads = ["frame", "level", `score, ${strip.unit}`, "requested", "achieved", "latent distance (SD)"];
    return el(
      "details",
      { class: "details" },
      el("summary", {}, `Details: ${strip.unit}, changes requested and achieved`),
      picture,
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
    const k = Math.min(Math.floor(at), strip.requested.length - 1), share = at - k;
    return `${at.toFixed(Number.isInteger(at) ? 0 : 1)} of ${strip.requested.length - 1}: ${isOrigin(strip, at) ? "original" : "synthetic"}, ${levelAt(strip, k, share)}`;
  }
  function paintDifference(context, origin, now, strip, view, legend) {
    const [, height, width] = origin.shape, change = difference(now, origin);
    draw(context, greyPixels(origin, view.window, 0.35));
    draw(context, signedPixels(change, width, height, strip.difference.scale, 0.95));
    legend.append(...differenceLegend(strip.difference, change));
  }
  function differenceLegend(scale, change) {
    const most = change.reduce((best, value) => Math.max(best, Math.abs(value)), 0);
    const over = change.reduce((count, value) => count + (Math.abs(value) > scale.scale ? 1 : 0), 0) / change.length;
    const said = most === 0 ? "Nothing changed." : over > 0 ? `${over < 0.01 ? "Under 1" : (100 * over).toFixed(0)} % of the pixels change by more, up to ${short(most)}.` : most < 0.1 * scale.scale ? `The change is far below full colour: at most ${short(most)}.` : `Largest change: ${short(most)}.`;
    return [
      el("div", { class: "scale", "aria-hidden": "true" }),
      el("div", { class: "ends" }, el("span", {}, `darker by ${short(scale.scale)}`), el("span", {}, `brighter by ${short(scale.scale)}`)),
      el("p", { class: "dim small" }, `${scale.words.charAt(0).toUpperCase()}${scale.words.slice(1)}. ${said}`)
    ];
  }
  function paintWipe(context, origin, view, share) {
    const { width, height } = context.canvas, x = Math.round(share * width);
    context.save();
    context.beginPath();
    context.rect(0, 0, x, height);
    context.clip();
    draw(context, greyPixels(origin, view.window));
    context.restore();
    context.fillStyle = "#fff";
    context.fillRect(x - 1, 0, 2, height);
    context.font = `${Math.round(width / 32)}px system-ui, sans-serif`;
    for (const [text, side, place] of [["original", "right", x - 8], ["synthetic", "left", x + 8]]) {
      context.textAlign = side;
      context.lineWidth = 4;
      context.strokeStyle = "#000";
      context.strokeText(text, place, width / 20);
      context.fillText(text, place, width / 20);
    }
  }
  function wipeByHand(stage, canvas, moved) {
    let held = false;
    const to = (event) => {
      const box = canvas.getBoundingClientRect();
      moved(Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)));
    };
    stage.addEventListener("pointerdown", (event) => {
      held = true;
      stage.setPointerCapture(event.pointerId);
      to(event);
    });
    stage.addEventListener("pointermove", (event) => {
      if (held) to(event);
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => {
      held = false;
    });
  }
  function playButton(state, last, set, paint) {
    const button = el("button", { type: "button" }, "Play");
    let timer = 0, step = 1;
    button.addEventListener("click", () => {
      if (timer) {
        clearInterval(timer);
        timer = 0;
        button.textContent = "Play";
        return;
      }
      button.textContent = "Stop";
      timer = window.setInterval(() => {
        if (state.at + 0.08 * step > last || state.at + 0.08 * step < 0) step = -step;
        state.at = Math.max(0, Math.min(last, state.at + 0.08 * step));
        set(state.at);
        paint();
      }, 50);
    });
    return button;
  }
  function film(strip, view, picked) {
    const canvases = strip.requested.map(() => el("canvas", { width: 96, height: 96, "aria-hidden": "true" }));
    const drawn = el("canvas", { width: 96, height: 96, role: "img", "aria-label": "reconstruction of the image by the generator" });
    const paint = painter(async () => {
      const frames = await getValues(strip.row, "frames", view.slice);
      const again = await getValues(strip.row, "reconstruction", view.slice);
      canvases.forEach((canvas, k) => small(canvas, frameOf(frames, k), view, strip.aspect));
      small(drawn, again, view, strip.aspect);
    });
    view.redraw.push(paint);
    paint();
    const buttons = canvases.map((canvas, k) => {
      const button = el(
        "button",
        { type: "button", class: k === strip.origin ? "frame origin" : "frame" },
        canvas,
        el("span", {}, strip.kinds[k]),
        el("b", {}, strip.levels[k])
      );
      button.addEventListener("click", () => picked(k));
      return button;
    });
    return el(
      "div",
      { class: "film", role: "group", "aria-label": "all frames" },
      ...buttons,
      el("figure", { class: "frame" }, drawn, el("figcaption", {}, "synthetic: reconstruction"))
    );
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
      el("div", { class: "film" }, ...strip.followup.map((later, k) => el(
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
  function nearestRow(near2, view) {
    const canvases = near2.cases.map((real) => el("canvas", { width: 160, height: 160, role: "img", "aria-label": `real case ${real.name}` }));
    const [low, high] = [view.window.low, view.window.high];
    const paint = painter(async () => {
      for (const [k, canvas] of canvases.entries()) {
        const real = near2.cases[k], same = real.window[0] === low && real.window[1] === high;
        const shown = same ? view : { ...view, window: { low: real.window[0], high: real.window[1] } };
        small(canvas, await getValues(near2.row, real.array, view.slice), shown, real.aspect);
      }
    });
    view.redraw.push(paint);
    paint();
    const id = `nearest-${near2.row}`;
    return el(
      "section",
      { class: "card", "aria-labelledby": id },
      el("h2", { id }, near2.heading),
      el("p", { class: "dim" }, near2.words),
      el("div", { class: "film" }, ...near2.cases.map((real, k) => el(
        "figure",
        { class: "frame later" },
        canvases[k],
        el(
          "figcaption",
          {},
          el("b", { class: "mark real" }, "REAL"),
          " ",
          real.name,
          el("b", { class: "block" }, real.answer),
          real.label && el("span", { class: "block" }, `labelled ${real.label}`),
          ...real.place.map((line) => el("span", { class: "block" }, line))
        )
      )))
    );
  }

  // source/where.ts
  function whereSection(image, maps, view) {
    const state = { map: maps[0], opacity: 0.85, level: 0, own: faint(maps[0]), hidden: false };
    const canvas = el("canvas", { role: "img", width: 512, height: 512 });
    const stage = el("div", {
      class: "stage",
      tabindex: 0,
      role: "group",
      "aria-label": "image with map. H hides the map, drag changes the window"
    }, canvas);
    const readout = el("p", { class: "dim small under" }, "Point at the image to read values.");
    const legend = el("div", { class: "legend" }), beside = el("div", { class: "beside" });
    const paint = painter(async () => {
      const row = state.map?.row ?? image.row, map = state.map;
      const values = await getValues(row, "image", view.slice);
      const [, height, width] = values.shape, context = fit(canvas, height, width, view.aspect);
      draw(context, greyPixels(values, view.window));
      if (map) {
        const found = await getValues(map.row, "values", view.slice);
        const scale = state.own ? map.own : map.shared;
        if (!state.hidden) {
          draw(context, signedPixels(turned(found.data, map.sign), found.shape[2], found.shape[1], scale, state.opacity));
          if (state.level > 0) {
            const level = percentile(found.data.map(Math.abs), state.level / 100);
            drawContour(context, contour(found.data, found.shape[2], found.shape[1], level), found.shape[2], found.shape[1]);
          }
        }
        legend.replaceChildren(...legendOf(map, scale, state.own));
      }
      canvas.setAttribute("aria-label", map && !state.hidden ? `the image with the map ${map.label} for ${map.target_name} over it` : "the image alone");
    });
    view.redraw.push(paint);
    const picked = (row) => {
      state.map = maps.find((map) => String(map.row) === row);
      state.own = faint(state.map);
      if (scales) scales.querySelector(`input[value=${state.own ? "own" : "fixed"}]`).checked = true;
      if (state.map && view.slice !== void 0) slices?.set(view.slice);
      beside.replaceChildren(...besideOf(state.map));
      paint();
    };
    const slices = view.slice === void 0 ? null : slider(
      "Slice",
      { min: 0, max: image.slices - 1, step: 1, value: view.slice },
      (at) => `${at + 1} of ${image.slices}`,
      (at) => {
        view.slice = at;
        view.redraw.forEach((again) => again());
      }
    );
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
    stage.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() === "h") {
        hide.checked = !hide.checked;
        state.hidden = hide.checked;
        paint();
      }
    });
    const windows = windowControls(image, view, stage);
    readValues(canvas, image, view, () => state.map, readout);
    beside.replaceChildren(...besideOf(state.map));
    paint();
    const controls = el(
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
      maps.length > 0 && slider(
        "Contour",
        { min: 0, max: 99, step: 1, value: 0 },
        (v) => v ? `the strongest ${100 - v} %` : "off",
        (v) => {
          state.level = v;
          paint();
        }
      ).box,
      scales,
      ...windows,
      maps.length > 0 && el("label", { class: "check" }, hide, " Hide the map (H)")
    );
    return el(
      "section",
      { class: "card", "aria-labelledby": "where" },
      el("h2", { id: "where" }, "Where the model looks"),
      !maps.length && el("p", { class: "dim" }, "This case has no heatmaps."),
      el("div", { class: "columns" }, el("div", {}, stage, maps.length > 0 && legend, readout), controls, beside)
    );
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
  function legendOf(map, scale, own) {
    const [seen, there] = map.scale_from;
    const from = !there ? "Per-image scale: not comparable with other maps" : own ? ownScaleWords(map) : `Cohort scale: ${plural(there, "map")} of this model by ${map.method}` + (seen < there ? ` (estimated from ${seen} of them)` : "");
    return [
      el("div", { class: "scale", "aria-hidden": "true" }),
      el("div", { class: "ends" }, el("span", {}, `${map.blue}: ${short(scale)}`), el("span", {}, `${map.orange}: ${short(scale)}`)),
      el("p", { class: "dim small" }, `Target: ${map.target_name}. Orange: evidence ${map.orange}; blue: ${map.blue}. ${from}.`),
      ...map.flaw ? [el("p", { class: "doubt" }, map.flaw)] : []
    ];
  }
  function evidence(map, value) {
    return value === 0 ? "0" : `${short(Math.abs(value))} ${value * map.sign > 0 ? map.orange : map.blue}`;
  }
  function windowControls(image, view, stage) {
    const [low, high] = image.window, span = Math.max(image.range[1] - image.range[0], high - low, 1e-6);
    const least = Math.min(image.range[0], low), most = Math.max(image.range[1], high);
    const centre = () => (view.window.low + view.window.high) / 2, width = () => view.window.high - view.window.low;
    const set = (middle, wide) => {
      const kept2 = Math.max(span / 256, Math.min(2 * span, wide)), at = Math.max(least, Math.min(most, middle));
      view.window.low = at - kept2 / 2;
      view.window.high = at + kept2 / 2;
      level.set(at);
      wider.set(kept2);
      view.redraw.forEach((again) => again());
    };
    const level = slider("Level", { min: least, max: most, step: "any", value: centre() }, short, (v) => set(v, width()));
    const wider = slider("Window", { min: span / 256, max: 2 * span, step: "any", value: width() }, short, (v) => set(centre(), v));
    const reset = el("button", { type: "button" }, "Reset window");
    reset.addEventListener("click", () => set((low + high) / 2, high - low));
    let from = null;
    stage.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") return;
      from = { x: event.clientX, y: event.clientY, middle: centre(), wide: width() };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => {
      if (from) set(from.middle + (event.clientY - from.y) / 300 * span, from.wide + (event.clientX - from.x) / 300 * span);
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => {
      from = null;
    });
    return [level.box, wider.box, reset];
  }
  function readValues(canvas, image, view, map, readout) {
    canvas.addEventListener("pointermove", async (event) => {
      const box = canvas.getBoundingClientRect(), chosen = map();
      const values = await getValues(chosen?.row ?? image.row, "image", view.slice).catch(() => null);
      const found = chosen && await getValues(chosen.row, "values", view.slice).catch(() => null);
      if (!values) return;
      const [channels, height, width] = values.shape;
      const x = Math.floor((event.clientX - box.left) / box.width * width);
      const y = Math.floor((event.clientY - box.top) / box.height * height);
      if (x < 0 || y < 0 || x >= width || y >= height) return;
      const grey = Array.from({ length: channels }, (_, c) => short(values.data[(c * height + y) * width + x]));
      const said = found && chosen ? `, map ${evidence(chosen, found.data[y * width + x])}` : "";
      readout.textContent = `column ${x}, row ${y}: image ${grey.join(" ")}${said}`;
    });
  }

  // source/report.ts
  function liven(section) {
    const { about, arrays } = JSON.parse(section.querySelector("script").textContent);
    for (const [address, found] of Object.entries(arrays))
      give(address, () => opened("same" in found ? arrays[found.same] : found));
    if (!about.image) return;
    const [low, high] = about.image.window, moving = el("div", { class: "moving" });
    const view = { window: { low, high }, aspect: about.image.aspect, redraw: [] };
    moving.append(whereSection(about.image, about.maps, view));
    for (const strip of about.strips) {
      moving.append(stripSection(strip, view));
      if (strip.followup.length) moving.append(followupRow(strip, view));
      moving.append(...nearestOf(about.nearest, strip.row, view));
    }
    for (const map of about.maps) moving.append(...nearestOf(about.nearest, map.row, view));
    for (const part of moving.querySelectorAll("section")) {
      part.removeAttribute("aria-labelledby");
      part.querySelector("h2").removeAttribute("id");
    }
    section.append(moving);
    section.classList.add("alive");
  }
  var near = new IntersectionObserver((seen) => {
    for (const one of seen.filter((s) => s.isIntersecting)) {
      near.unobserve(one.target);
      try {
        liven(one.target);
      } catch (error) {
        tell(error);
      }
    }
  }, { rootMargin: "900px" });
  for (const section of document.querySelectorAll("section.case"))
    if (section.querySelector("script")) near.observe(section);
})();
