// The docs page: shows openapi.json, and tries operations that read. Nothing is loaded from elsewhere or kept.
"use strict";

const $ = (id) => document.getElementById(id);
let api = null;
let token = "";

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick" || name === "onsubmit" || name === "ontoggle") element[name] = value;
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

function deref(value) {
  if (!value || !value.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((at, key) => at[key], api);
}

function send(path) {
  return fetch(path, { headers: token ? { authorization: `Bearer ${token}` } : {} });
}

async function load() {
  const answer = await send("openapi.json");
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
    $("status").textContent = `${problem.detail}. Give a token with the scope schema:read above.`;
    return;
  }
  api = await answer.json();
  list();
  show();
}

function operations() {
  return Object.entries(api.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })));
}

function scopesOf(operation) {
  return operation.security.map((each) => each.bearer);
}

function list() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = new Map();
  for (const each of operations()) {
    const text = [each.method, each.path, each.operation.operationId, each.operation.summary, scopesOf(each.operation)]
      .join(" ").toLowerCase();
    if (words.every((word) => text.includes(word))) {
      const tag = each.operation.tags[0];
      groups.set(tag, [...(groups.get(tag) || []), each]);
    }
  }
  $("list").replaceChildren(...[...groups].flatMap(([tag, found]) => [
    make("h3", {}, tag),
    ...found.map(({ path, method, operation }) => make("a", { href: `#${operation.operationId}`, title: operation.summary },
      make("span", { class: `method ${method}` }, method.toUpperCase()), path.replace("/api/v1", ""))),
  ]));
}

function typeOf(schema) {
  const bare = deref(schema);
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (bare.enum) return bare.enum.join(" | ");
  if (bare.const) return bare.const;
  if (bare.anyOf) return bare.anyOf.map(typeOf).join(" | ");
  if (bare.type === "array") return `[${typeOf(bare.items)}]`;
  return [].concat(bare.type || "any").join(" | ");
}

function named(schema) {
  if (schema.$ref) return schema;
  const inner = (schema.anyOf || []).find((each) => named(each)) || schema.items;
  return inner ? named(inner) : null;
}

function fields(schema) {
  const bare = deref(schema);
  if (bare.type === "array") return fields(bare.items);
  const required = new Set(bare.required || []);
  const rows = Object.entries(bare.properties || {}).map(([name, value]) => make("tr", {},
    make("td", {}, make("code", {}, name), required.has(name) ? " *" : ""),
    make("td", {}, make("code", {}, typeOf(value)), " ", value.description || "",
      ...(value["x-scopes"] || []).map((scopes) => make("span", { class: "scope" }, scopes.join(" + "))),
      inside(value))));
  const ways = (bare.anyOf || []).filter((each) => deref(each).properties);
  if (ways.length > 1) return make("div", {}, bare.description || "", ...ways.map(fields));
  return make("div", {}, bare.enum || !rows.length ? bare.description || "" : "", make("table", {}, ...rows));
}

function inside(schema) {
  const target = named(schema);
  if (!target || !deref(target)) return null;
  const details = make("details", { ontoggle() { if (details.open && details.children.length === 1) details.append(fields(target)); } },
    make("summary", {}, typeOf(target)));
  return details;
}

function parameters(operation) {
  return (operation.parameters || []).map(deref);
}

function show() {
  if (!api) return;
  const id = location.hash.slice(1);
  const found = operations().find(({ operation }) => operation.operationId === id);
  for (const link of $("list").querySelectorAll("a")) {
    if (link.hash === location.hash) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  }
  if (!found) {
    $("shown").replaceChildren(make("h2", {}, `${api.info.title} ${api.info.version}`), make("pre", {}, api.info.description));
    return;
  }
  const { path, method, operation } = found;
  const body = operation.requestBody && operation.requestBody.content["application/json"];
  const given = parameters(operation);
  $("shown").replaceChildren(...[
    make("h2", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), path),
    make("p", {}, operation.summary),
    make("p", {}, "Scopes: ", ...scopesOf(operation).flatMap((scopes, n) => [n ? " or " : "",
      make("span", { class: "scope" }, scopes.join(" + ") || "none")]), operation["x-graphql"] ? make("span", { class: "faint" }, ` GraphQL: ${operation["x-graphql"]}`) : ""),
    method === "get" ? attempt(path, given) : null,
    given.length ? make("h3", {}, "Parameters") : null,
    given.length ? make("table", {}, ...given.map((each) => make("tr", {},
      make("td", {}, make("code", {}, each.name), each.required ? " *" : "", make("span", { class: "faint" }, ` ${each.in}`)),
      make("td", {}, make("code", {}, typeOf(each.schema || each.content["application/json"].schema)), " ", each.description || "",
        inside(each.schema || each.content["application/json"].schema))))) : null,
    body ? make("h3", {}, "Body") : null,
    body ? fields(body.schema) : null,
    body && body.example ? make("pre", {}, JSON.stringify(body.example, null, 2)) : null,
    make("h3", {}, "Answers"),
    make("table", {}, ...Object.entries(operation.responses).map(([status, response]) => {
      const content = Object.values(deref(response).content || {})[0];
      return make("tr", {}, make("td", {}, make("code", {}, status)),
        make("td", {}, deref(response).description, content ? inside(content.schema) : null));
    })),
  ].filter(Boolean));
}

function attempt(path, given) {
  const inputs = given.filter((each) => each.in === "path" || each.in === "query").map((each) => [each,
    make("input", { placeholder: each.example || (each.style === "deepObject" ? "NAME=VALUE" : ""), "aria-label": each.name })]);
  const answer = make("pre", { hidden: "" });
  const rows = inputs.map(([each, input]) => make("tr", {}, make("td", {}, make("code", {}, each.name), each.required ? " *" : ""), make("td", {}, input)));
  const needed = rows.filter((_, n) => inputs[n][0].required || ["fields", "limit"].includes(inputs[n][0].name));
  const others = rows.filter((row) => !needed.includes(row));
  return make("details", {}, make("summary", {}, "Try it"),
    make("form", { async onsubmit(event) {
      event.preventDefault();
      let url = path;
      const query = new URLSearchParams();
      for (const [each, input] of inputs) {
        if (each.in === "path") url = url.replace(`{${each.name}}`, encodeURIComponent(input.value || each.example || ""));
        else if (each.style === "deepObject") {
          if (input.value) query.append(`${each.name}[${input.value.split("=")[0]}]`, input.value.split("=").slice(1).join("="));
        } else if (input.value) for (const value of each.explode && each.schema.type === "array" ? input.value.split(",") : [input.value]) query.append(each.name, value);
      }
      const target = String(query) ? `${url}?${query}` : url;
      answer.hidden = false;
      answer.textContent = `GET ${target}\n…`;
      const base = location.pathname.slice(0, location.pathname.indexOf("/api/v1"));
      const got = await send(base + target).catch((error) => error);
      if (got instanceof Error) { answer.textContent = `GET ${target}\n${got.message}`; return; }
      const text = await got.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is no JSON */ }
      answer.textContent = `GET ${target}\n${got.status} ${got.statusText}\n\n${shown}`;
    } }, make("table", {}, ...needed), others.length ? make("details", {}, make("summary", {}, "More parameters"), make("table", {}, ...others)) : null,
    make("button", {}, "Send")), answer);
}

$("entry").onsubmit = (event) => { event.preventDefault(); token = $("token").value.trim(); load(); };
$("filter").oninput = () => { if (api) list(); };
window.onhashchange = show;
load();
