// Views of what is registered: the overview, Services, Pods, and one of each with why DNS answers as it does.
import { Component } from "./vendor/preact.mjs";
import { T } from "./text.js";
import { age, answerLines, html, yamlLines } from "./show.js";
import { get, now } from "./api.js";
import { asking, follow, listPath } from "./follow.js";
import { Copy, Facts, Failure, Following, Lines, Rows, Said, Section, State, Table, filterBy, quoted } from "./parts.js";

const SERVICE_NAME = "kubernetes.io/service-name", ALIASES = "svcdns.io/aliases", NEWEST = 10;

const REDUCE = {
  services: ({ metadata, spec }) => ({
    namespace: metadata.namespace, name: metadata.name, created: metadata.creationTimestamp, type: spec.clusterIP === "None" ? "Headless" : spec.type,
    ip: spec.externalName ?? spec.clusterIP ?? "", ports: (spec.ports ?? []).map((port) => `${port.port}/${port.protocol}`).join(" "),
  }),
  endpointslices: ({ metadata, endpoints }) => ({
    namespace: metadata.namespace, service: metadata.labels?.[SERVICE_NAME],
    endpoints: (endpoints ?? []).map(({ addresses, conditions, hostname, targetRef }) => ({
      addresses, hostname, ready: conditions?.ready !== false, serving: conditions?.serving ?? conditions?.ready !== false, pod: targetRef?.kind === "Pod" ? targetRef.name : null,
    })),
  }),
  pods: ({ metadata, spec, status }) => {
    const ready = status?.conditions?.find(({ type }) => type === "Ready");
    return {
      namespace: metadata.namespace, name: metadata.name, created: metadata.creationTimestamp, labels: metadata.labels ?? {}, hostname: spec.hostname,
      ip: status?.podIP ?? "", ready: ready?.status === "True", why: [ready?.reason, ready?.message].filter(Boolean).join(": "), since: ready?.lastTransitionTime,
    };
  },
  events: ({ metadata, reason, message, type, count, involvedObject, lastTimestamp, eventTime }) => ({
    uid: metadata.uid, namespace: metadata.namespace, reason, message, type, count: count ?? 1, kind: involvedObject?.kind ?? "", object: involvedObject?.name ?? "",
    last: lastTimestamp ?? eventTime ?? metadata.creationTimestamp,
  }),
};
const reduce = (kind, object) => REDUCE[kind](object);
const link = (view, { namespace, name }) => html`<a href=${`#/${view}/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`}>${name}</a>`;
const byName = (one, other) => (one.namespace < other.namespace ? -1 : one.namespace > other.namespace ? 1 : one.name < other.name ? -1 : 1);

function readiness(slices) {
  const counts = new Map();
  for (const { namespace, service, endpoints } of slices.values()) {
    const at = `${namespace}/${service}`, [ready, all] = counts.get(at) ?? [0, 0];
    counts.set(at, [ready + endpoints.filter((one) => one.ready).length, all + endpoints.length]);
  }
  return counts;
}

// Namespaces to choose from: those that can be listed, and the one that is chosen.
class Namespace extends Component {
  state = { names: [] };
  componentDidMount() {
    get("api/v1/namespaces").then(({ items }) => this.setState({ names: items.map(({ metadata }) => metadata.name) }), () => {});
  }
  render({ query }, { names }) {
    const chosen = query.get("ns") ?? "";
    return html`<label>${T.namespace} <select value=${chosen} onChange=${({ target }) => filterBy(query, { ns: target.value })}>
      <option value="">${T.allNamespaces}</option>${[...new Set([...names, chosen])].filter(Boolean).map((name) => html`<option value=${name}>${name}</option>`)}</select></label>`;
  }
}

const Filters = ({ query, flags, said }) => html`<form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
  <${Namespace} query=${query} />
  <label>${T.filter} <input type="search" value=${query.get("q") ?? ""} onInput=${({ target }) => filterBy(query, { q: target.value })} /></label>
  ${flags.map(([name, words]) => html`<label class="flag"><input type="checkbox" checked=${query.has(name)} onChange=${({ target }) => filterBy(query, { [name]: target.checked && "1" })} /> ${words}</label>`)}
  <${Said} text=${said} /></form>`;

