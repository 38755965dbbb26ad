// One panel: an example, what is shown of it, and how. Two of them stand side by side to compare.
"use strict";

const VIEWS = {
  lines: "Lines",
  matrix: "Map",
  text: "Text",
  steps: "Step by step",
  heads: "All heads",
};
const PLACES = {
  cross: "output → input",
  encoder_self: "input → input",
  decoder_self: "output → what came before",
};
const PASSES = {
  output: "writing its own output",
  reference: "given the reference",
  both: "writing its own output, which is the reference",
  input: "reading",
};
const MARKS = new Map([[true, "✓"], [false, "✗"], [null, "·"]]);

class Panel {
  constructor(number, onChange, onTurn) {
    this.number = number;
    this.onChange = onChange;
    this.onTurn = onTurn;
    this.model = Math.min(number, index.models.length - 1);
    this.own = index.models[this.model];
    this.state = { example: 0, ...this.own.start };
    this.root = at("panel").content.firstElementChild.cloneNode(true);
    const { folder, mechanism } = this.own;
    this.root.setAttribute("aria-label", `${number ? "Second panel" : "First panel"}${folder && `: ${folder}, ${mechanism}`}`);
    this.find(".whose").hidden = !folder;
    this.find(".folder").textContent = folder;
    this.find(".whose .note").textContent = mechanism.replaceAll("_", " ");
    this.body = this.find(".view");
    this.root.tabIndex = -1; // it takes the focus of what is drawn anew
    this.stepper = stepper((step) => this.set({ step }));
    for (const select of this.root.querySelectorAll("select"))
      select.addEventListener("change", () => this.pick({ [select.name]: select.value }));
    this.find(".svg").addEventListener("click", () => saveSvg(this.body, this.name()));
    this.find(".png").addEventListener("click", () => savePng(this.body, this.name()));
    this.root.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.width !== this.body.clientWidth && this.example && this.draw()).observe(this.body);
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  name() {
    const { example, place, layer, head, view } = this.state;
    return `attention-${example + 1}${this.own.folder && `-model${this.model + 1}`}-${view}-${place}-layer${layer}-head${head}`;
  }

  /** What a reader has picked. */
  pick(changes) {
    if ("example" in changes || "method" in changes) this.onTurn(this, changes);
    else this.set(changes);
  }

  /** Change what is shown; values of pickers and addresses are texts. */
  async set(changes) {
    const state = { ...this.state, ...changes };
    for (const name of ["example", "layer", "trace", "step"]) state[name] = Math.max(0, Math.trunc(Number(state[name]) || 0));
    state.head = state.head === "mean" || !state.head ? "mean" : Math.trunc(Number(state.head)) || "mean";
    state.query = state.query === null || state.query === "" || !(Number(state.query) >= 0) ? null : Math.trunc(Number(state.query));
    state.example = Math.max(0, Math.min(state.example, index.examples.length - 1));
    if (state.example !== this.state.example || !this.example) {
      if (changes.trace === undefined) state.trace = 0;
      if (changes.step === undefined) state.step = 0;
      if (changes.query === undefined) state.query = null;
    } else if (["place", "row", "unit", "method", "trace"].some((name) => name in changes)) state.query = null;
    this.state = state;
    const example = await open_(this.model * index.examples.length + state.example);
    if (this.state !== state) return; // another was chosen meanwhile
    this.example = example;
    this.settle();
    this.pickers();
    this.draw();
    this.onChange(this);
  }

  get trace() {
    return this.example.traces[this.state.trace];
  }

  get map() {
    return this.example.maps[this.example.places?.[this.state.trace]?.[this.state.place]];
  }

  /** Of what was asked for, what there is. */
  settle() {
    const { state, example } = this;
    state.trace = Math.min(state.trace, Math.max(0, example.traces.length - 1));
    const places = Object.keys(example.places?.[state.trace] ?? {});
    if (!places.includes(state.place) && places.length) state.place = places.includes("cross") ? "cross" : places[0];
    if (this.map) {
      const [layers, heads] = this.map.shape;
      state.layer = Math.max(1, Math.min(state.layer || layers, layers));
      if (state.head !== "mean" && (state.head < 1 || state.head > heads || example.only)) state.head = "mean";
    }
    if (state.method !== "attention" && !(state.method in this.methods())) state.method = "attention";
    if (!this.views().includes(state.view)) state.view = this.views()[0];
    state.step = Math.max(0, Math.min(state.step, (this.trace?.steps.length ?? 1) - 1));
  }

