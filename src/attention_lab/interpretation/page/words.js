// Words on a line, coloured by how much they count: for a text that is read, and for each step of one that is written.
"use strict";

const NEXT = "The most probable next tokens";

/** chips: {text, share, gold, value, mark, begins}; one for each word; begins: on a line of its own. words: of the text,
    whose direction is that of the line. */
function chips(items, label, words) {
  const list = made("ol", { className: "chips", dir: direction(words) });
  list.setAttribute("aria-label", label);
  for (const item of items) {
    const chip = shade(made("li", { className: "chip ink" }, word(item.text, 60)), item.share ?? 0);
    if (item.begins) list.append(made("li", { className: "break", ariaHidden: "true" }));
    if (item.gold) chip.classList.add("gold");
    if (item.mark) chip.classList.add(item.mark);
    if (item.value !== undefined) chip.title = `${item.text.slice(0, 80)}: ${item.value}`;
    if (item.gold) chip.append(made("span", { className: "unseen", textContent: ` (${index.gold})` }));
    list.append(chip);
  }
  return list;
}

function weighed(names, values, percent, gold) {
  const top = largest(values) || 1;
  return names.map((text, i) => ({ text, share: values[i] / top, value: number(values[i], percent), gold: gold?.(0, i) }));
}

/** A text that was read, the heaviest words the darkest. */
function textView(look, words) {
  const values = rowOf(look.matrix, 0);
  const items = weighed(look.keys, values, look.percent, look.gold);
  if (look.begins > 0) items[look.begins].begins = true;
  const list = chips(items, "The text, its heaviest words the darkest", words);
  const best = [...values.keys()].sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, 8).filter((i, at_) => !at_ || Math.abs(values[i]) > 0.005 * largest(values));
  const top = values.length ? Math.abs(values[best[0]]) || 1 : 1;
  const lines = best.map((i) => {
    const bar = shade(made("span", { className: "bar" }), values[i] / top);
    bar.style.setProperty("--share", Math.abs(values[i]) / top);
    const cells = [made("th", { scope: "row" }, word(look.keys[i], 24)), made("td", { textContent: number(values[i], look.percent) })];
    return made("tr", look.gold?.(0, i) ? { className: "gold" } : {}, ...cells, made("td", { className: "rail" }, bar));
  });
  const caption = made("caption", { textContent: "The heaviest words" });
  return made("div", {}, list, made("table", { className: "ranks" }, caption, made("tbody", {}, ...lines)));
}

/** What goes from step to step. It stays where it is while what is below it is drawn anew: a slider that is replaced
    cannot be dragged, and a button loses its focus. */
function stepper(onStep) {
  const slider = made("input", { type: "range", min: 0 });
  slider.setAttribute("aria-label", "Step");
  slider.addEventListener("input", () => onStep(Number(slider.value)));
  const button = (text, by, name) => {
    const found = made("button", { type: "button", textContent: text });
    found.setAttribute("aria-label", name);
    found.addEventListener("click", () => onStep(Number(slider.value) + by));
    return found;
  };
  const [back, on] = [button("←", -1, "One step back"), button("→", 1, "One step forward")];
  const count = made("span", { className: "count" });
  const bar = made("div", { className: "stepper" }, back, count, on, slider);
  const show = (step, last) => {
    slider.max = last;
    slider.value = step;
    count.textContent = `Step ${step + 1} of ${last + 1}`;
    [back.disabled, on.disabled] = [step <= 0, step >= last];
  };
  return { bar, show };
}

/** One step of writing: what was looked at, in the source and in what was written, and what could have come next. */
function stepView(given, onStep) {
  const { trace, step, source, prefix, percent, state } = given;
  const target = trace.target.tokens;
  const how = state.method === "attention" || source ? "where it looks back" : "how much each token counts";
  const before = target.slice(0, step + 1).map((text, i) => ({
    text,
    share: prefix ? prefix[i] / (largest(prefix) || 1) : 0,
    value: prefix ? number(prefix[i], percent) : undefined,
  }));
  const after = target.slice(step + 2).map((text) => ({ text, mark: "later" }));
  const written = chips([...before, { text: target[step + 1], mark: "now" }, ...after], "The text; the word of this step is framed", trace.target.words);
  [...written.children].forEach((chip, i) => {
    if (i) chip.addEventListener("click", () => onStep(i - 1));
  });
  const found = made("div", { className: "steps" }, made("h4", { textContent: prefix ? `What is written, and ${how}` : "What is written" }), written);
  if (source) found.append(made("h4", { textContent: source.title }), chips(source.items, source.title, source.words));
  found.append(made("h4", { textContent: NEXT }), likeliest(trace, step), source ? shareBar(trace, step) : "");
  return found;
}

function likeliest(trace, step) {
  const [said, tokens] = trace.steps[step];
  const token = trace.target.tokens[step + 1];
  const mark = trace.of === "reference" ? "◂ the reference" : "◂ written";
  const rows = tokens.some(([text]) => text === token) ? tokens : [...tokens, [token, said]];
  const lines = rows.map(([text, probability]) => {
    const here = text === token;
    const rail = made("span", { className: "bar" });
    rail.style.setProperty("--share", probability);
    const cells = [made("th", { scope: "row" }, word(text, 24)), made("td", { textContent: number(probability, true) })];
    return made("tr", { className: here ? "said" : "" }, ...cells, made("td", { className: "rail" }, rail), made("td", { className: "mark", textContent: here ? mark : "" }));
  });
  const table = made("table", { className: "ranks" }, made("tbody", {}, ...lines));
  table.setAttribute("aria-label", NEXT);
  return table;
}

/** How much of the prediction comes from the source, and how much from what was written before. */
function shareBar(trace, step) {
  if (!trace.shares) {
    return made("p", { className: "note", textContent: "How much comes from the source, and how much from what was written before, is not known for this pass." });
  }
  const share = trace.shares[step];
  const bar = made("div", { className: "split", role: "img" }, made("span"), made("span"));
  bar.style.setProperty("--share", share);
  const text = `${number(share, true)} from the source, ${number(1 - share, true)} from what was written before`;
  bar.setAttribute("aria-label", text);
  return made("div", {}, made("h4", { textContent: "Where this prediction comes from" }), bar, made("p", { className: "note", textContent: text }));
}