export function Services({ query }) {
  const namespace = query.get("ns") ?? "", text = (query.get("q") ?? "").toLowerCase();
  const view = (table) => {
    const counts = readiness(table.get("endpointslices"));
    const all = [...table.get("services").values()].map((one) => ({ ...one, counts: counts.get(`${one.namespace}/${one.name}`) ?? [0, 0] })).sort(byName);
    const rows = all.filter(({ namespace: at, name, ip, type, counts: [ready, of] }) => `${name}.${at} ${ip}`.toLowerCase().includes(text)
      && (!query.has("notready") || ready < of) && (!query.has("empty") || (of === 0 && type !== "ExternalName")));
    return html`<${Filters} query=${query} said=${T.rows(rows.length, all.length, T.services)} flags=${[["notready", T.notReady], ["empty", T.noEndpoints]]} />
      <${Rows} label=${T.services} rows=${rows} id=${(row) => `${row.namespace}/${row.name}`} columns=${[
        [T.name, (row) => link("services", row), "name"], [T.namespace, (row) => row.namespace, "middle"],
        [T.ready, ({ type, counts: [ready, of] }) => type === "ExternalName" ? "–" : html`<${State} good=${of > 0 && ready === of} word=${T.readyOf(ready, of)} />`, "number"],
        [T.type, (row) => row.type, "less"], [T.clusterIP, (row) => row.ip, "mono"], [T.ports, (row) => row.ports, "mono less"], [T.age, (row) => age(row.created, now()), "number less"],
      ]} />`;
  };
  return html`<h1>${T.services}</h1><${Following} key=${namespace} begin=${(changed, failed) => follow(["services", "endpointslices"], namespace, reduce, changed, failed)} view=${view} />`;
}

function servicesOfPods(slices) {
  const found = new Map();
  for (const { namespace, service, endpoints } of slices.values())
    for (const { pod } of endpoints) if (pod) found.set(`${namespace}/${pod}`, (found.get(`${namespace}/${pod}`) ?? new Set()).add(service));
  return found;
}

export function Pods({ query }) {
  const namespace = query.get("ns") ?? "", text = (query.get("q") ?? "").toLowerCase();
  const view = (table) => {
    const services = servicesOfPods(table.get("endpointslices"));
    const all = [...table.get("pods").values()].map((pod) => ({ ...pod, in: [...(services.get(`${pod.namespace}/${pod.name}`) ?? [])] })).sort(byName);
    const rows = all.filter((pod) => `${pod.name}.${pod.namespace} ${pod.ip} ${labels(pod)}`.toLowerCase().includes(text) && (!query.has("notready") || !pod.ready) && (!query.has("alone") || !pod.in.length));
    return html`<${Filters} query=${query} said=${T.rows(rows.length, all.length, T.pods)} flags=${[["notready", T.notReady], ["alone", T.notInService]]} />
      <${Rows} label=${T.pods} rows=${rows} id=${(row) => `${row.namespace}/${row.name}`} columns=${[
        [T.name, (row) => link("pods", row), "name"], [T.namespace, (row) => row.namespace, "middle"],
        [T.ready, (row) => html`<${State} good=${row.ready} word=${row.ready ? T.ready.toLowerCase() : T.notReady} />`, ""],
        [T.address, (row) => row.ip, "mono"], [T.inServices, (row) => row.in.join(" ") || T.notInService, ""], [T.labels, labels, "less"], [T.why, (row) => (row.ready ? "" : row.why), "less"],
      ]} />`;
  };
  return html`<h1>${T.pods}</h1><${Following} key=${namespace} begin=${(changed, failed) => follow(["pods", "endpointslices"], namespace, reduce, changed, failed)} view=${view} />`;
}

const labels = (pod) => Object.entries(pod.labels).map(([key, value]) => `${key}=${value}`).join(" ");

