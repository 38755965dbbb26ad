// The form asks the server for a prediction and the maps of its weights, which come whole: pickers only draw again.
"use strict";

const at = (id) => document.getElementById(id);
const form = document.querySelector("form");
const fields = [...form.querySelectorAll(".field")];
const options = [...form.querySelectorAll(".option-value")];
const examples = JSON.parse(at("examples").textContent);
const MEAN = "0"; // weights of a layer begin with the mean of its heads
const NOTHING = "(nothing)"; // no words, no answer, no label
const ROOMY = 20; // columns; a wider map has smaller cells
const LETTERS = 40; // of a word in a sentence
let maps = [];
let asked = 0; // how often

function made(tag, text, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) element.textContent = text;
  return element;
}

function word(text) {
  return made("bdi", text, { title: text }); // a word may be written from right to left
}

function percent(thousandths) {
  return `${(thousandths / 10).toLocaleString("en", { maximumFractionDigits: 1 })} %`;
}

function inputs() {
  return Object.fromEntries(fields.map((field) => [field.name, field.value]));
}

/** first: nobody has asked yet, so the page stays where it is. What was asked last is shown, whichever answer comes last. */
async function ask(first = false) {
  const mine = (asked += 1);
  form.setAttribute("aria-busy", "true");
  at("problem").hidden = true;
  const given = inputs();
  try {
    const reply = await fetch("predict", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        inputs: given,
        options: Object.fromEntries(options.map((option) => [option.name, option.valueAsNumber])),
      }),
    });
    const answer = reply.ok || reply.status === 400 ? await reply.json() : { error: "The server failed; the terminal where it runs says why." };
    if (mine !== asked) return;
    if (reply.ok) show(given, answer, first);
    else complain(answer.error);
  } catch {
    if (mine === asked) complain("The server does not answer; start `attention-lab demo` again.");
  } finally {
    if (mine === asked) form.removeAttribute("aria-busy");
  }
}

function complain(sentence) {
  at("problem").textContent = sentence;
  at("problem").hidden = false;
}

function show(given, answer, first) {
  at("waiting").hidden = true;
  at("answer").hidden = at("attention").hidden = false;
  at("prediction").textContent = answer.prediction || NOTHING;
  at("truncated").hidden = !answer.truncated;
  at("unknown").hidden = !answer.unknown.length;
  at("unknown").textContent = `Not in the model's vocabulary: ${answer.unknown.map((text) => (text.length > LETTERS ? `${text.slice(0, LETTERS)}…` : text)).join(", ")}. The model reads all such words alike.`;
  showReference(examples.find((one) => fields.every((field) => one.inputs[field.name] === given[field.name])));
  at("probability").hidden = answer.probability === undefined || answer.probabilities !== undefined;
  at("probability").textContent = `probability ${answer.probability?.toFixed(3)}`;
  showProbabilities(answer.probabilities);
  maps = answer.maps;
  pick(at("map"), maps.map((map, index) => [String(index), map.name]), at("map").value || "0");
  chooseMap();
  // On a narrow screen the answer stands below the form.
  if (!first && at("answer").getBoundingClientRect().top > innerHeight / 2) at("answer").scrollIntoView();
}

function showReference(example) {
  at("reference").hidden = !example || example.reference === undefined;
  if (at("reference").hidden) return;
  const reference = example.reference || NOTHING;
  const same = reference === at("prediction").textContent;
  at("reference").className = same ? "right" : "wrong";
  at("reference").textContent = same ? "✓ same as the reference" : `✗ the reference says: ${reference}`;
}

function showProbabilities(probabilities) {
  at("probabilities").hidden = !probabilities;
  const lines = Object.entries(probabilities ?? {}).map(([name, share]) => {
    const line = made("tr");
    const bar = made("span", "", { className: "bar" });
    bar.style.setProperty("--share", share);
    const cell = made("td", undefined, { className: "rail" });
    cell.append(bar);
    line.append(made("th", name, { scope: "row" }), made("td", share.toFixed(3)), cell);
    return line;
  });
  at("probabilities").tBodies[0].replaceChildren(...lines);
}

/** Fill a picker and keep what was chosen if it is still there. */
function pick(select, values, wanted) {
  select.replaceChildren(...values.map(([value, text]) => made("option", text, { value })));
  const there = values.some(([value]) => value === wanted);
  if (values.length) select.value = there ? wanted : values[values.length - 1][0];
  select.disabled = values.length < 2;
}