  views() {
    const writes = this.trace?.target;
    return Object.keys(VIEWS).filter((view) => (view === "steps" ? writes : view === "text" ? !writes : true));
  }

  /** The methods that were tried on this example, with their maps, or null where they are not defined. */
  methods() {
    const tried = Object.fromEntries(Object.keys(this.trace?.reasons ?? {}).map((name) => [name, null]));
    return { ...tried, ...(this.example.scores?.[this.state.trace] ?? {}) };
  }

  pickers() {
    const { state, example } = this;
    const fill = (name, values) => {
      const select = this.find(`[name=${name}]`);
      select.replaceChildren(...values.map(([value, text]) => made("option", { value, textContent: text })));
      select.value = String(state[name]);
      select.closest("label").hidden = values.length < 2 || !this.matters(name);
    };
    const upTo = (size, text) => Array.from({ length: size }, (_, i) => [i + 1, `${text} ${i + 1}`]);
    fill("example", index.examples.map((one, i) => [i, `${i + 1} ${MARKS.get(one.right)} ${short(one.title, 36)}`]));
    fill("trace", example.traces.map((trace, i) => [i, PASSES[trace.of]]));
    fill("method", [["attention", "attention weights"], ...Object.keys(this.methods()).map((name) => [name, name.replaceAll("_", " ")])]);
    fill("place", Object.keys(example.places?.[state.trace] ?? {}).map((place) => [place, PLACES[place]]));
    const [layers, heads] = this.map?.shape ?? [0, 0];
    fill("layer", upTo(layers, "layer"));
    fill("head", example.only ? [] : [["mean", "mean of heads"], ...upTo(heads, "head")]);
    fill("row", state.place === "cross" ? [["predicting", "that predicts a word"], ["input", "that reads a word"]] : []);
    fill("reader", Object.keys(example.readers ?? {}).map((name) => [name, name.replace("attention of ", "")]));
    this.find("[name=reader]").value = this.readers()[0];
    fill("unit", [["words", "words"], ["tokens", "tokens"]]);
    const tabs = this.views().map((view) => {
      const tab = made("button", { type: "button", textContent: VIEWS[view] });
      tab.setAttribute("aria-pressed", String(view === state.view));
      tab.dataset.view = view;
      tab.addEventListener("click", () => this.set({ view }));
      return tab;
    });
    const held = document.activeElement?.closest(".views") && this.root.contains(document.activeElement);
    this.find(".views").replaceChildren(...tabs);
    if (held) this.find(".views [aria-pressed=true]").focus();
  }

  /** Whether a picker changes anything of what is shown. */
  matters(name) {
    const { method, view } = this.state;
    if (name === "place") return method === "attention" || view === "heads";
    if (["layer", "head"].includes(name)) return method === "attention" && view !== "heads"; // all are shown there
    if (name === "reader") return method === "attention" && view === "text";
    if (["row", "unit"].includes(name)) return method === "attention" && view !== "steps" && view !== "heads";
    return true;
  }

  /** What the chosen method, place, layer and head say: a matrix with the names of its rows and columns. */
  look() {
    const { state, example, trace } = this;
    const writes = trace.target !== null;
    if (state.method !== "attention") {
      const number = this.methods()[state.method];
      if (number === null || number === undefined) return null;
      const matrix = decoded(example.maps[number], example.bytes, 0, 0);
      const queries = writes ? trace.target.words : [example.prediction || "(none)"];
      const keys = example.source ? example.source.words.slice(example.asked) : trace.target.words;
      const known = goldOf(trace, example.source ? "cross" : "decoder_self");
      const gold = known && ((query, key) => known(query, key + example.asked));
      return this.judged(matrix, queries, keys, gold, example.maps[number].signed, false);
    }
    if (!this.map) return null;
    const head = state.head === "mean" ? null : state.head - 1;
    const full = weightsOf(this.map, example.bytes, state.layer - 1, head);
    const { queries, keys } = sides(example, trace, state.place, state.row);
    const known = goldOf(trace, state.place);
    // In the text view the rows of the readers, in the mean, speak for the prediction.
    const reads = state.view === "text" ? this.readers() : null;
    const asking = reads ? { names: [reads[0]], owners: [0], words: [reads[0]] } : queries;
    const raw = reads ? meanOfRows(full, reads[1]) : full;
    // Where, behind a question, the text begins.
    const begins = reads && example.asked ? (state.unit === "tokens" ? keys.owners : [...keys.words.keys()]).findIndex((word) => word >= example.asked) : 0;
    if (state.unit === "tokens") {
      const gold = known && ((query, key) => keys.owners[key] !== null && known(asking.owners[query], keys.owners[key]));
      return { ...this.judged(raw, asking.names, keys.names, gold, this.map.signed, true), begins };
    }
    const matrix = merged(raw, asking.owners, keys.owners, asking.words.length, keys.words.length);
    return { ...this.judged(matrix, asking.words, keys.words, known, this.map.signed, true), begins };
  }