// What /svcdns/v1/explain says of a name to questions of these `types`, asked anew when what it follows from has
// changed, at most once a second.  `asked` are further parameters.
export class Explained extends Component {
  componentDidMount() {
    this.ask();
  }
  componentDidUpdate(before) {
    if (before.of !== this.props.of && !this.timer) this.timer = setTimeout(() => { this.timer = 0; this.ask(); }, 1000);
  }
  componentWillUnmount() {
    clearTimeout(this.timer);
    this.gone = true;
  }
  ask = () => {
    const { name, namespace, types = ["A"], asked = {} } = this.props;
    const one = (type) => get(`svcdns/v1/explain?${new URLSearchParams({ name, namespace, type, ...asked })}`);
    Promise.all(types.map(one)).then((all) => this.gone || this.setState({ all, error: null }), (error) => {
      if (this.gone) return;
      this.setState({ error });
      if (error.code === 0) this.timer ||= setTimeout(() => { this.timer = 0; this.ask(); }, 1000);  // no answer at all: a network that changes
    });
  };
  render({ view }, { all, error }) {
    return html`<${Failure} error=${error} />${all && view(all[0], all)}`;
  }
}

const Answers = ({ all }) => {
  const lines = all.flatMap(({ response }) => answerLines(response));
  return html`<${Section} title=${T.answersNow}>${lines.length ? html`<${Lines} label=${T.answersNow} of=${lines} />` : html`<p><${State} good=${false} word=${`${T.noAnswer}: ${all[0].rcode ?? T.unknown}`} /></p>`}<//>`;
};

export const Reasons = ({ found }) => html`<${Section} title=${T.explained}><${Facts} of=${[
  [T.reasons, list(found.reasons)], [T.readiness, list(found.sources)], [T.from, list(found.objects.map(objectLink))],
].filter(([, value]) => value)} /><//>`;

const list = (items) => items.length > 0 && html`<ul>${items.map((item) => html`<li>${item}</li>`)}</ul>`;

function objectLink(text) {
  const [, kind, namespace, name] = /^(Service|Pod) ([^/ ]+)\/([^/ ]+)$/.exec(text) ?? [];
  return kind ? html`${kind} ${link(kind === "Pod" ? "pods" : "services", { namespace, name })}` : text;
}

const Events = ({ events }) => html`<${Table} label=${T.events} rows=${events} id=${(row) => row.uid} columns=${[
  [T.age, (row) => age(row.last, now()), "number"], [T.reason, (row) => row.type === "Warning" ? html`<${State} good=${false} word=${row.reason} />` : row.reason, ""],
  [T.object, (row) => `${row.kind} ${row.namespace}/${row.object}`, "middle"], [T.message, (row) => row.message, "long"], [T.count, (row) => row.count, "number less"],
]} />`;
const newest = (events) => events.sort((one, other) => (one.last < other.last ? 1 : -1)).slice(0, NEWEST);

// One object with all that concerns it; `kind` is that of the list that it stands in.
function followOne(kind, namespace, name) {
  const kinds = ["services", "endpointslices", "pods", "events"];
  const keep = (of, object) => ({ ...reduce(of, object), ...(of === kind && object.metadata.name === name && { object }) });
  return (changed, failed) => follow(kinds, namespace, keep, changed, failed);
}

const eventsOf = (table, kind, name) => newest([...table.get("events").values()].filter((event) => event.kind === kind && event.object === name));

function namesOf(absolute, { metadata, spec }, endpoints) {
  const whole = absolute.replace(/\.$/, "");
  const short = `${metadata.name}.${metadata.namespace}.svc`, aliases = (metadata.annotations?.[ALIASES] ?? "").split(/[\s,]+/).filter(Boolean);
  const ports = (spec.ports ?? []).filter((port) => port.name).map((port) => `_${port.name}._${port.protocol.toLowerCase()}.${whole}`);
  const hosts = spec.clusterIP === "None" ? [...new Set(endpoints.map((one) => one.hostname).filter(Boolean))].map((host) => `${host}.${whole}`) : [];
  return [...new Set([whole, short, ...ports, ...hosts, ...aliases])];
}