function chooseMap() {
  const map = maps[Number(at("map").value)];
  const layers = map.weights.map((_, index) => [String(index), String(index + 1)]);
  const heads = (map.weights[0] ?? []).map((_, index) => [String(index), index ? String(index) : "mean of all"]);
  const known = heads.some(([head]) => head === at("head").value);
  pick(at("layer"), layers, at("layer").value);
  pick(at("head"), heads.length > 2 ? heads : heads.slice(0, 1), known ? at("head").value : MEAN);
  at("map").closest("label").hidden = maps.length < 2;
  at("layer").closest("label").hidden = layers.length < 2;
  at("head").closest("label").hidden = heads.length < 3;
  at("what").textContent = map.what;
  at("notes").replaceChildren(...map.notes.map((note) => made("li", note)));
  if (map.cut) at("notes").append(made("li", "Only the first words of each side are shown."));
  draw();
}

function draw() {
  const map = maps[Number(at("map").value)];
  const weights = map.weights[Number(at("layer").value)]?.[Number(at("head").value)];
  for (const id of ["what", "picture", "legend", "readout", "caution"]) at(id).hidden = !weights?.length;
  if (!weights?.length) return;
  const most = Math.max(1, ...weights.flat().map(Math.abs));
  const signed = weights.flat().some((weight) => weight < 0);
  at("legend").classList.toggle("signed", signed);
  at("legend").firstElementChild.textContent = signed ? percent(-most) : percent(0);
  at("most").textContent = percent(most);
  at("readout").textContent = weights.length > 1
    ? "Rows look, columns are looked at; numbers are percent. Point at a cell to read it."
    : "Numbers are percent. Point at a word to read it.";
  at("picture").replaceChildren(weights.length > 1 ? table(map, weights, most) : strip(map, weights[0], most));
}

function colour(element, weight, most) {
  element.classList.add("weight");
  element.classList.toggle("negative", weight < 0);
  element.style.setProperty("--share", Math.abs(weight) / most);
  return element;
}

function told(map, query, key, weight) {
  return `“${map.queries[query]}” → “${map.keys[key]}”: ${percent(weight)}`;
}

function table(map, weights, most) {
  const found = made("table", undefined, { className: map.keys.length > ROOMY ? "heat dense" : "heat" });
  found.append(made("caption", "Rows look, columns are looked at; numbers are percent", { className: "unseen" }));
  const head = found.createTHead().insertRow();
  head.append(made("td"));
  for (const key of map.keys) {
    const title = made("th", undefined, { scope: "col" });
    title.append(word(key));
    head.append(title);
  }
  const body = found.createTBody();
  weights.forEach((line, query) => {
    const row = body.insertRow();
    const title = made("th", undefined, { scope: "row" });
    title.append(word(map.queries[query]));
    row.append(title);
    line.forEach((weight, key) => {
      const cell = colour(made("td", Math.round(weight / 10) || ""), weight, most);
      cell.dataset.says = told(map, query, key, weight);
      row.append(cell);
    });
  });
  return found;
}

function strip(map, line, most) {
  const text = made("p", map.keys.join(" "), { dir: "auto" }); // in a list, dir=auto does not look into a <bdi>
  const found = made("ol", undefined, { className: "words", dir: text.matches(":dir(rtl)") ? "rtl" : "ltr" });
  line.forEach((weight, key) => {
    const item = colour(made("li"), weight, most);
    item.dataset.says = told(map, 0, key, weight);
    item.append(word(map.keys[key]), made("small", Math.round(weight / 10)));
    found.append(item);
  });
  return found;
}

function take(example, first) {
  for (const field of fields) field.value = example.inputs[field.name];
  ask(first);
}

function offer() {
  for (const example of examples) {
    const button = made("button", undefined, { type: "button" });
    button.append(made("bdi", fields.map((field) => example.inputs[field.name]).join(" · ")));
    if (example.verdict) {
      button.append(made("small", example.verdict, { className: example.verdict.startsWith("✓") ? "right" : "wrong" }));
    }
    button.addEventListener("click", () => take(example));
    const item = made("li");
    item.append(button);
    at("choices").append(item);
  }
}

/** /?source=…&beams=1 fills the form, and asks if every text is there. Without, an example shows what comes of one. */
function fillFromAddress() {
  const query = new URLSearchParams(location.search);
  for (const control of [...fields, ...options]) if (query.has(control.name)) control.value = query.get(control.name);
  if (fields.every((field) => query.get(field.name)?.trim())) ask();
  else if (examples.length && !fields.some((field) => field.value)) {
    take(examples.find((one) => one.verdict?.startsWith("✓")) ?? examples[0], true);
    fields[0].select(); // writing replaces it
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
at("map").addEventListener("change", chooseMap);
at("layer").addEventListener("change", draw);
at("head").addEventListener("change", draw);
at("picture").addEventListener("pointerover", (event) => {
  const cell = event.target.closest("[data-says]");
  if (cell) at("readout").textContent = cell.dataset.says;
});
if (examples.length) offer();
fillFromAddress();
