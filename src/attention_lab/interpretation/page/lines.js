// Lines from words that look to words that are looked at; those of one word while it has the pointer or the focus.
"use strict";

const FAINT = 3; // lines of each word while none is chosen

/** look: see panel.js. chosen: the query that stays, or null. onChoose(query). say(sentence): for the status line. */
function lines(look, width, chosen, onChoose, say) {
  const most = Math.max(look.queries.length, look.keys.length);
  const height = Math.max(120, most * (most > 60 ? 18 : 27));
  const small = width < 520;
  const [left, right] = [Math.round(width * (small ? 0.34 : 0.37)), Math.round(width * (small ? 0.66 : 0.63))];
  const letters = Math.max(6, Math.floor((width - right - (small ? 40 : 56)) / (small ? 7.6 : 8.4)));
  const top = 30;
  const svg = drawn("svg", { width, height: height + top + 6, class: small ? "lines small" : "lines", role: "group" });
  svg.setAttribute("aria-label", "Words that look, on the left, and words that are looked at, on the right");
  const threads = drawn("g", { class: "threads" });
  const shown = { side: "query", item: chosen };
  const size = small ? 13.5 : 15;
  const ends = { queries: left - 16 - widest(look.queries.map((text) => short(text, letters)), size), keys: right + 16 + widest(look.keys.map((text) => short(text, letters)), size) };
  const y = (side, i) => top + (height / look[side].length) * (i + 0.5);
  const marks = { queries: [], keys: [] };

  svg.append(
    drawn("text", { x: left, y: 14, class: "head", "text-anchor": "end" }, look.queryName),
    drawn("text", { x: right, y: 14, class: "head" }, look.keyName),
    threads,
  );

  function weight(query, key) {
    return look.matrix.values[query * look.matrix.columns + key];
  }

  function thread(query, key, strong) {
    const value = weight(query, key) / (look.top || 1);
    const strength = Math.min(1, Math.abs(value));
    const [from, to] = [y("queries", query), y("keys", key)];
    const bend = (right - left) * 0.45;
    const path = drawn("path", {
      d: `M${left + 9} ${from}C${left + bend} ${from} ${right - bend} ${to} ${right - 9} ${to}`,
      class: value < 0 ? "thread negative" : "thread",
      "stroke-width": (0.8 + (strong ? 6 : 4) * strength).toFixed(2),
      "stroke-opacity": (strong ? 0.25 + 0.75 * strength : 0.12 + 0.6 * strength).toFixed(3),
    });
    path.dataset.query = query;
    path.dataset.key = key;
    return path;
  }

  function draw() {
    const { side, item } = shown;
    const found = [];
    for (let query = 0; query < look.queries.length; query++) {
      if (item !== null && side === "query" && query !== item) continue;
      const keys = [...look.keys.keys()].filter((key) => Math.abs(weight(query, key)) > 0.01 * look.top);
      keys.sort((a, b) => Math.abs(weight(query, b)) - Math.abs(weight(query, a)));
      const few = item === null ? keys.slice(0, FAINT) : keys;
      for (const key of few) if (item === null || side === "query" || key === item) found.push([query, key]);
    }
    // While no word that looks is chosen, gold is what all of them should look at.
    const asking = item !== null && side === "query" ? [item] : [...look.queries.keys()];
    threads.replaceChildren(...found.map(([query, key]) => thread(query, key, item !== null)));
    for (const [name, other] of [["queries", "query"], ["keys", "key"]]) {
      marks[name].forEach((mark, i) => {
        const value =
          item === null || side === other ? null : name === "keys" ? weight(item, i) : weight(i, item);
        mark.group.classList.toggle("active", item === i && side === other);
        mark.value.textContent = value === null || Math.abs(value) < 0.005 * look.top ? "" : number(value, look.percent);
        shade(mark.dot, value === null ? 0 : value / (look.top || 1));
        mark.group.classList.toggle("linked", name === "keys" && asking.every((query) => look.gold?.(query, i)));
      });
    }
    if (item !== null) say(told(side, item));
  }

  function told(side, item) {
    const mine = side === "query" ? look.queries[item] : look.keys[item];
    const others = side === "query" ? look.keys : look.queries;
    const values = others.map((_, i) => (side === "query" ? weight(item, i) : weight(i, item)));
    const best = [...values.keys()].sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, 3);
    const list = best.map((i) => `${short(others[i])} ${number(values[i], look.percent)}`).join(", ");
    return side === "query" ? `“${short(mine)}” looks at ${list}` : `“${short(mine)}” is looked at by ${list}`;
  }

  function choose(side, item) {
    Object.assign(shown, { side, item });
    draw();
  }

  for (const [name, side, x, anchor, step] of [
    ["queries", "query", left, "end", -1],
    ["keys", "key", right, "start", 1],
  ]) {
    const tall = height / look[name].length;
    look[name].forEach((text, i) => {
      const middle = y(name, i);
      const dot = drawn("circle", { cx: x - step * 3, cy: middle, r: 4 });
      const value = drawn("text", { x: ends[name], y: middle + 4, class: "value", "text-anchor": anchor });
      const label = drawn("text", { x: x + step * 6, y: middle + 5, "text-anchor": anchor, class: "word" }, short(text, letters));
      label.setAttribute("unicode-bidi", "isolate");
      const hit = drawn("rect", { x: step > 0 ? x - 8 : 0, y: middle - tall / 2, width: step > 0 ? width - x + 8 : x + 8, height: tall, class: "hit" });
      const group = drawn("g", { class: `token ${side}`, tabindex: i || step > 0 ? -1 : 0, role: "img" }, hit, dot, label, value);
      group.setAttribute("aria-label", told(side, i));
      group.addEventListener("pointerenter", () => choose(side, i));
      group.addEventListener("pointerleave", () => choose("query", chosen));
      group.addEventListener("focus", () => choose(side, i));
      group.addEventListener("blur", () => choose("query", chosen));
      group.addEventListener("click", () => {
        chosen = side === "query" && chosen !== i ? i : null;
        onChoose(chosen);
        choose("query", chosen);
      });
      group.addEventListener("keydown", (event) => {
        const moves = { ArrowDown: [name, i + 1], ArrowUp: [name, i - 1], ArrowRight: ["keys", i], ArrowLeft: ["queries", i] };
        const [to, where] = moves[event.key] ?? [];
        if (event.key === "Enter" || event.key === " ") group.dispatchEvent(new Event("click"));
        else if (to) marks[to][Math.max(0, Math.min(where, marks[to].length - 1))].group.focus();
        else return;
        event.preventDefault();
        event.stopPropagation();
      });
      marks[name].push({ group, dot, value });
      svg.append(group);
    });
  }
  draw();
  return svg;
}