// Where it is reached from outside: addresses of load balancers and of its own, and ports of each node.
function outside({ spec, status }) {
  const addresses = [...(status?.loadBalancer?.ingress ?? []).map((one) => one.ip ?? one.hostname), ...(spec.externalIPs ?? [])];
  const ports = (spec.ports ?? []).filter((port) => port.nodePort).map((port) => `${T.node}:${port.nodePort}/${port.protocol}`);
  return [...new Set(addresses), ...ports];
}

export function Service({ namespace, name }) {
  const view = (table) => {
    const row = table.get("services").get(`${namespace}/${name}`);
    if (!row?.object) return html`<p>${T.notThere}</p>`;
    const pods = table.get("pods"), slices = [...table.get("endpointslices").values()].filter((slice) => slice.service === name);
    const endpoints = slices.flatMap((slice) => slice.endpoints).map((one) => ({ ...one, of: pods.get(`${namespace}/${one.pod}`) }));
    const at = `-n ${quoted(namespace)}`;
    return html`<${Facts} of=${[[T.type, row.type], [T.clusterIP, html`<code>${row.ip}</code>`], [T.ports, row.ports], [T.ready, T.readyOf(endpoints.filter((one) => one.ready).length, endpoints.length)], [T.age, age(row.created, now())],
        ...(outside(row.object).length ? [[T.outside, html`<code>${outside(row.object).join(" ")}</code>`]] : [])]} />
      <${Explained} name=${`${name}.${namespace}.svc`} namespace=${namespace} types=${["A", "AAAA", "SRV"]} of=${table} view=${(found, all) => html`
        <${Section} title=${T.names}><ul class="names">${namesOf(found.name, row.object, endpoints).map((text) => html`<li><${Copy} text=${text} /></li>`)}</ul><//>
        <${Answers} all=${all} /><${Reasons} found=${found} />`} />
      <${Section} title=${T.endpoints}><${Table} label=${T.endpoints} rows=${endpoints} id=${(one) => one.addresses[0] + one.pod} columns=${[
        [T.address, (one) => one.addresses.join(" "), "mono"], [T.pod, (one) => (one.pod ? link("pods", { namespace, name: one.pod }) : "–"), ""],
        [T.ready, (one) => html`<${State} good=${one.ready} word=${one.ready ? T.ready.toLowerCase() : T.notReady} />`, ""],
        [T.serving, (one) => (one.serving ? T.yes : T.no), "less"], [T.hostname, (one) => one.hostname ?? "", "less"], [T.why, (one) => one.of?.why ?? "", "long"], [T.age, (one) => age(one.of?.since, now()), "number less"],
      ]} /><//>
      <${Section} title=${T.events}><${Events} events=${eventsOf(table, "Service", name)} /><//>
      <${Section} title=${T.commands}><ul class="names">${[`kubectl ${at} edit service ${quoted(name)}`, `kubectl ${at} get endpointslices -l ${SERVICE_NAME}=${quoted(name)}`, `svcdns why ${quoted(`${name}.${namespace}`)}`].map((text) => html`<li><${Copy} text=${text} /></li>`)}</ul><//>
      <details><summary>${T.yaml}</summary><${Lines} label=${T.yaml} of=${yamlLines(row.object)} /></details>`;
  };
  return html`<h1><small>${T.service}</small> ${namespace}/${name}</h1><${Following} begin=${followOne("services", namespace, name)} view=${view} />`;
}

