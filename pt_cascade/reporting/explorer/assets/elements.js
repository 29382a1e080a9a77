// @ts-check
// Elements, tables and numbers as text, and what is copied of them. All text enters as text, never as markup.

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** Make an element. @param {string} tag @param {object} given its properties @param {(Node|string)[]} inner @returns {any} */
function make(tag, given = {}, ...inner) {
  const made = document.createElement(tag);
  const { style, ...rest } = /** @type {any} */ (given);
  Object.assign(made, rest);
  Object.assign(made.style, style ?? {});
  made.append(...inner);
  return made;
}

/** Fill a table. @param {string} id @param {any[][]} heads each with whether it is of numbers @param {(Node|string)[][]} rows */
function fillTable(id, heads, rows, here = -1) {
  const row = (cells, tag) => cells.map((cell, n) => make(tag, { className: heads[n][1] ? "number" : "words", ...(tag === "th" ? { scope: "col" } : {}) }, cell));
  const head = make("thead", {}, make("tr", {}, ...row(heads.map(([name]) => name), "th")));
  const body = rows.map((cells, n) => make("tr", { className: n === here ? "here" : "" }, ...row(cells, "td")));
  element(id).replaceChildren(head, make("tbody", {}, ...body));
}

/** A text's beginning, where it is long. @param {string} text */
const brief = (text) => (text.length > 200 ? `${[...text].slice(0, 200).join("")}…` : text);
/** A name that a user gave, whose direction of writing stays its own. @param {string} text */
const isolate = (text) => make("bdi", {}, brief(text));
const four = (value) => value.toFixed(4).replace(/^-(0\.0+)$/, "$1");
const signed = (value) => (four(value).startsWith("-") ? four(value).replace("-", "−") : `+${four(value)}`);
const amount = (value) => (Number.isFinite(value) ? Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 }) : "none");

/** Copy a text. @returns {Promise<boolean>} whether it was copied */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { value: text, readOnly: true });
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

/** The cells of a table as text. @returns {string[][]} */
function readTable(id) {
  return [...element(id).rows].map((row) => [...row.cells].map((cell) => cell.textContent));
}

/** @param {string[][]} rows */
function asMarkdown(rows) {
  const clean = (cell) => cell.replace(/[\\`*|<&_$~]|\](?=[([])/g, "\\$&");  // as markup.py
  const lines = rows.map((row) => `| ${row.map(clean).join(" | ")} |`);
  lines.splice(1, 0, `|${rows[0].map(() => "---|").join("")}`);
  return `${lines.join("\n")}\n`;
}

/** @param {string[][]} rows */
function asLatex(rows) {
  const named = { "\\": "textbackslash", "~": "textasciitilde", "^": "textasciicircum" };
  const symbols = { "→": "\\rightarrow", "·": "\\cdot", "†": "\\dagger", "≤": "\\leq", "≥": "\\geq", "−": "-", "<": "<", ">": ">", "|": "|" };
  const escape = (sign) => (named[sign] ? `\\${named[sign]}{}` : symbols[sign] ? `$${symbols[sign]}$` : `\\${sign}`);
  const clean = (cell) => cell.replace(/[\\~^→·†≤≥−<>|&%$#_{}]/g, escape).replace(/-(?=-)/g, "-{}");  // as markup.py
  const [head, ...body] = rows.map((row) => `${row.map(clean).join(" & ")} \\\\`);
  return `\\begin{tabular}{ll${"r".repeat(rows[0].length - 2)}}\n\\toprule\n${head}\n\\midrule\n${body.join("\n")}\n\\bottomrule\n\\end{tabular}\n`;
}
