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

// source/pages.css
var pages_default = `:root{--bg:#0e1114;--panel:#161b20;--line:#2a323a;--text:#e8ecef;--dim:#a9b4be;--for:#ff9628;--against:#46a0ff;--ok:#5fc98f;--warn:#ffcf5c}
*{box-sizing:border-box}
[hidden]{display:none!important}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
header,main,footer{max-width:1240px;margin:0 auto;padding:0 24px}
header{padding-top:20px}
h1{font-size:24px;margin:0 0 4px;font-weight:600;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:18px;margin:0 0 10px;font-weight:600;overflow-wrap:anywhere}
h3{font-size:14px;margin:0 0 6px;font-weight:600;color:var(--dim)}
p{margin:4px 0;max-width:76ch;overflow-wrap:anywhere}
a{color:#8cc4ff}
a[aria-disabled]{color:var(--dim);text-decoration:none}
.dim{color:var(--dim)}.small{font-size:13px}.block{display:block}.warn-text{color:var(--warn)}
.skip{position:absolute;left:-999px}.skip:focus{left:8px;top:8px;background:var(--panel);padding:6px 10px;z-index:9}
.mark.real{border-color:var(--text);color:var(--text)}
.mark{display:inline-block;border:1px solid var(--warn);color:var(--warn);border-radius:4px;padding:1px 8px;font-size:12px;font-weight:600;letter-spacing:.04em;text-transform:uppercase}
.card{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin:18px 0}
#notice{background:#3a1d12;border:1px solid var(--for);border-radius:6px;padding:8px 12px;margin:10px 0;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:6px 18px;margin-bottom:12px;align-items:baseline}
nav .place{color:var(--dim)}
:focus-visible{outline:2px solid var(--for);outline-offset:2px}
button,select,input[type=search],input[type=text]{background:#232b33;color:var(--text);border:1px solid #6b7884;border-radius:5px;padding:6px 12px;font:inherit;font-size:14px;min-height:34px}
button{cursor:pointer}
button:disabled{opacity:.55;cursor:default}
input[type=range]{width:100%;accent-color:var(--for);margin:0;min-height:24px}
input[type=radio],input[type=checkbox]{accent-color:var(--for);width:17px;height:17px;margin:0 6px 0 0;vertical-align:-3px}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px;color:var(--dim);max-height:300px;overflow:auto}
summary{cursor:pointer;color:var(--dim)}
footer{padding:10px 24px 40px;color:var(--dim);font-size:13px}

.filters{display:flex;flex-wrap:wrap;gap:10px 16px;align-items:end;margin:14px 0 8px}
.filters label{display:flex;flex-direction:column;gap:3px;color:var(--dim);font-size:13px}
.filters .grow{flex:1 1 240px}.filters .grow input{width:100%}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;padding:8px 14px 8px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word;font-weight:400}
thead th{color:var(--dim);white-space:nowrap;position:sticky;top:0;background:var(--bg);z-index:1}
th[scope=row]{min-width:150px;overflow-wrap:anywhere}td[data-label]{max-width:260px}th[scope=row] a{font-weight:600}
td.picture{width:70px}
.pictures-of{display:flex;gap:4px}
td.picture img,.blank{width:56px;height:56px;object-fit:contain;background:#000;border-radius:4px;display:block}
tbody tr:hover{background:#ffffff08}
.failure b{color:#ff8d7a}.doubt b,td .doubt b{color:var(--warn)}
td .doubt{border:0;padding:0;background:none;display:inline}
#more{margin:14px 0;width:100%}

.columns{display:grid;grid-template-columns:minmax(280px,440px) minmax(210px,290px) minmax(250px,1fr);gap:22px}
.stage{position:relative;background:#000;border-radius:4px;overflow:hidden;touch-action:pan-y}
.stage canvas{width:auto;height:auto;max-width:100%;max-height:80vh;margin:0 auto;display:block;cursor:crosshair}
.tag,.corner{position:absolute;left:0;padding:3px 8px;background:#000c;font-size:12px}
.tag{right:0;bottom:0;color:var(--warn)}
.letter{position:absolute;color:#fff;background:#0008;border-radius:3px;padding:0 5px;font-size:14px;font-weight:600;line-height:1.35}
.letter.left{left:4px;top:50%}.letter.right{right:4px;top:50%}.letter.top{top:4px;left:50%}.letter.bottom{bottom:28px;left:50%}
.corner{top:0;color:var(--text);border-radius:0 0 4px 0}.corner.noted{color:var(--warn);font-weight:600}
/* Linked panels with their controls: three in a row on wide screens, two and two below. */
.wide-page .lead{max-width:none}
td[data-label="prediction"]{min-width:150px}
.wide-page header,.wide-page main,.wide-page footer{max-width:1860px}
.viewing{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:14px 16px;align-items:start}
.viewing.one{grid-template-columns:minmax(0,1.15fr) minmax(260px,.9fr) minmax(250px,.9fr)}
.viewing .panel{margin:0;min-width:0}
.panel figcaption{font-size:15px;margin-bottom:5px;overflow-wrap:anywhere}
.viewing .stage canvas{max-height:max(480px,60vh)}
.viewing:fullscreen .stage canvas{max-height:calc(100vh - 190px)}
.viewing .stage.zoomed{touch-action:none}
.viewing>.controls{grid-column:1/-1;min-width:0}.viewing .read{max-width:440px}
.title{display:flex;flex-wrap:wrap;gap:4px 14px;align-items:center}.title h1{margin:0}.title p{margin:0}
.viewing.one>.controls{grid-column:auto}
.viewing:fullscreen{background:var(--bg);padding:14px;overflow:auto;align-content:start}
.row-of>button{margin:0;white-space:nowrap}
.pairs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(230px,100%),1fr));gap:12px 22px;align-items:start}
.pairs button{align-self:end;justify-self:start}
.pick{display:flex;flex-direction:column;gap:3px;font-size:13.5px;max-width:100%;min-width:0}.pick select{max-width:100%}
.kicker{color:var(--dim);margin:0 0 2px;font-size:14px}
.below{display:grid;grid-template-columns:minmax(0,440px) minmax(0,1fr);gap:22px}
.scale{height:8px;border-radius:3px;margin:8px 0 2px;background:linear-gradient(90deg,var(--against),#14181c,var(--for))}
.ends{display:flex;justify-content:space-between;gap:10px;font-size:12.5px;color:var(--dim)}
.under{min-height:20px}
.controls{display:flex;flex-direction:column;gap:12px}
.controls button{align-self:flex-start}
.slider{display:grid;grid-template-columns:auto 1fr;gap:0 10px;font-size:13.5px}
.slider input{grid-column:1/3;grid-row:2}
.slider output{text-align:right;color:var(--dim);font-variant-numeric:tabular-nums}
.choice{border:0;padding:0;margin:0;display:flex;flex-wrap:wrap;gap:4px 16px;font-size:13.5px}
.choice legend{padding:0;margin-bottom:2px}
.check{font-size:13.5px}
.trust p{font-size:14px}
.doubt{border-left:3px solid var(--warn);padding:3px 10px;background:#ffffff08}
.passed b{color:var(--ok)}
.verdict{border-left:3px solid var(--ok);padding:4px 12px;margin:0 0 14px;background:#ffffff08}
.verdict.warn{border-color:var(--warn)}.verdict.plain{border-color:#6b7884}
.details .figures{font-size:12px}.details .figures th,.details .figures td{padding:3px 8px 3px 0;white-space:nowrap}
.tag.original{color:var(--text)}.mark-line{color:var(--warn)}
.beside{display:flex;flex-direction:column;gap:12px;min-width:0}
.read{display:grid;grid-template-columns:1fr auto;gap:2px 14px;font-variant-numeric:tabular-nums;font-size:14px;margin:0}
.read dt{color:var(--dim)}.read dd{margin:0;text-align:right}
.chart{width:100%;max-width:420px;height:auto}
.chart text{fill:var(--dim);font-size:11px}
.chart .grid{stroke:#242c34}.chart .ideal{fill:none;stroke:#8391a0;stroke-dasharray:4 4}
.chart .goal{stroke:var(--ok);stroke-dasharray:2 3}.chart .goal-text{fill:var(--ok)}
.chart .half{stroke:#6b7884}.roc{margin:12px 0 0}.chart .measured.arm-1{stroke:var(--against)}.chart .measured.arm-2{stroke:var(--text)}
.chart .measured{fill:none;stroke:var(--for);stroke-width:2}.chart .point{fill:var(--for)}
.chart .now{fill:none;stroke:#fff;stroke-width:2}
.film{display:flex;align-items:flex-start;gap:8px;overflow-x:auto;padding:14px 3px 8px;position:relative}
.frame{flex:none;width:108px;padding:5px;margin:0;display:flex;flex-direction:column;gap:2px;font-size:12px;color:var(--dim);text-align:left;background:none;border:1px solid transparent}
button.frame:hover{border-color:#6b7884}
.frame.origin{border-color:var(--text)}
.frame[aria-current]{border-color:var(--for);outline:2px solid var(--for);outline-offset:-1px;border-radius:4px}
.frame canvas{width:96px;height:auto;background:#000;border-radius:3px}
.frame.later{width:172px}.frame.later canvas{width:160px}

@media(max-width:1500px){.viewing{grid-template-columns:repeat(2,minmax(0,1fr))}.viewing>.controls{grid-column:auto}.viewing.one{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}.viewing.one>.beside{grid-column:1/-1}}
@media(max-width:1080px){.columns{grid-template-columns:minmax(260px,1fr) minmax(210px,300px)}.beside{grid-column:1/3}}
@media(max-width:700px){
  header,main,footer{padding-left:14px;padding-right:14px}
  .card{padding:14px}
  .columns,.viewing,.viewing.one,.below{grid-template-columns:minmax(0,1fr)}.beside,.viewing>.controls{grid-column:1}
  table,tbody,tr{display:block}thead{position:absolute;left:-9999px}
  tbody tr{display:grid;grid-template-columns:70px 1fr 1fr;gap:2px 10px;padding:10px 0;border-bottom:1px solid var(--line)}
  tbody td,tbody th{border:0;padding:2px 0}
  td.picture{grid-row:1/3;width:auto}
  th[scope=row]{grid-column:2/4}
  td[data-label]{grid-column:span 1;font-size:13px}
  td[data-label="prediction"]{grid-column:2/4}
  td[data-label="target"]{grid-column:1/3}td[data-label="counterfactuals"]{grid-column:1/4}
  td[data-label="warnings"],td[data-label="failures"]{grid-column:1/4}
  td[data-label]:before{content:attr(data-label) ": ";color:var(--dim)}
  td[data-label="prediction"]:before{display:block}
}

progress{width:100%;height:6px;accent-color:var(--for);display:block;margin-bottom:10px}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:16px;margin:10px 0}
.pictures figure{margin:0;text-align:center}
.pictures img{width:100%;max-width:560px;max-height:62vh;object-fit:contain;background:#000;border-radius:4px}
[tabindex="-1"]:focus-visible{outline:none}
.holder{overflow:hidden;border-radius:4px;max-width:560px;margin:0 auto}
.pictures figcaption{font-size:13.5px;color:var(--dim);overflow-wrap:anywhere}
.holder img{display:block}.holder:not([data-zoom="1"]){touch-action:none}
.looking{display:flex;flex-wrap:wrap;gap:8px 14px;align-items:center;margin:10px 0}
.choices button[aria-pressed=true]{outline:2px solid var(--for);outline-offset:1px}
.choices{display:flex;gap:12px;justify-content:center;margin:14px 0}
.judging .choices{flex-wrap:wrap;justify-content:flex-start;margin:10px 0;gap:8px}.judging .choices button{min-width:84px;min-height:44px}
.stage[data-drag=box]{touch-action:none}
.boxing{display:flex;flex-direction:column;gap:8px;margin-top:8px;border-left:3px solid var(--warn);padding:4px 12px;background:#ffffff08}
.handle{font-variant-numeric:tabular-nums}.handle:focus-visible{outline-offset:4px}
.edges{display:flex;flex-wrap:wrap;gap:6px 16px;font-size:13.5px;color:var(--dim)}.edges span{white-space:nowrap}
input[type=number]{background:#232b33;color:var(--text);border:1px solid #6b7884;border-radius:5px;padding:4px 6px;font:inherit;font-size:14px;min-height:34px;width:5em}
.starting code{background:#0e1114;border-radius:4px;padding:3px 6px;color:var(--text)}
nav a[aria-current]{color:var(--text);font-weight:600;text-decoration:none}
.choices button{min-width:140px;min-height:48px;font-size:16px}
.row-of{display:flex;flex-wrap:wrap;gap:8px;align-items:center}
.pooled th,.pooled td{font-weight:600}
.plain th[scope=row]{font-weight:inherit}.plain thead th{white-space:normal}
@media(max-width:700px){
  .plain tbody tr{grid-template-columns:1fr}
  .plain tbody td,.plain tbody th[scope=row],.plain td[data-label]{grid-column:1;max-width:none}
  .pictures{grid-template-columns:1fr;gap:8px}.pictures img{max-height:34vh}
}

.volumes{display:grid;grid-template-columns:minmax(0,1fr) minmax(230px,300px);gap:22px}
.volumes>*{min-width:0}
.solid{position:relative;height:min(74vh,680px);min-height:420px;background:#000;border-radius:4px;overflow:hidden}
.solid canvas{position:absolute;inset:0;width:100%;height:100%;display:block}
.ruler{position:absolute;left:12px;bottom:10px;border:solid #fff;border-width:0 2px 2px;color:#fff;text-align:center;font-size:13px;line-height:1.2;text-shadow:0 0 3px #000,0 0 3px #000;pointer-events:none}
.plane{position:absolute;pointer-events:none}
.solid .letter{background:#000b;font-family:ui-monospace,"DejaVu Sans Mono",monospace;transform:translate(-50%,-50%);left:50%;top:50%} /* with serifs: an I is no tick */
.solid .letter.left{left:14px}.solid .letter.right{left:calc(100% - 14px);right:auto}.solid .letter.top{top:14px}.solid .letter.bottom{top:calc(100% - 14px);bottom:auto}
.tag-line{color:var(--warn)}
@media(max-width:700px){.volumes{grid-template-columns:minmax(0,1fr)}.solid{height:420px}}
.stages{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:16px}
.stages.two{grid-template-columns:repeat(2,minmax(0,1fr));max-width:1240px}
.stages figure{margin:0;min-width:0}.stages>.legend{grid-column:1/-1;min-width:0}
@media(max-width:1500px){.stages{grid-template-columns:repeat(2,minmax(0,1fr))}.stages>.legend{grid-column:auto}}
.stages figcaption{font-weight:600;font-size:14px;margin-bottom:4px;overflow-wrap:anywhere}
.pair-parts{display:grid;grid-template-columns:minmax(210px,290px) minmax(0,1fr) minmax(0,1fr);gap:22px;margin-top:16px}
.pair-parts>*{min-width:0}
.twins{display:flex;flex-direction:column;gap:14px}
.across{max-width:440px;margin-bottom:14px}
.scores{margin-top:12px;font-size:13.5px}
.scores caption{text-align:left;color:var(--dim);padding-bottom:4px}
.scores th,.scores td{padding:4px 12px 4px 0;font-variant-numeric:tabular-nums}
.scores thead th{position:static;background:none;white-space:normal}
.scores th[scope=row]{min-width:0}
.wins{font-weight:600}
.card>.read,.pair-parts .read{max-width:440px}
@media(max-width:1080px){.pair-parts{grid-template-columns:minmax(0,1fr)}}
@media(max-width:700px){
  .stages,.stages.two{grid-template-columns:minmax(0,1fr)}.stages>.legend{grid-column:1}
  table.scores{display:table}.scores thead{position:static;display:table-header-group}.scores tbody{display:table-row-group}
  .scores tr,.scores tbody tr{display:table-row}.scores tbody td,.scores tbody th{padding:4px 8px 4px 0;border-bottom:1px solid var(--line)}
  td[data-label="difference of predictions"],td[data-label="map distance"]{grid-column:1/4}
  td[data-label^="prediction of"]{grid-column:1/4}td[data-label^="prediction of"]:before{display:block}
}
.filters label{min-width:0}.filters select{max-width:min(100%,320px)}
.controls>div:empty{display:none}
.live .field{display:flex;flex-direction:column;gap:3px;color:var(--dim);font-size:13px}
.live .row-of{flex-wrap:wrap;gap:10px}
.live .card{background:none;padding:14px 0 0;border:0;border-top:1px solid var(--line);border-radius:0}
.live select{max-width:100%}
/* The report: still pictures and, where scripts run, the case page's controls in their place. */
.report .card .card{border:0;padding:0;background:none;margin:14px 0 0}
.part{margin:26px 0 0}
.lead{font-size:18px;line-height:1.45;margin:2px 0 12px;max-width:95ch}
.answer+.answer{border-top:1px solid var(--line);margin-top:14px;padding-top:14px}
.trio{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(480px,100%),480px));gap:12px 16px;align-items:start}
.trio figure,.trio .words{margin:0;min-width:0}
.trio img{width:100%;height:auto;max-height:600px;object-fit:contain;display:block;background:#000;border-radius:4px}
@media(min-width:1540px){.report header,.report main,.report footer{max-width:1600px}.trio{grid-template-columns:repeat(3,minmax(0,1fr))}.trio .words{grid-column:3}}
@media(min-width:1040px){.trio:not(:has(figure:nth-of-type(3))) .words{grid-column:2}} /* below the heatmap */
.trio figcaption{font-size:13.5px;color:var(--dim);margin-top:6px;line-height:1.4;overflow-wrap:anywhere}
.gallery{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}
.gallery figure{margin:0;width:200px}
.gallery img{width:100%;height:auto;display:block;background:#000;border-radius:4px}
.still figcaption,.gallery figcaption{font-size:12.5px;color:var(--dim);margin-top:4px;line-height:1.4;overflow-wrap:anywhere}
.still figcaption b{color:var(--text)}
.still .frame img{width:100%;height:auto;display:block;background:#000}
figcaption .doubt,.verdict .doubt{display:block;margin-top:4px;color:var(--text)}
.checked{color:var(--ok)}
.chart.dots{max-width:520px}.chart .name{fill:var(--text)}
.wide{overflow-x:auto}
.lines{display:grid;grid-template-columns:max-content 1fr;gap:1px 14px;font-size:13.5px;margin:4px 0 14px}
.lines dt{color:var(--dim)}.lines dd{margin:0;max-width:90ch;overflow-wrap:anywhere}
.method h3{color:var(--text)}
.figures{width:auto}.figures td,.figures th{padding:4px 18px 4px 0}.figures th{color:var(--dim)}
@media(max-width:700px){
  .gallery figure{width:calc(50% - 8px)}
  .report .figures{display:table}.report .figures tbody{display:table-row-group}
  .report .figures thead{display:table-header-group;position:static}.report .figures tr{display:table-row}
}
.brief{display:grid;grid-template-columns:minmax(0,370px) minmax(0,1fr);gap:6px 20px;align-items:start}
.brief h2{margin:0 0 2px}.brief .verdict{margin:4px 0}.brief p{font-size:13.5px;max-width:none}.brief .small{font-size:13px}
.thumbs{display:grid;grid-template-columns:repeat(3,minmax(0,118px));gap:8px}
.thumbs figcaption>b+br{display:none}.thumbs figure{margin:0;min-width:0}.thumbs img{width:100%;height:auto;display:block;background:#000;border-radius:3px}
.thumbs figcaption{font-size:12px;line-height:1.3;color:var(--dim);margin-top:3px;overflow-wrap:anywhere}.thumbs figcaption b{color:var(--text)}
.report details>summary{padding:4px 0}.report summary h2{display:inline;margin:0}
.report details[open]>summary{margin-bottom:8px}
.report .card{padding:14px 20px;margin:12px 0}.report h2.part{padding:8px 18px;margin:12px 0 10px}.report .answer>.lead{margin:0 0 10px}
.report .case{padding:12px 20px 8px;margin:10px 0}
.report .card:has(>details:not([open])):not(:has(>:not(details))){padding:8px 20px;margin:10px 0}
@media(min-width:1100px){.report .two{font-size:14px;columns:2;column-gap:32px}.report .two h2{break-after:avoid}.report .two>p:first-child{margin-top:0}.report ul.two{margin:8px 0}
#bundles:not(:has([open])){display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:0 12px}#bundles:not(:has([open]))>.card{margin:5px 0}}
.case .all{margin-top:2px}
@media screen{.alive .still,.paper{display:none}}
@media(max-width:700px){.brief{grid-template-columns:minmax(0,1fr)}}
@page{size:A4;margin:16mm 13mm 15mm;@bottom-left{content:"For research; not for diagnosis";font:8pt sans-serif}@bottom-right{content:counter(page) " of " counter(pages);font:8pt sans-serif}@top-left{font:8pt sans-serif}}
@media print{
  :root{--bg:#fff;--panel:#fff;--line:#bbb;--text:#000;--dim:#444;--warn:#8a5a00;--ok:#1c7a47}
  body{font-size:10pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}
  header,main,footer{max-width:none;padding:0}
  .moving,.skip,nav,.screen,button,#notice{display:none!important}
  a{color:inherit;text-decoration:none}
  .card{border-width:1px 0 0;border-radius:0;padding:8px 0;margin:8px 0}
  .brief{grid-template-columns:94mm minmax(0,1fr);gap:4mm}.thumbs{grid-template-columns:repeat(3,30mm);gap:2mm}.thumbs figcaption{font-size:7.5pt}
  .brief h2{font-size:12pt}.brief p,.brief .small,.case .verdict{font-size:8.5pt;line-height:1.35}.case .verdict .small{font-size:7.5pt}.case{padding-top:0!important}.answer{break-inside:avoid}.answer+.answer{margin-top:8px;padding-top:8px}
  .side{display:grid;grid-template-columns:minmax(0,1fr) 58mm;gap:4mm;align-items:start;break-inside:avoid}.side .chart{width:58mm}
  .side .figures{font-size:7pt;line-height:1.2}.side .figures td,.side .figures th{padding:1px 4px 1px 0;white-space:normal}
  .details>summary{display:none}
  .case .all>summary{display:none}
  .case{break-before:page;border:0}.part{display:none}
  .part+.case{break-before:page}
  figure,svg,tr,.verdict,.method,li{break-inside:avoid}
  h2,h3{break-after:avoid}
  thead th{position:static}
  .gallery{gap:8px}.gallery .ends{font-size:7.5pt}.gallery figure{width:calc(33.3% - 8px)}.gallery figcaption,.gallery .doubt{font-size:7pt;line-height:1.3}.gallery .doubt{padding:1px 6px}.gallery img{width:auto;max-width:100%;height:29mm;object-fit:contain}.gallery .scale,.gallery .ends{max-width:50mm}.gallery h3,.case h3{margin:4px 0 2px}
  .trio{grid-template-columns:repeat(3,1fr);gap:8px}.trio .words{grid-column:1/-1}.lead{font-size:11pt}.trio img{width:auto;max-width:100%;height:46mm;object-fit:contain}.trio figcaption{font-size:8pt}.trio .scale,.trio .ends{max-width:46mm}.trio .mark{font-size:7pt}
  .film{flex-wrap:wrap;overflow:visible;gap:4px}
  .film{padding:6px 0}.frame{width:calc(9.09% - 4px);padding:0}.still .frame figcaption{font-size:6.5pt;line-height:1.25}
  .frame.later{width:24mm}
  .frame.origin{outline:1px solid #000}
  .chart{max-width:90mm}.chart.dots{max-width:100%}.chart .now{display:none}.chart .grid{stroke:#ddd}
  .scale{background:linear-gradient(90deg,var(--against),#fff,var(--for))}
  .doubt,.verdict{background:none}
  .wide{overflow:visible}table{font-size:8.5pt}.figures td,.figures th{padding:2px 10px 2px 0}
  .figures td,.figures th{white-space:normal}.figures td{overflow-wrap:break-word}.figures code{white-space:nowrap}
  .gallery>div{width:calc(50% - 8px)}.method{display:inline-block;width:calc(50% - 12px);vertical-align:top;margin-right:8px}
  .lines{font-size:8pt;grid-template-columns:15mm 1fr;gap:0 6px;margin:2px 0 8px}
  details::details-content{content-visibility:visible;block-size:auto}
  summary{list-style:none}
  footer{display:none}
}
/* above the list of cases */
.part{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:12px 18px;margin:12px 0;min-width:0}
.part>summary{color:var(--text);font-size:16px}
.part>summary b{font-weight:600}
.part>summary .dim{font-size:14px}
.part[open]>summary{margin-bottom:10px}
.truth{width:auto;max-width:100%;border-spacing:6px;border-collapse:separate}
.truth th,.truth td{border:0;padding:4px;position:static;background:none}
.truth thead th{padding:2px 6px;white-space:normal}
.truth th[scope=row]{min-width:90px;max-width:200px;padding-right:12px}
.truth td[data-label]{padding:0;max-width:none}
.truth a,.truth .none{display:block;border:1px solid var(--line);border-left:4px solid var(--line);border-radius:6px;padding:8px 12px;min-width:120px;color:var(--text);text-decoration:none;background:var(--bg)}
.truth a:hover{border-color:#6b7884}
.truth .is-right{border-left-color:var(--ok)}.truth .is-wrong{border-left-color:var(--warn)}
.truth .count{font-size:22px;font-weight:600;font-variant-numeric:tabular-nums;margin-right:6px}
.truth .few-of{display:flex;flex-wrap:wrap;gap:4px;margin-top:6px}
.truth img{width:72px;height:72px;object-fit:contain;background:#000;border-radius:4px}
.subgroups{font-size:14px}
.subgroups thead th{white-space:normal;position:static;background:none;vertical-align:bottom}
.subgroups th[scope=rowgroup]{color:var(--dim);padding-top:14px;font-weight:600}
.subgroups th[scope=row]{min-width:110px}
.subgroups .value{font-variant-numeric:tabular-nums;font-weight:600}
.interval{display:block;width:130px;height:12px}
.interval .track{stroke:#3a444d}.interval .bar{stroke:var(--text);stroke-width:3}.interval .dot{fill:var(--text)}.interval .whole{stroke:var(--for);stroke-width:1.5}
.part .pick{max-width:360px}
.first{margin:2px 0 10px;padding-left:22px}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(240px,100%),1fr));gap:16px;margin-top:12px}
.tiles figure{margin:0;min-width:0}
.tiles img{width:100%;height:auto;background:#000;border-radius:4px;display:block}
.tiles figcaption{font-size:14px;overflow-wrap:anywhere;margin-top:4px}
@media(max-width:700px){
  .truth,.truth tbody{display:block}.truth thead{position:absolute}
  .truth tbody tr{display:grid;grid-template-columns:1fr 1fr;gap:6px;padding:4px 0}
  .truth tbody th[scope=row]{grid-column:1/-1;max-width:none;padding:2px 0}
  .truth td[data-label]{grid-column:span 1;max-width:none}.truth td[data-label]:before{display:block}
  .truth a,.truth .none{min-width:0;padding:6px 8px}.truth img{width:40px;height:40px}
  .pictures-of{flex-direction:column}
  .subgroups tbody tr{grid-template-columns:1fr 1fr}
  .subgroups th[scope=row],.subgroups th[scope=rowgroup]{grid-column:1/-1;padding-left:0}
  .subgroups td[data-label]{grid-column:span 1}.subgroups td[data-label]:before{display:block}
}
/* end of what is above the list */
/* attributes of a generator */
.attributes{padding-left:26px}
.attributes li{margin:0 0 18px}
.attributes figure{margin:0}
.attributes img{max-width:100%;height:auto;border-radius:4px}
.naming{display:flex;flex-wrap:wrap;gap:6px 10px;align-items:end;margin-top:6px}
.naming input{width:22em;max-width:100%}
/* the study editor */
.form{display:grid;grid-template-columns:minmax(0,1fr) minmax(300px,430px);gap:0 22px;align-items:start}
.form #notice,.form #waiting{grid-column:1/3}
.form .file{position:sticky;top:12px;max-height:calc(100vh - 24px);overflow:auto}
.form textarea{background:#232b33;color:var(--text);border:1px solid #6b7884;border-radius:5px;padding:6px 12px;font:inherit;font-size:14px;width:100%;resize:vertical}
.form input[type=text],.form .field select{width:100%;min-width:0}
.form ::placeholder{color:var(--dim);opacity:1}
.form [aria-invalid=true]{border-color:var(--warn)}
.form label{font-size:14px}
.fields{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:10px 18px;align-items:start}
.field{margin:0 0 10px;min-width:0}
.fields .field{margin:0}
.about{color:var(--dim);font-size:12.5px;margin:2px 0}
.said span{display:block;font-size:13px;overflow-wrap:anywhere}
.refused{color:#ff9d8a}.absent{color:var(--warn)}.fact{color:var(--ok)}
fieldset.part{border:1px solid var(--line);border-radius:8px;padding:10px 14px 14px;margin:0 0 14px;min-width:0}
fieldset.part legend{font-weight:600;padding:0 6px;overflow-wrap:anywhere}
fieldset.part>button{margin-top:12px}
fieldset.part details{margin:4px 0 10px}
.with{display:flex;flex-wrap:wrap;gap:8px 10px;align-items:center;margin:6px 0}
.with input{flex:1 1 120px}.with select{flex:1 1 200px;max-width:100%;min-width:0}
.wrong{margin:4px 0;padding-left:18px;font-size:13.5px;color:#ff9d8a;overflow-wrap:anywhere}
.wrong:empty{display:none}
#question{border-left:3px solid var(--warn);padding:2px 10px;background:#ffffff08}
#toml{color:var(--text);background:#0e1114;border-radius:5px;padding:10px;max-height:52vh}
.asked dt{margin-top:6px}.asked dd{margin:0 0 0 14px;color:var(--dim);font-size:13.5px}
code{font-size:13px;overflow-wrap:anywhere}
@media(max-width:900px){.form{grid-template-columns:minmax(0,1fr)}.form #notice,.form #waiting{grid-column:1}.form .file{position:static;max-height:none}}
/* end of the study editor */
`;