export function Pod({ namespace, name }) {
  const view = (table) => {
    const pod = table.get("pods").get(`${namespace}/${name}`);
    if (!pod?.object) return html`<p>${T.notThere}</p>`;
    const services = [...(servicesOfPods(table.get("endpointslices")).get(`${namespace}/${name}`) ?? [])], at = `-n ${quoted(namespace)}`;
    return html`<${Facts} of=${[[T.address, html`<code>${pod.ip}</code>`], [T.ready, html`<${State} good=${pod.ready} word=${pod.ready ? T.ready.toLowerCase() : T.notReady} />`], [T.why, pod.why], [T.labels, labels(pod)],
        [T.inServices, services.length ? services.map((service) => html`${link("services", { namespace, name: service })} `) : html`<${State} good=${false} word=${T.notInService} />`]]} />
      <${Explained} name=${name} namespace=${namespace} of=${table} view=${(found, all) => html`<${Answers} all=${all} /><${Reasons} found=${found} />`} />
      <${Section} title=${T.events}><${Events} events=${eventsOf(table, "Pod", name)} /><//>
      <${Section} title=${T.commands}><ul class="names">${[`kubectl ${at} label pod ${quoted(name)} KEY=VALUE --overwrite`, `kubectl ${at} annotate pod ${quoted(name)} svcdns.io/ready=false`, `svcdns why ${quoted(name)} ${at}`].map((text) => html`<li><${Copy} text=${text} /></li>`)}</ul><//>
      <details><summary>${T.yaml}</summary><${Lines} label=${T.yaml} of=${yamlLines(pod.object)} /></details>`;
  };
  return html`<h1><small>${T.pod}</small> ${namespace}/${name}</h1><${Following} begin=${followOne("pods", namespace, name)} view=${view} />`;
}

const Status = ({ status }) => html`<${Facts} of=${[
  [T.services, html`<a href="#/services">${status.objects.services}</a>`], [T.pods, html`<a href="#/pods">${status.objects.pods}</a>`],
  [T.endpoints, `${T.readyOf(status.endpoints.ready, status.endpoints.all)} ${T.ready.toLowerCase()}`],
  [T.notReadyCount, html`<a href="#/services?notready=1">${status.endpoints.all - status.endpoints.ready}</a>`],
  ...(status.endpoints.services_without_ready ? [[T.answeringNotReady, status.endpoints.services_without_ready]] : []), [T.upstreams, html`<a href="#/upstreams">${T.readyOf(status.upstreams.filter((one) => one.up).length, status.upstreams.length)} ${T.up}</a>`],
  [T.version, status.version],
]} />
  <${Section} title=${T.processes}><ul class="inline">${status.processes.map((one) => html`<li><${State} good=${one.up} word=${one.name} /></li>`)}</ul><//>
  ${status.proxies.length > 0 && html`<${Section} title=${T.proxies}><ul class="inline">${status.proxies.map((one) => html`<li><${State} good=${one.state === "ready"} word=${T.proxy(one)} /></li>`)}</ul><//>`}
  ${status.warnings.length > 0 && html`<${Section} title=${T.warnings}>${list(status.warnings)}<//>`}`;

const rate = (number) => (number < 10 ? Number(number).toFixed(1) : Math.round(number));
const Stats = ({ stats }) => {
  const { questions, rcodes, sources } = stats.perSecond["10s"], durations = stats.last["1m"].durations;
  return html`<${Section} title=${T.questions}><${Facts} of=${[["10 s", rate(questions)], ...Object.entries(rcodes).map(([name, number]) => [name, rate(number)]), ...Object.entries(sources).map(([name, number]) =>
    [`${T.from.toLowerCase()} ${name}`, `${rate(number)}${durations[name]?.p50 !== undefined ? ` · p50 ${(durations[name].p50 * 1000).toFixed(2)} ms · p99 ${(durations[name].p99 * 1000).toFixed(2)} ms` : ""}`])]} /><//>`;
};

export const Overview = () => html`<h1>${T.overview}</h1>
  <${Following} begin=${(changed, failed) => asking("svcdns/v1/status", changed, failed)} view=${(status) => html`<${Status} status=${status} />`} />
  <${Following} begin=${(changed, failed) => asking("svcdns/v1/stats", changed, failed)} view=${(stats) => html`<${Stats} stats=${stats} />`} />
  <${Section} title=${T.events}><${Following} begin=${(changed, failed) => follow(["events"], "", reduce, changed, failed)} view=${(table) => html`<${Events} events=${newest([...table.get("events").values()])} />`} /><//>`;
