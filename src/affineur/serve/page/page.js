// The page at /ui. What users and servers write enters it as text nodes only, never as markup.

const COLORS = 6;
const NAMES = { DATE: "date", LOC: "lieu", MISC: "divers", ORG: "organisation", PER: "personne" };
const percent = new Intl.NumberFormat("fr", { style: "percent", maximumFractionDigits: 1, roundingMode: "trunc" }); // 99,99 % is not 100 %
const number = new Intl.NumberFormat("fr", { maximumFractionDigits: 1 });

const at = (id) => document.getElementById(id);
const paths = document.documentElement.dataset; // where to ask: the server writes them into the page

const columns = []; // one per model shown: { view, model, answer }
let models = [];
let types = []; // their order gives each its color, as in the report
let running = new AbortController();
let ownText = "";

// ---- The server ----

/** What the server refused, in plain French, with its own line beside it. */
class Refusal extends Error {
  constructor(plain, line = "", status = 0) {
    super(plain);
    this.line = line;
    this.status = status;
  }
}

const REFUSALS = {
  400: "Le texte est vide : écrivez ou collez un texte.",
  404: "Ce modèle n’est plus servi : rechargez la page.",
  413: "Le texte est trop long pour ce serveur : raccourcissez-le ou envoyez-le en plusieurs fois.",
  422: "Le serveur n’a pas compris la demande.",
  424: "Le modèle a échoué sur ce texte.",
  503: "Le serveur n’est pas prêt : réessayez dans un instant.",
};

/** Ask the server, by a relative address: the page also works behind a proxy that adds a prefix. */
async function ask(path, body, signal) {
  const headers = {};
  const key = at("key").value;
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const begin = performance.now();
  let answer, said;
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), cache: "no-store", signal });
    said = await answer.text();
  } catch (cause) {
    if (cause.name === "AbortError") throw cause;
    throw new Refusal("Le serveur ne répond pas : vérifiez qu’il tourne et que vous êtes connecté, puis réessayez.", cause.message);
  }
  const total = performance.now() - begin;
  const value = parsed(said);
  if (!answer.ok) throw new Refusal(plainly(answer, Boolean(key)), value?.error ?? said.slice(0, 300), answer.status);
  if (value === undefined) throw new Refusal("La réponse du serveur est illisible.", said.slice(0, 300));
  return { value, total, queue: answer.headers.get("x-queue-time"), inference: answer.headers.get("x-inference-time") };
}

function parsed(said) {
  try {
    return JSON.parse(said);
  } catch {
    return undefined;
  }
}

function plainly(answer, withKey) {
  if (answer.status === 401) return withKey ? "Le serveur refuse cette clé d’accès." : "Saisissez la clé d’accès de ce serveur, puis « Analyser ».";
  if (answer.status === 429) return `Le serveur est très demandé : réessayez ${wait(answer.headers.get("retry-after"))}.`;
  return REFUSALS[answer.status] ?? `Le serveur a répondu par une erreur (${answer.status}).`;
}

/** Retry-After holds seconds or a date (RFC 9110, 10.2.3). */
function wait(after) {
  const seconds = /^\d+$/.test(after) ? Number(after) : Math.ceil((Date.parse(after) - Date.now()) / 1000);
  return seconds > 0 ? `dans ${seconds} ${seconds > 1 ? "secondes" : "seconde"}` : "dans un instant";
}

// ---- Analyzing ----

async function analyze() {
  running.abort();
  const mine = (running = new AbortController());
  say("Analyse en cours…");
  at("results").setAttribute("aria-busy", "true");
  try {
    await meet(mine.signal);
    const text = at("text").value;
    if (!text.trim()) throw new Refusal(REFUSALS[400]);
    const redact = masking();
    const answers = [];
    // One after the other: asked together, each would wait for the other, and the times would say nothing.
    for (const column of columns) answers.push(await tagged(column.model, text, redact, mine.signal));
    columns.forEach((column, place) => (column.answer = answers[place]));
    show();
    say(summary());
  } catch (cause) {
    if (cause.name === "AbortError") return; // a newer request took over
    columns.forEach((column) => (column.answer = undefined)); // never an old text under new settings
    show();
    complain(cause);
  }
  at("results").removeAttribute("aria-busy");
}