// source/pixels.ts
var FOR = [255, 150, 40];
var AGAINST = [70, 160, 255];
var kept = /* @__PURE__ */ new Map();
var given = /* @__PURE__ */ new Map();
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
  const made = [];
  const pair = (name, size, plus) => {
    const inputs = [0, 1].map((end) => {
      const input = el("input", { type: "number", min: plus, max: size - 1 + plus, step: 1, "aria-label": `${end ? "last" : "first"} ${name.slice(0, -1)} of the box` });
      input.addEventListener("change", () => {
        const span = [...box.at[name]], value = Math.round(Number(input.value)) - plus;
        span[end] = Number.isFinite(value) ? value : span[end];
        box.set({ ...box.at, [name]: end ? [Math.min(...span), span[1]] : [span[0], Math.max(...span)] });
      });
      made.push({ input, name, end, plus });
      return input;
    });
    return el("span", {}, `${name} `, inputs[0], " to ", inputs[1]);
  };
  const part = el("div", { class: "edges" }, pair("columns", box.width, 0), pair("rows", box.height, 0), box.depth > 0 && pair("slices", box.depth, 1));
  const show = () => made.forEach(({ input, name, end, plus }) => {
    if (box.at) input.value = String(box.at[name][end] + plus);
  });
  return { part, show };
}
var button = (text, pressed) => {
  const made = el("button", { type: "button" }, text);
  made.addEventListener("click", pressed);
  return made;
};
function shares({ columns, rows: rows2 }, width, height) {
  return { x: columns[0] / width, y: rows2[0] / height, w: (columns[1] - columns[0] + 1) / width, h: (rows2[1] - rows2[0] + 1) / height };
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
      const made = el("button", { type: "button", title: label, "aria-label": label }, text);
      made.addEventListener("click", pressed);
      return made;
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
  const made = slider(
    "Slice",
    { min: 0, max: image.slices - 1, step: 1, value: view.slice },
    (at) => `${at + 1} of ${image.slices}`,
    (at) => {
      view.slice = at;
      view.redraw.forEach((again) => again());
    }
  );
  view.redraw.push(() => made.set(view.slice));
  return made;
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

// source/widget.ts
var STYLE = ":host{display:block;container-type:inline-size;color-scheme:dark}" + pages_default.replace(":root{", ":host{").replace(/(^|\n)body\{/, "$1.page{").replaceAll("@media(max-width:", "@container (max-width:") + ".page{border-radius:10px}.page .card{margin:0}";
var rows = 0;
function floats(bytes) {
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}
function render({ model, el: place2 }) {
  const root = place2.attachShadow({ mode: "open" }), row = ++rows;
  place2.dataset.lmSuppressShortcuts = "true";
  const shape = model.get("shape");
  provided.set(row, async (name) => name === "frames" ? { shape: model.get("shape"), data: floats(model.get("frames")) } : { shape: shape.slice(1), data: floats(model.get("reconstruction")) });
  const [low, high] = model.get("window");
  const strip = { ...model.get("about"), row };
  let told = NaN;
  const tell2 = (at) => {
    if (Number.isNaN(told) || Math.abs(at - told) < 1e-6) return;
    told = at;
    model.set("position", at);
    model.save_changes();
  };
  const view = { window: { low, high }, aspect: model.get("aspect"), redraw: [], moved: (at) => tell2(at) };
  const section = stripSection(strip, view), parts = [section];
  const frame = section.querySelector(".frames input");
  const last = strip.order.length - 1, shownAt = (at) => strip.order[0] ? last - at : at;
  const turned = () => view.redraw.forEach((again) => again());
  const moved = () => {
    const at = model.get("position");
    if (Math.abs(at - told) < 1e-6) return;
    told = at;
    frame.value = String(shownAt(at));
    frame.dispatchEvent(new Event("input"));
  };
  if (model.get("slices") > 0) {
    const at = slider(
      "Slice",
      { min: 0, max: model.get("slices") - 1, step: 1, value: model.get("slice") },
      (k) => `${k + 1} of ${model.get("slices")}`,
      (k) => {
        model.set("slice", k);
        model.save_changes();
      }
    );
    parts.unshift(el("div", { class: "card" }, at.box));
    view.slice = 0;
  }
  model.on("change:frames", turned);
  model.on("change:position", moved);
  told = shownAt(Number(frame.value));
  moved();
  root.append(el("style", {}, STYLE), el("div", { class: "page" }, ...parts));
  return () => {
    provided.delete(row);
    model.off("change:frames", turned);
    model.off("change:position", moved);
  };
}
var widget_default = { render };
export {
  widget_default as default
};
