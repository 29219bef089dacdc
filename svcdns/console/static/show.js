// How values are shown: everything that comes from the API may have been written by a stranger.
// `html` is the only way to make elements here, and it passes each text through `visible`: text nodes only,
// and no control or bidirectional character reaches the screen as itself.
import { h } from "./vendor/preact.mjs";
import htm from "./vendor/htm.mjs";

const UNSEEN = new RegExp("[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}\\p{Cs}\\p{Co}]", "gu");

export function visible(value) {
  return String(value).replace(UNSEEN, (c) => {
    const code = c.codePointAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
  });
}

const shown = (child) => (typeof child === "string" ? visible(child) : Array.isArray(child) ? child.map(shown) : child);
const TOLD = ["title", "aria-label"];

function element(type, props, ...children) {
  if (props && typeof type === "string") for (const name of TOLD) if (typeof props[name] === "string") props[name] = visible(props[name]);
  return h(type, props, ...children.map(typeof type === "string" ? shown : (child) => child));
}

export const html = htm.bind(element);

export function age(stamp, now) {
  const seconds = Math.max(0, Math.round((now - Date.parse(stamp)) / 1000));
  if (Number.isNaN(seconds)) return "";
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60]]) if (seconds >= 2 * size) return `${Math.floor(seconds / size)}${unit}`;
  return `${seconds}s`;
}

export const duration = (seconds) =>
  seconds === undefined || seconds === null ? "" : seconds < 0.001 ? `${Math.round(seconds * 1e6)} µs` : `${(seconds * 1000).toFixed(1)} ms`;

// The answer section of a reply as /svcdns/v1/explain prints it, as dig +noall +answer does.
export function answerLines(response) {
  const lines = (response ?? "").split("\n"), begin = lines.indexOf(";; ANSWER SECTION:") + 1;
  if (!begin) return [];
  const end = lines.indexOf("", begin);
  return lines.slice(begin, end < 0 ? undefined : end);
}

const PLAIN = /^[A-Za-z_/][A-Za-z0-9_./-]*$/;
const WORDS = /^(true|false|null|yes|no|on|off|y|n|~)$/i;
const scalar = (value) => (typeof value === "string" && PLAIN.test(value) && !WORDS.test(value) ? value : JSON.stringify(value));

// The lines of a value as YAML; managedFields left out, as kubectl does.
export function yamlLines(value, indent = "") {
  if (Array.isArray(value)) {
    return value.flatMap((item) => {
      const lines = isEmpty(item) ? [indent + "  " + scalar(item)] : yamlLines(item, indent + "  ");
      return [`${indent}- ${lines[0].slice(indent.length + 2)}`, ...lines.slice(1)];
    });
  }
  if (value === null || typeof value !== "object") return [indent + scalar(value)];
  return Object.entries(value).filter(([key]) => key !== "managedFields").flatMap(([key, item]) =>
    isEmpty(item) ? [`${indent}${scalar(key)}: ${scalar(item)}`] : [`${indent}${scalar(key)}:`, ...yamlLines(item, indent + "  ")]);
}

const isEmpty = (item) => item === null || typeof item !== "object" || Object.keys(item).length === 0;