async function tagged(model, text, redact, signal) {
  // Everything is asked for: masked all of it, and without masking the threshold needs no second request.
  const parameters = redact ? { redact } : {};
  const answer = await ask(`${paths.predict}?model=${encodeURIComponent(model.name)}`, { inputs: text, parameters }, signal);
  const { text: shown, entities } = redact ? answer.value : { text, entities: answer.value };
  const letters = Array.from(shown); // offsets count code points, JavaScript counts UTF-16 units
  entities.sort((a, b) => a.start - b.start);
  let end = 0;
  for (const one of entities) {
    if (!(one.start >= end && one.end > one.start && one.end <= letters.length)) {
      throw new Refusal("La réponse du serveur est incohérente.", `${model.name}: [${one.start}, ${one.end}) of ${letters.length}`);
    }
    end = one.end;
    if (!types.includes(one.entity_group)) types.push(one.entity_group);
  }
  return { ...answer, letters, entities, redact };
}

/** Learn which models are served, once; build a column for the first and the second. */
async function meet(signal) {
  if (models.length) return;
  models = (await ask(paths.info, undefined, signal)).value.models;
  const labels = models.flatMap((model) => model.labels).filter((label) => label !== "O");
  types = [...new Set(labels.map((label) => label.replace(/^[BIESLU]-/, "")))].sort();
  models.slice(0, 2).forEach(addColumn);
}

function addColumn(model, place) {
  const view = at("column").content.cloneNode(true).firstElementChild;
  const column = { view, model };
  const choice = view.querySelector("select");
  choice.previousElementSibling.textContent = place ? "Modèle de droite" : "Modèle de gauche";
  choice.append(...models.map((one) => new Option(one.name, one.name, false, one === model)));
  choice.addEventListener("change", () => {
    column.model = models[choice.selectedIndex];
    introduce(column);
    again();
  });
  view.querySelector(".copy").addEventListener("click", () => copy(column));
  view.querySelector(".save").addEventListener("click", () => save(column));
  view.querySelector(".choice").hidden = models.length === 1;
  view.querySelector("h2").hidden = models.length > 1;
  columns.push(column);
  at("columns").append(view);
  introduce(column);
}

function introduce({ view, model }) {
  view.querySelector("h2").textContent = model.name;
  const size = model.size_bytes ? `${number.format(model.size_bytes / 1e6)} Mo` : "";
  view.querySelector(".about").textContent = [model.kind, size, model.folder].filter(Boolean).join(" · ");
  view.querySelector(".text").setAttribute("aria-label", `Texte annoté par ${model.name}`);
}

/** Settings that the server must hear of ask it again, where something is shown already. */
function again() {
  if (columns.some((column) => column.answer)) analyze();
}

// ---- Showing ----

// What is masked below a threshold would stay readable, so masking has none.
const limit = () => (masking() ? 0 : at("threshold").valueAsNumber / 100);
const masking = () => at("form").elements.redact.value;
const identity = (one) => `${one.start} ${one.end} ${one.entity_group}`;

function showLimit() {
  at("threshold").disabled = Boolean(masking());
  at("all").hidden = !masking();
  at("limit").value = percent.format(limit());
}

function el(name, className, ...children) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...children);
  return made;
}

function say(text) {
  at("status").className = "status";
  at("status").replaceChildren(text);
}

function complain(problem) {
  const cause = problem instanceof Refusal ? problem : new Refusal("La réponse du serveur est incohérente.", problem.message);
  if (cause.status === 401) {
    at("secret").hidden = false;
    at("key").focus();
    if (!at("key").value) return say(cause.message); // nobody has done anything wrong yet
  }
  at("status").className = "status bad";
  at("status").replaceChildren(cause.message, ...(cause.line ? [" ", el("code", "", cause.line)] : []));
}