  judged(matrix, queries, keys, gold, signed, percent) {
    const weights = this.state.method === "attention"; // else scores, of what was said
    const names = weights ? { queryName: "looks", keyName: "looked at" } : { queryName: this.trace.target ? "said" : "prediction", keyName: "counts for it" };
    return { matrix, queries, keys, gold, signed, percent, top: largest(matrix.values), ...names };
  }

  /** The positions that speak for a prediction, by what they are; the first, if nothing else is known. */
  readers() {
    const all = this.example.readers ?? {};
    const name = this.state.reader in all ? this.state.reader : (Object.keys(all)[0] ?? "the first position");
    return [name, all[name] ?? [0]];
  }

  draw() {
    this.width = this.body.clientWidth;
    const { state, example } = this;
    this.verdict();
    const held = this.body.contains(document.activeElement);
    const view = this.picture();
    const { bar } = this.stepper;
    if (view[0] === bar && bar.parentNode === this.body) {
      for (const old of [...this.body.children]) if (old !== bar) old.remove();
      this.body.append(...view.slice(1));
    } else this.body.replaceChildren(...view);
    if (held && !this.body.contains(document.activeElement)) this.root.focus({ preventScroll: true });
    const cut = this.map?.kept ? `A long text: each row shows only its ${this.map.kept} largest weights. ` : "";
    const less = example.only === "mean" ? "To keep the page small, this example has only the mean of the heads. " : "";
    this.find(".about").textContent = cut + less + this.meaning();
    this.find(".trust span").textContent = this.own.trust[this.state.method] ?? this.own.trust.attention;
    this.root.dataset.ready = `${state.example}`;
  }

  picture() {
    const { state, example } = this;
    const say = (sentence) => (this.find(".status").textContent = sentence);
    say("");
    if (state.view === "heads") {
      if (!this.map) return [this.nothing()];
      return [allHeads(example, this.map, this.own.heads[state.place] ?? [], state, (layer, head) => this.set({ layer, head, method: "attention", view: "lines" }))];
    }
    const look = this.look();
    if (state.view === "steps") {
      const shown = this.step(look);
      this.stepper.show(state.step, this.trace.steps.length - 1);
      const weights = state.method === "attention";
      const scale = { ...shown, top: null, percent: weights, signed: !weights && look?.signed };
      return [this.stepper.bar, stepView(shown, (step) => this.set({ step })), legend(scale, "under")];
    }
    if (!look) return [this.nothing()];
    if (state.view === "text") return [textView(look, example.source.words), legend(look, "under")];
    const width = Math.max(280, this.width);
    if (state.view === "matrix") return [made("div", { className: "scroll" }, matrixMap(look, width, say)), legend(look, "box")];
    const chosen = state.query !== null && state.query < look.queries.length ? state.query : null;
    const drawing = lines(look, width, chosen, (query) => this.keep({ query }), say);
    return [made("div", { className: "scroll" }, drawing), legend(look, "ring")];
  }

  /** Remember without drawing again. */
  keep(changes) {
    Object.assign(this.state, changes);
    this.onChange(this);
  }

  nothing() {
    const why = this.state.method === "attention" ? "" : this.trace?.reasons[this.state.method];
    const none = this.example.only === "none" ? "To keep the page small, this example has no weights." : index.noWeights;
    return made("p", { className: "nothing", textContent: why || none });
  }

