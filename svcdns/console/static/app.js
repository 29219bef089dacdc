// The frame: which view a URL means, the links between them, the colours, the login, and whether the API answers.
// A view is the part of the URL behind "#": "#/services/shop/web?q=..."; so it can be sent to others, and all paths stay relative.
import { Component, render } from "./vendor/preact.mjs";
import { T } from "./text.js";
import { html } from "./show.js";
import { connection, logIn, logOut, whoAmI } from "./api.js";
import { Overview, Services, Service, Pods, Pod } from "./registry_views.js";
import { Lookup, Queries, Upstreams } from "./dns_views.js";

const VIEWS = { overview: Overview, services: Services, pods: Pods, lookup: Lookup, queries: Queries, upstreams: Upstreams };
const ONE = { services: Service, pods: Pod };

function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decoded);
  const [view = "overview", namespace, name] = parts;
  const Shown = parts.length === 3 ? ONE[view] : parts.length <= 1 && Object.hasOwn(VIEWS, view) ? VIEWS[view] : null;
  return { Shown, view, namespace, name, query: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

class Login extends Component {
  send = async (event) => {
    event.preventDefault();
    try {
      await logIn(new FormData(event.target).get("token").trim());
    } catch (error) {
      this.setState({ failed: error.code === 401 ? T.loginFailed : error.message });
    }
  };
  render(_, { failed }) {
    return html`<form class="login" onSubmit=${this.send}><h1>${T.login}</h1><p>${T.loginAbout}</p>
      <label>${T.token}<input name="token" type="password" autocomplete="current-password" required /></label>
      <button>${T.login}</button>${failed && html`<p class="failure" role="alert">${failed}</p>`}</form>`;
  }
}

class Away extends Component {
  componentDidMount() {
    this.timer = setInterval(() => this.setState({}), 1000);
  }
  componentWillUnmount() {
    clearInterval(this.timer);
  }
  render() {
    const wait = Math.max(0, Math.ceil((connection.retryAt - Date.now()) / 1000));
    return html`<div class="away"><span class="unseen" role="alert">${T.down_(clock(connection.since), "…")}</span><span aria-hidden="true">${T.down_(clock(connection.since), wait)}</span></div>`;
  }
}

const clock = (time) => new Date(time).toLocaleTimeString();

class App extends Component {
  state = { at: route(), theme: stored() };
  componentDidMount() {
    addEventListener("hashchange", () => {
      const at = route(), before = this.state.at;
      this.setState({ at }, () => at.view + at.name !== before.view + before.name && document.querySelector("main")?.focus());
    });
    connection.changed = () => this.setState({});
    whoAmI();
    paint(this.state.theme);
  }
  theme = (event) => {
    const theme = event.target.value;
    try {
      localStorage.setItem("svcdns-theme", theme);
    } catch { /* a browser that keeps nothing */ }
    paint(theme);
    this.setState({ theme });
  };
  render(_, { at, theme }) {
    document.title = [at.name, T[at.view] ?? at.view, T.title].filter(Boolean).join(" · ");
    const content = connection.login ? html`<${Login} />` : at.Shown
      ? html`<${at.Shown} key=${`${at.view}/${at.namespace}/${at.name}`} ...${at} />` : html`<h1>${T.noPage}</h1>`;
    return html`<a class="skip" href="#content" onClick=${skip}>${T.skip}</a>
      <header><strong>${T.title}</strong><nav aria-label=${T.views}>${Object.keys(VIEWS).map((view) =>
        html`<a href=${`#/${view}`} aria-current=${view === at.view ? "page" : undefined}>${T[view]}</a>`)}</nav>
        <label class="theme"><span class="unseen">${T.theme}</span><select value=${theme} onChange=${this.theme}>
          ${["system", "light", "dark"].map((name) => html`<option value=${name}>${T[name]}</option>`)}</select></label>
        ${connection.user && html`<button onClick=${logOut}>${T.logOut} ${connection.user}</button>`}</header>
      ${connection.since && html`<${Away} />`}
      <main id="content" tabindex="-1" class=${connection.since ? "old" : ""}>${content}</main>`;
  }
}

function skip(event) {
  event.preventDefault();
  document.querySelector("main").focus();
}

function stored() {
  try {
    const theme = localStorage.getItem("svcdns-theme");
    return ["light", "dark"].includes(theme) ? theme : "system";
  } catch {
    return "system";
  }
}

const paint = (theme) => (theme === "system" ? document.documentElement.removeAttribute("data-theme") : document.documentElement.setAttribute("data-theme", theme));

const place = document.getElementById("app");
place.textContent = "";
render(html`<${App} />`, place);