function summary() {
  const seen = columns.map(({ answer }) => answer.entities.filter(sure).length);
  const [first, ...others] = seen.map((count) => `${count} ${count > 1 ? "entités" : "entité"}`);
  return others.length ? `${columns[0].model.name} : ${first}, ${columns[1].model.name} : ${others[0]}.` : `${first}.`;
}

const sure = (one) => one.score >= limit();

function show() {
  hideTip();
  const answered = columns.filter((column) => column.answer);
  // Redacted texts differ, so their offsets cannot be compared.
  const compared = answered.length === 2 && !answered[0].answer.redact;
  at("hint").hidden = !answered.length;
  at("apart").hidden = !compared;
  columns.forEach((column, place) => draw(column, compared ? columns[1 - place].answer : undefined));
}

function draw({ view, model, answer }, other) {
  view.querySelector(".times").hidden = !answer;
  view.querySelector(".take").hidden = !answer?.redact;
  view.querySelector(".taken").textContent = "";
  const text = view.querySelector(".text");
  if (!answer) {
    text.replaceChildren();
    view.querySelector(".legend").replaceChildren();
    return;
  }
  for (const name of ["total", "queue", "inference"]) view.querySelector(`.${name}`).textContent = milliseconds(answer[name]);
  const seen = answer.entities.filter(sure);
  const shared = other && new Set(other.entities.filter(sure).map(identity));
  const parts = [];
  let position = 0;
  let near = 0; // the other's first entity that does not end before this one: both are in order
  for (const one of seen) {
    while (other?.entities[near]?.end <= one.start) near += 1;
    const apart = shared && !shared.has(identity(one)) ? `trouvé par ce modèle seul${instead(one, other, near)}` : undefined;
    parts.push(answer.letters.slice(position, one.start).join(""));
    parts.push(marked(one, answer.letters.slice(one.start, one.end).join(""), apart, answer.redact));
    position = one.end;
  }
  text.replaceChildren(...parts, answer.letters.slice(position).join(""));
  const first = text.querySelector("mark");
  if (first) first.tabIndex = 0;
  view.querySelector(".legend").replaceChildren(...legend(seen, answer.entities.length - seen.length));
}

function milliseconds(time) {
  return time === null ? "inconnue" : `${number.format(time)} ms`;
}

/** Mark an entity; `apart` says how the other model differs, where it does. */
function marked(one, words, apart, redact) {
  const mark = el("mark", `t${types.indexOf(one.entity_group) % COLORS}`, words);
  const rest = [percent.format(one.score), ...(apart ? [apart] : [])];
  // A placeholder says its type itself.
  if (!redact) mark.dataset.type = apart ? `${one.entity_group} ≠` : one.entity_group;
  mark.dataset.tip = [named(one.entity_group), ...rest].join(" · ");
  mark.classList.toggle("apart", Boolean(apart));
  mark.tabIndex = -1; // one stop for Tab per text, arrows inside: a long text has thousands
  mark.setAttribute("role", "note"); // a mark alone may have no label (ARIA 1.3)
  mark.setAttribute("aria-label", [words, one.entity_group, ...rest].join(", "));
  return mark;
}

function instead(one, { entities, letters }, near) {
  const its = entities[near];
  if (!its || its.start >= one.end) return "";
  const words = letters.slice(its.start, its.end).join("");
  return ` (l’autre : « ${words} » ${its.entity_group} ${percent.format(its.score)}${sure(its) ? "" : ", sous le seuil"})`;
}

function named(type) {
  return NAMES[type] ? `${type}, ${NAMES[type]}` : type;
}

function legend(seen, unsure) {
  const counts = new Map(types.map((type) => [type, 0]));
  for (const one of seen) counts.set(one.entity_group, counts.get(one.entity_group) + 1);
  const items = [...counts].map(([type, count], place) => {
    return el("li", count ? "" : "none", el("span", `key t${place % COLORS}`, type), ` ${NAMES[type] ?? ""} `, el("strong", "", String(count)));
  });
  return unsure ? [...items, el("li", "none", `sous le seuil : ${unsure}`)] : items;
}

