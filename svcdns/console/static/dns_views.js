// Views of DNS itself: what one name answers, what is asked, and how the upstreams are.
import { Component } from "./vendor/preact.mjs";
import { T } from "./text.js";
import { duration, html } from "./show.js";
import { get, lines, pause } from "./api.js";
import { asking, keep } from "./follow.js";
import { Copy, Failure, Following, Rows, Section, State, Table, filterBy, quoted } from "./parts.js";
import { Explained, Explanation } from "./registry_views.js";

const KEPT = 500, POLL_SECONDS = 5, CHOICES = {
  rcode: ["", "noerror", "nodata", "nxdomain", "servfail", "refused", "formerr"], source: ["", "own", "zone", "cache", "forward", "none"],
};

export function Lookup({ query }) {
  const name = query.get("name") ?? "", namespace = query.get("ns") || "default";
  const look = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    filterBy(query, { name: form.get("name").trim(), ns: form.get("ns").trim() });
  };
  return html`<h1>${T.lookup}</h1><form class="filters" role="search" onSubmit=${look}>
    <label>${T.name} <input name="name" required maxlength="253" value=${name} spellcheck=${false} autocapitalize="off" /></label>
    <label>${T.namespace} <input name="ns" maxlength="63" value=${namespace} spellcheck=${false} autocapitalize="off" /></label><button>${T.look}</button></form>
    ${name && html`<${Explained} key=${`${name} ${namespace}`} name=${name} namespace=${namespace} view=${(found) => html`
      <p class="asked"><code>${found.name}</code></p><${Explanation} found=${found} />
      <${Section} title=${T.commands}><${Copy} text=${`svcdns why ${quoted(name)} -n ${quoted(namespace)}`} /><//>`} />`}`;
}

// Questions as they come, the newest first; those of before, every 5 s, where this tab may have no stream.
class Tail extends Component {
  state = { queries: [], paused: false, lost: 0, error: null };
  componentDidMount() {
    const { words } = this.props;
    let id = 0;
    const add = (found) => {
      if (this.state.paused || !found.length) return;
      const fresh = found.map((one) => ({ ...one, id: id++ })).reverse();
      this.setState(({ queries }) => ({ queries: [...fresh, ...queries].slice(0, KEPT), error: null }));
    };
    this.stop = keep(async (signal, slot) => {
      const recent = async () => {
        const page = await get(`svcdns/v1/queries?last=100&${words}`, signal);
        this.setState({ queries: [], error: null, began: page.began, sample: page.sample });
        add(page.queries);
      };
      if (!slot) for (;;) { if (!this.state.paused) await recent(); await pause(POLL_SECONDS, signal); if (signal.aborted) return; }
      await recent();
      for await (const batch of lines(`svcdns/v1/queries?follow=1&${words}`, signal)) {
        add(batch.filter((line) => line.qname !== undefined));
        const lost = batch.reduce((sum, line) => sum + (line.lost ?? 0), 0);
        if (lost) this.setState((state) => ({ lost: state.lost + lost }));
      }
    }, (error) => this.setState({ error }));
  }
  componentWillUnmount() {
    this.stop();
  }
  render(_, { queries, paused, lost, error, began, sample }) {
    if (error?.code === 503) return html`<p class="failure">${T.tapOff} <span>${error.message}</span></p>`;
    return html`<${Failure} error=${error} /><p class="bar"><button type="button" aria-pressed=${paused} onClick=${() => this.setState({ paused: !paused })}>${paused ? T.go : T.pause}</button>
      <${State} good=${!paused} word=${paused ? T.paused : T.live} /> <span class="quiet">${sample > 1 ? T.every(sample) : ""} ${lost > 0 ? T.lost(lost) : ""} ${began ? T.began : ""}</span></p>
      <${Rows} label=${T.queries} rows=${queries} id=${(row) => row.id} columns=${[
        [T.name, (row) => row.qname, "name mono"], [T.type, (row) => row.qtype, ""], [T.rcode, (row) => row.rcode, ""], [T.source, (row) => row.source, "middle"],
        [T.client, (row) => row.client_ip ?? "", "mono less"], [T.took, (row) => duration(row.duration_seconds), "number less"], [T.time, (row) => (row.ts ?? "").slice(11, 23), "mono less"],
      ]} />`;
  }
}

const Top = ({ title, rows }) => html`<${Section} title=${title}><${Table} label=${title} rows=${rows.slice(0, 20)} columns=${[[T.name, (row) => row.name, "mono long"], [T.count, (row) => `${row.error ? "~" : ""}${row.count}`, "number"]]} /><//>`;

const Tops = ({ query }) => {
  const span = ["1m", "5m", "60m"].includes(query.get("span")) ? query.get("span") : "1m";
  return html`<${Following} begin=${(changed, failed) => asking("svcdns/v1/stats", changed, failed)} view=${(stats) => html`
    <label class="span">${T.span} <select value=${span} onChange=${({ target }) => filterBy(query, { span: target.value })}>${["1m", "5m", "60m"].map((name) => html`<option>${name}</option>`)}</select></label>
    <div class="columns">${[["names", T.topNames], ["clients", T.topClients], ["nxdomain", T.topNxdomain]].map(([of, title]) => html`<${Top} title=${title} rows=${stats.last[span][of]} />`)}</div>`} />`;
};

export function Queries({ query }) {
  const words = new URLSearchParams(["name", "client", "rcode", "source"].filter((name) => query.get(name)).map((name) => [name, query.get(name)])).toString();
  const text = (name, label) => html`<label>${label} <input name=${name} value=${query.get(name) ?? ""} onChange=${({ target }) => filterBy(query, { [name]: target.value.trim() })} /></label>`;
  const choice = (name, label) => html`<label>${label} <select value=${query.get(name) ?? ""} onChange=${({ target }) => filterBy(query, { [name]: target.value })}>${CHOICES[name].map((one) => html`<option>${one}</option>`)}</select></label>`;
  return html`<h1>${T.queries}</h1><form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>${text("name", T.name)}${text("client", T.client)}${choice("rcode", T.rcode)}${choice("source", T.source)}</form>
    <${Tail} key=${words} words=${words} /><${Tops} query=${query} />`;
}

export const Upstreams = () => html`<h1>${T.upstreams}</h1>
  <${Following} begin=${(changed, failed) => asking("svcdns/v1/status", changed, failed)} view=${({ upstreams }) => upstreams.length === 0 ? html`<p>${T.noUpstreams}</p>` : html`<${Table} label=${T.upstreams} rows=${upstreams} columns=${[
    [T.upstream, (one) => one.upstream, "mono"], [T.zone, (one) => one.zone, "mono"], [T.state, (one) => html`<${State} good=${one.up} word=${one.up ? T.up : T.down} />`, ""]]} />`} />`;
