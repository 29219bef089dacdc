// Parts that several views are made of: tables, also of very many rows, texts to copy, errors, and what follows data.
import { Component } from "./vendor/preact.mjs";
import { T } from "./text.js";
import { html, visible } from "./show.js";

export const ROW_HEIGHT = 28;
const BEYOND = 12;

// A table of rows of one height, of which only those in sight are made.  `columns`: [heading, cell(row), class].
export class Rows extends Component {
  state = { from: 0, to: 60 };
  look = () => {
    if (!this.box) return;
    const from = Math.max(0, Math.floor(this.box.scrollTop / ROW_HEIGHT) - BEYOND);
    const to = Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW_HEIGHT) + BEYOND;
    if (from !== this.state.from || to !== this.state.to) this.setState({ from, to });
  };
  componentDidMount() {
    addEventListener("resize", this.look);
    this.look();
  }
  componentWillUnmount() {
    removeEventListener("resize", this.look);
  }
  render({ rows, columns, label, id }, { from, to }) {
    const end = Math.min(to, rows.length), begin = Math.min(from, end);
    const space = (count) => count > 0 && html`<tr aria-hidden="true" class="space"><td colspan=${columns.length} style=${{ height: `${count * ROW_HEIGHT}px` }}></td></tr>`;
    return html`<div class="rows" tabindex="0" role="region" aria-label=${label} ref=${(box) => (this.box = box)} onScroll=${this.look}>
      <table aria-rowcount=${rows.length + 1}>
        <thead><tr aria-rowindex="1">${columns.map(([heading, , kind]) => html`<th scope="col" class=${kind}>${heading}</th>`)}</tr></thead>
        <tbody>${space(begin)}${rows.slice(begin, end).map((row, index) => html`<tr key=${id(row)} aria-rowindex=${begin + index + 2}>${cells(columns, row)}</tr>`)}${space(rows.length - end)}</tbody>
      </table></div>`;
  }
}

const cells = (columns, row) => columns.map(([, cell, kind], index) =>
  index ? html`<td class=${kind}>${cell(row)}</td>` : html`<th scope="row" class=${kind}>${cell(row)}</th>`);

export const Table = ({ rows, columns, label, id }) => rows.length === 0 ? html`<p class="quiet">${T.none}</p>` : html`<div class="wide" tabindex="0" role="region" aria-label=${label}>
  <table><thead><tr>${columns.map(([heading, , kind]) => html`<th scope="col" class=${kind}>${heading}</th>`)}</tr></thead>
  <tbody>${rows.map((row, index) => html`<tr key=${id ? id(row) : index}>${cells(columns, row)}</tr>`)}</tbody></table></div>`;

export const Section = ({ title, children }) => html`<section><h2>${title}</h2>${children}</section>`;

export const Facts = ({ of }) => html`<dl class="facts">${of.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

export const State = ({ good, word }) => html`<span class=${good ? "good" : "bad"}><span aria-hidden="true">${good ? "●" : "○"}</span> ${word}</span>`;

// Lines of text as they are: an element a line, as a text never holds a line break of its own.
export const Lines = ({ of, label }) => html`<div class="lines" tabindex="0" role="region" aria-label=${label}>${of.map((line) => html`<div>${line || " "}</div>`)}</div>`;

export class Copy extends Component {
  copy = async () => {
    if (navigator.clipboard) await navigator.clipboard.writeText(this.props.text).catch(() => {});
    else {
      getSelection().selectAllChildren(this.text);
      document.execCommand("copy");
    }
    this.setState({ done: true });
    setTimeout(() => this.setState({ done: false }), 1500);
  };
  render({ text }, { done }) {
    return html`<span class="copy"><code ref=${(at) => (this.text = at)}>${text}</code><button type="button" onClick=${this.copy} aria-label=${`${T.copy} ${text}`}>${done ? T.copied : T.copy}</button></span>`;
  }
}

export const Failure = ({ error }) => error && error.code !== 0 && error.code !== 401
  ? html`<p class="failure" role="alert">${error.code === 403 ? T.forbidden(error.path, error.message) : error.code === 404 ? T.notThere : T.failed(error.path, error.code, error.message)}</p>` : null;

// Says how much there is, to those who listen too, but at most once in 5 s.
export class Said extends Component {
  state = { text: "" };
  componentDidMount() {
    this.say();
    this.timer = setInterval(this.say, 5000);
  }
  componentWillUnmount() {
    clearInterval(this.timer);
  }
  say = () => this.props.text !== this.state.text && this.setState({ text: this.props.text });
  render({ text }, said) {
    return html`<span class="quiet"><span aria-hidden="true">${text}</span><span class="unseen" role="status">${said.text}</span></span>`;
  }
}

// A view of what `begin(props, changed, failed)` follows; it renders `view(data, props)` once there is some.
export class Following extends Component {
  componentDidMount() {
    this.stop = this.props.begin((data) => this.setState({ data: { now: data }, error: null }), (error) => this.setState({ error }));
  }
  componentWillUnmount() {
    this.stop();
  }
  render({ view }, { data, error }) {
    return html`<${Failure} error=${error} />${data ? view(data.now) : !error && html`<p class="quiet">${T.loading}</p>`}`;
  }
}

export const quoted = (text) => (/^[A-Za-z0-9_./:-]+$/.test(text) ? text : `'${visible(text).replace(/'/g, "'\\''")}'`);

// Puts what is filtered by into the URL, without an entry of the history for each key.
export function filterBy(query, changes) {
  for (const [name, value] of Object.entries(changes)) value ? query.set(name, value) : query.delete(name);
  const { hash } = location;
  history.replaceState(null, "", `${hash.split("?")[0] || "#/overview"}${query.size ? `?${query}` : ""}`);
  dispatchEvent(new Event("hashchange"));
}