// ---- Taking the redacted text along ----

const whole = ({ answer }) => answer.letters.join("");

async function copy(column) {
  const taken = column.view.querySelector(".taken");
  try {
    await navigator.clipboard.writeText(whole(column)); // is there by HTTPS and on this machine alone
    taken.textContent = "Copié.";
  } catch {
    getSelection().selectAllChildren(column.view.querySelector(".text"));
    taken.textContent = "Sélectionné : copiez avec Ctrl + C.";
  }
}

function save(column) {
  const link = el("a", "");
  link.href = URL.createObjectURL(new Blob([whole(column)], { type: "text/plain;charset=utf-8" }));
  link.download = `texte-masque${models.length > 1 ? `-${column.model.name}` : ""}.txt`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000); // once the browser has begun to read it
  column.view.querySelector(".taken").textContent = "Téléchargé.";
}

// ---- The confidence beside an entity ----

function showTip(mark, height) {
  const tip = at("tip");
  tip.textContent = mark.dataset.tip;
  tip.hidden = false;
  const lines = [...mark.getClientRects()];
  const line = lines.find((one) => one.top <= height && height <= one.bottom) ?? lines[0];
  const size = tip.getBoundingClientRect();
  const room = document.documentElement.clientWidth - size.width - 8;
  // No gap to the entity: the pointer can move onto it (WCAG 2.2, 1.4.13).
  const above = line.top - size.height;
  tip.style.left = `${Math.max(8, Math.min(line.left, room))}px`;
  tip.style.top = `${above >= 4 ? above : line.bottom}px`;
}

function hideTip() {
  at("tip").hidden = true;
}

function move(mark, key) {
  const marks = [...mark.parentElement.querySelectorAll("mark")];
  const place = marks.indexOf(mark);
  const next = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: marks.length - 1 }[key];
  marks[next]?.focus();
  return next !== undefined;
}

// ---- Events ----

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  analyze();
});
at("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit();
});
at("text").addEventListener("input", () => {
  ownText = at("text").value; // so that an example looked at costs nobody their text
  at("examples").options[0].hidden = false;
  at("examples").value = "own";
});
at("examples").addEventListener("change", () => {
  at("text").value = at("examples").value === "own" ? ownText : at("examples").value;
});
at("threshold").addEventListener("input", () => {
  showLimit();
  show();
});
at("threshold").addEventListener("change", () => {
  if (columns.some((column) => column.answer)) say(summary());
});
at("redaction").addEventListener("change", () => {
  showLimit();
  again();
});

at("columns").addEventListener("pointerover", (event) => {
  const mark = event.target.closest("mark");
  if (mark) showTip(mark, event.clientY);
});
at("columns").addEventListener("pointerout", (event) => {
  if (event.target.closest("mark") && event.relatedTarget !== at("tip")) hideTip();
});
at("tip").addEventListener("pointerleave", hideTip);
at("columns").addEventListener("focusin", ({ target }) => {
  if (!target.matches("mark")) return;
  for (const one of target.parentElement.querySelectorAll("mark[tabindex='0']")) one.tabIndex = -1;
  target.tabIndex = 0;
  showTip(target);
});
at("columns").addEventListener("focusout", hideTip);
at("columns").addEventListener("keydown", (event) => {
  if (event.target.matches("mark") && move(event.target, event.key)) event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideTip();
});
// Focus may scroll its entity into view; what is merely hovered is left behind.
const follow = () => {
  if (at("tip").hidden) return;
  if (document.activeElement.matches("mark")) showTip(document.activeElement);
  else hideTip();
};
document.addEventListener("scroll", follow, { capture: true, passive: true });

if (!at("text").value) {
  at("examples").selectedIndex = 1;
  at("text").value = at("examples").value;
}
showLimit();
meet(running.signal).catch((cause) => cause.name === "AbortError" || complain(cause));
