// Views of DNS itself: what one name answers, what is asked, and how the upstreams are.
import { Component } from "./vendor/preact.mjs";
import { T } from "./text.js";
import { duration, html } from "./show.js";
import { get, lines, pause } from "./api.js";
import { asking, keep } from "./follow.js";
import { Copy, Facts, Failure, Following, Lines, Rows, Section, State, Table, filterBy, quoted } from "./parts.js";
import { Explained, Reasons } from "./registry_views.js";

const TYPES = ["A", "AAAA", "SRV", "PTR", "CNAME", "TXT", "MX", "NS", "SOA", "ANY"];
const KEPT = 500, POLL_SECONDS = 5, CHOICES = {
  rcode: ["", "noerror", "nodata", "nxdomain", "servfail", "refused", "formerr"], source: ["", "own", "zone", "cache", "forward", "none"],
};

// Where an answer comes from, by the words of /svcdns/v1/explain.
const origin = ({ source, zone, file, line, age, ttl, upstreams, ended }) => [
  [T.source, source && T.sources[source]], [T.zone, zone && html`<code>${zone}</code>`], [T.file, file && html`<code>${file}${line ? `:${line}` : ""}</code>`],
  [T.cachedSince, age !== undefined && `${age} s`], [T.cachedFor, ttl !== undefined && `${ttl} s`], [T.upstreams, upstreams?.length && upstreams.join(", ")], [T.ended, ended],
].filter(([, value]) => value);

const Found = ({ found }) => html`
  <p class="asked"><${State} good=${found.rcode === "NOERROR"} word=${found.rcode ?? T.unknown} /> <code>${found.name}</code></p>
  ${found.response && html`<${Section} title=${T.answersNow}><${Lines} label=${T.answersNow} of=${found.response.split("\n")} /><//>`}
  <${Section} title=${T.origin}><${Facts} of=${origin(found.origin ?? {})} /><//>
  ${found.search && html`<${Section} title=${T.searched}><${Table} label=${T.searched} rows=${found.search} columns=${[
    [T.name, (row) => row.name, "mono long"], [T.rcode, (row) => row.rcode ?? T.unknown, ""], [T.source, (row) => T.sources[row.source] ?? row.source, ""]]} /><//>`}
  <${Reasons} found=${found} />`;

export function Lookup({ query }) {
  const name = query.get("name") ?? "", namespace = query.get("ns") || "default", type = query.get("type") || "A";
  const asked = Object.fromEntries(["client", "search", "forward"].filter((word) => query.get(word)).map((word) => [word, query.get(word)]));
  const look = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    filterBy(query, Object.fromEntries(["name", "ns", "type", "client", "search", "forward"].map((word) => [word, (form.get(word) ?? "").trim()])));
  };
  const plain = { spellcheck: false, autocapitalize: "off" };
  return html`<h1>${T.lookup}</h1><form class="filters" role="search" onSubmit=${look}>
    <label>${T.name} <input name="name" required maxlength="253" value=${name} ...${plain} /></label>
    <label>${T.type} <select name="type" value=${type}>${TYPES.map((one) => html`<option>${one}</option>`)}</select></label>
    <label>${T.namespace} <input name="ns" maxlength="63" value=${namespace} ...${plain} /></label>
    <label>${T.client} <input name="client" maxlength="45" size="16" placeholder=${T.yours} value=${query.get("client") ?? ""} ...${plain} /></label>
    <label class="flag"><input type="checkbox" name="search" value="1" checked=${query.has("search")} /> ${T.bySearch}</label>
    <label class="flag"><input type="checkbox" name="forward" value="1" checked=${query.has("forward")} /> ${T.askUpstreams}</label><button>${T.look}</button></form>
    ${name && html`<${Explained} key=${`${query}`} name=${name} namespace=${namespace} types=${[type]} asked=${asked} view=${(found) => html`
      <${Found} found=${found} />
      <${Section} title=${T.commands}><${Copy} text=${`svcdns why ${quoted(name)} -n ${quoted(namespace)}${type === "A" ? "" : ` --type ${type}`}`} /><//>`} />`}`;
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
    [T.upstream, (one) => one.upstream, "mono"], [T.zone, (one) => one.zone, "mono"], [T.state, (one) => html`<${State} good=${one.up} word=${one.up ? T.up : one.looped ? T.looped : T.down} />`, ""],
    [T.took, (one) => duration(one.seconds), "number"], ...["answered", "failed", "servfail", "garbage"].map((word) => [T[word], (one) => one[word], "number less"])]} />`} />`;