  /** What the step view shows of one step. */
  step(look) {
    const { state, example, trace } = this;
    const of = (place) => example.maps[example.places?.[state.trace]?.[place]];
    const rows = (place) => {
      const map = of(place);
      if (!map) return null;
      const mine = state.place === place;
      const head = mine && state.head !== "mean" ? state.head - 1 : null;
      return rowOf(weightsOf(map, example.bytes, (mine ? state.layer : map.shape[0]) - 1, head), state.step);
    };
    let prefix = rows("decoder_self")?.slice(0, state.step + 1) ?? null;
    let source = null;
    if (!example.source && state.method !== "attention" && look) {
      const { owners } = trace.target; // the method's scores are between words
      const next = owners[state.step + 1];
      const score = (word) => (word === null || next === null ? 0 : look.matrix.values[next * look.matrix.columns + word]);
      prefix = Float32Array.from(owners.slice(0, state.step + 1), score);
    }
    if (example.source) {
      const next = trace.target.owners[state.step + 1];
      const [names, owners] = [example.source.tokens, example.source.owners];
      const { words } = example.source;
      const known = next === null ? null : goldOf(trace, "cross");
      const gold = known && ((_, i) => owners[i] !== null && known(next, owners[i]));
      if (state.method !== "attention" && look && next !== null) {
        const isGold = look.gold && ((_, i) => look.gold(next, i));
        source = { title: `The source, by ${state.method.replaceAll("_", " ")}`, items: weighed(look.keys, rowOf(look.matrix, next), false, isGold), words };
      } else if (of("cross")) source = { title: "Where it looks in the source", items: weighed(names, rows("cross"), true, gold), words };
      else source = { title: "The source", items: names.map((text) => ({ text })), words };
    }
    const percent = state.method === "attention" || Boolean(example.source); // scores of a method are of the source
    return { state, trace, step: state.step, source, prefix, percent, gold: source?.items.some((item) => item.gold) };
  }

  /** Input, output and truth above the picture. */
  verdict() {
    const { example } = this;
    const rows = Object.entries(example.inputs).map(([name, text]) => [name, text]);
    const truth = [[this.own.said, example.prediction], ["truth", example.reference]];
    if (example.right !== false) truth.pop();
    const list = [...rows, ...truth].flatMap(([name, text]) => [made("dt", { textContent: name }), made("dd", { dir: "auto", textContent: short(text, 600) || "(none)" })]);
    this.find(".texts").replaceChildren(...list);
    const badge = this.find(".badge");
    badge.className = `badge ${example.right === null ? "" : example.right ? "right" : "wrong"}`;
    badge.textContent = example.right === null ? "" : example.right ? "✓ same as the reference" : "✗ differs from the reference";
    const sure = example.probability === null ? "" : ` · probability ${example.probability.toFixed(3)}`;
    this.find(".row").textContent = example.row.slice(0, 80) + sure;
  }

  meaning() {
    const { state } = this;
    if (!this.map && (state.view === "heads" || state.method === "attention")) return ""; // of nothing
    if (state.view === "heads") {
      const known = this.own.heads[state.place]?.some((one) => one.importance !== null);
      const importance = known ? " The bar is its importance: how strongly the loss reacts when the head is turned down." : "";
      return `Each map shows one head: rows look, columns are looked at, scaled to its own largest weight. Point at one for its figures, choose it to enlarge it.${importance}`;
    }
    if (state.method !== "attention") return sentence(this.own.methods[state.method]?.what ?? "");
    const left = state.unit === "words" && state.view !== "steps" ? " Weights on <s>, </s> and punctuation are left out, so a row may sum to less than 100 %." : "";
    return this.own.kind + left;
  }

  key(event) {
    if (event.target.matches("select, input[type=range]") || event.ctrlKey || event.metaKey || event.altKey) return;
    const { state } = this;
    const moves = {
      ArrowRight: state.view === "steps" && { step: state.step + 1 },
      ArrowLeft: state.view === "steps" && { step: Math.max(0, state.step - 1) },
      w: { unit: state.unit === "words" ? "tokens" : "words" },
    };
    const to = { n: state.example + 1, p: state.example - 1 }[event.key];
    if (to in index.examples) this.pick({ example: to });
    const views = this.views();
    if (/^[1-5]$/.test(event.key) && views[event.key - 1]) moves[event.key] = { view: views[event.key - 1] };
    if (!moves[event.key]) return;
    event.preventDefault();
    this.set(moves[event.key]);
  }
}
