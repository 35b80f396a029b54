// Features in which the client asks: lists, calls, progress, cancelling, big and many calls.

import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";

import { call, until } from "./gateway.mjs";
import { callOf, messages, processesOf, said, told } from "./tape.mjs";

const N_PARALLEL = 100;
const PAYLOAD_BYTES = 5 << 20;
const WAIT_MS = 15_000;
const LONG = "every__trigger-long-running-operation";

/** What the process that clients share answered to the newest request of this method. */
function newestAnswer(gateway, server, method) {
  const [pid] = processesOf(gateway, server);
  const asked = messages(gateway, server, "in", pid).findLast((message) => message.method === method);
  return messages(gateway, server, "out", pid).find((message) => message.id === asked?.id && message.result).result;
}

async function lists(gateway, { client }) {
  const { tools } = await client.listTools();
  const own = newestAnswer(gateway, "every", "tools/list").tools;
  const known = ({ description, inputSchema, annotations, title }) => ({ description, inputSchema, annotations, title });
  for (const server of ["every", "own"]) {
    const ours = tools.filter((tool) => tool.name.startsWith(`${server}__`));
    if (server === "every") assert.deepEqual(ours.map((tool) => tool.name), own.map((tool) => `every__${tool.name}`));
    for (const tool of ours) {
      const original = own.find((one) => `${server}__${one.name}` === tool.name);
      // `own` may offer what only a process of one client can: roots.
      if (original) assert.deepEqual(known(tool), known(original));
      else assert.equal(tool.name, "own__get-roots-list");
    }
  }
  assert.ok(tools.some((tool) => tool.name === "own__get-roots-list"), "no tool for roots");
  const { resources } = await client.listResources();
  const uris = newestAnswer(gateway, "every", "resources/list").resources.map(({ uri }) => uri);
  assert.ok(uris.length >= 5, `only ${uris.length} resources`);
  assert.deepEqual(resources.map(({ uri }) => uri), [...uris, ...uris.map((uri) => `${uri}?mcp-server=own`)]);
  const { resourceTemplates } = await client.listResourceTemplates();
  const templates = newestAnswer(gateway, "every", "resources/templates/list").resourceTemplates;
  assert.deepEqual(resourceTemplates.slice(0, templates.length).map((one) => one.uriTemplate), templates.map((one) => one.uriTemplate));
  const { prompts } = await client.listPrompts();
  const names = newestAnswer(gateway, "every", "prompts/list").prompts.map((prompt) => prompt.name);
  assert.deepEqual(prompts.map((prompt) => prompt.name), ["every", "own"].flatMap((server) => names.map((name) => `${server}__${name}`)));
  return `${tools.length} tools, ${resources.length} resources, ${resourceTemplates.length} templates, ${prompts.length} prompts`;
}

async function calls({ client, kind }) {
  const message = `grüße 🦀 \u2028 "${kind}"`;
  const echoed = await client.callTool({ name: "every__echo", arguments: { message } });
  assert.deepEqual(echoed.content, [{ type: "text", text: `Echo: ${message}` }]);
  const structured = await client.callTool({ name: "every__get-structured-content", arguments: { location: "Chicago" } });
  assert.deepEqual(JSON.parse(structured.content[0].text), structured.structuredContent);
  assert.equal(typeof structured.structuredContent.temperature, "number");
  const wrong = await client.callTool({ name: "every__get-sum", arguments: { a: "one", b: 2 } });
  assert.equal(wrong.isError, true);
  assert.match(wrong.content[0].text, /expected number/i);
  await assert.rejects(client.callTool({ name: "every__absent", arguments: {} }), { code: -32602 });
}

async function reads(gateway, { client }) {
  const uri = "demo://resource/static/document/features.md";
  const read = await client.readResource({ uri });
  const due = said(gateway, "every").findLast((message) => message.result?.contents?.[0].uri === uri);
  assert.deepEqual(read.contents, due.result.contents);
  assert.ok(read.contents[0].text.length > 100, "hardly any text");
  const text = await client.readResource({ uri: "demo://resource/dynamic/text/7" });
  assert.match(text.contents[0].text, /^Resource 7: /);
  const blob = await client.readResource({ uri: "demo://resource/dynamic/blob/3" });
  assert.match(Buffer.from(blob.contents[0].blob, "base64").toString(), /^Resource 3: /);
  await assert.rejects(client.readResource({ uri: "demo://nowhere" }), { code: -32002 });
}

async function prompts({ client }) {
  const simple = await client.getPrompt({ name: "every__simple-prompt" });
  assert.deepEqual(simple.messages, [
    { role: "user", content: { type: "text", text: "This is a simple prompt without arguments." } },
  ]);
  const args = await client.getPrompt({ name: "own__args-prompt", arguments: { city: "Ulm", state: "BW" } });
  assert.deepEqual(args.messages, [{ role: "user", content: { type: "text", text: "What's weather in Ulm, BW?" } }]);
}

async function completes({ client }) {
  const ref = { type: "ref/prompt", name: "every__completable-prompt" };
  const values = async (params) => (await client.complete(params)).completion.values;
  assert.deepEqual(await values({ ref, argument: { name: "department", value: "S" } }), ["Sales", "Support"]);
  const context = { arguments: { department: "Sales" } };
  assert.deepEqual(await values({ ref, argument: { name: "name", value: "E" }, context }), ["Eve"]);
  const template = { type: "ref/resource", uri: "demo://resource/dynamic/text/{resourceId}" };
  assert.deepEqual(await values({ ref: template, argument: { name: "resourceId", value: "7" } }), ["7"]);
  assert.deepEqual(await values({ ref: template, argument: { name: "resourceId", value: "x" } }), []);
}

async function progress({ client, kind, seen }) {
  const steps = { [`${kind}-a`]: 4, [`${kind}-b`]: 7 };
  await Promise.all(Object.entries(steps).map(async ([progressToken, n]) => {
    const done = await client.callTool({ name: LONG, arguments: { duration: 0.4, steps: n }, _meta: { progressToken } });
    assert.match(done.content[0].text, new RegExp(`Steps: ${n}\\.`));
    await turn(); // notifications are handed over a turn later than answers
    const came = seen.progress.filter((one) => one.progressToken === progressToken);
    const due = Array.from({ length: n }, (_, i) => ({ progress: i + 1, total: n, progressToken }));
    assert.deepEqual(came, due);
  }));
}

/** The server goes on with what was cancelled, and reports its progress: nobody may hear it any more. */
async function cancels(gateway, { client, kind, seen }) {
  const args = { duration: 20 + Math.random(), steps: 200 };
  const progressToken = `${kind}-cancelled`;
  const heard = () => seen.progress.filter((one) => one.progressToken === progressToken).length;
  const abort = new AbortController();
  const running = client.callTool({ name: LONG, arguments: args, _meta: { progressToken } }, undefined, { signal: abort.signal });
  const ended = assert.rejects(running, /enough/);
  await until(WAIT_MS, "first progress", () => heard() > 0);
  abort.abort("enough");
  await ended;
  const { id, params } = callOf(gateway, "every", "trigger-long-running-operation", args);
  await until(WAIT_MS, "the server is told", () =>
    told(gateway, "every").some((one) => one.method === "notifications/cancelled" && one.params.requestId === id));
  const reported = () => said(gateway, "every").filter((one) => one.params?.progressToken === params._meta.progressToken).length;
  assert.equal(await call(client, "every__echo", { message: "after" }), "Echo: after");
  const [heardThen, reportedThen] = [heard(), reported()];
  await until(WAIT_MS, "more progress at the server", () => reported() >= reportedThen + 3);
  assert.equal(await call(client, "every__echo", { message: "later" }), "Echo: later");
  await turn();
  assert.equal(heard(), heardThen, "progress of a cancelled call");
  assert.ok(!said(gateway, "every").some((one) => one.id === id), "the server answered what was cancelled");
}

async function payload({ client, clientName, kind, seen }) {
  const unit = `${kind} äöü 🦀 \\ " \n`;
  const message = unit.repeat(Math.ceil(PAYLOAD_BYTES / Buffer.byteLength(unit)));
  assert.ok(Buffer.byteLength(message) >= PAYLOAD_BYTES);
  const came = await call(client, "every__echo", { message });
  assert.ok(came === `Echo: ${message}`, `${came.length} characters came, ${came.slice(0, 80)}`);
  if (clientName !== "typescript" || kind !== "http") return "";
  // Some clients take no event of more than a mebibyte: an answer that is whole goes out as JSON.
  const exchange = seen.exchanges.findLast(({ sent }) => sent > 1 << 20);
  assert.match(exchange.type, /^application\/json/);
  return "the answer is JSON, no event";
}

async function parallel({ client, kind }) {
  const all = Array.from({ length: N_PARALLEL }, (_, i) => i);
  const texts = await Promise.all(all.map((i) =>
    i % 2 === 0 ? call(client, "every__echo", { message: `${kind} ${i}` }) : call(client, "every__get-sum", { a: i, b: 1000 })));
  const due = all.map((i) => (i % 2 === 0 ? `Echo: ${kind} ${i}` : `The sum of ${i} and 1000 is ${i + 1000}.`));
  assert.deepEqual(texts, due);
}

export async function askedFeatures(report, gateway, featured) {
  await report.feature("list", () => lists(gateway, featured));
  await report.feature("call", () => calls(featured));
  await report.feature("read", () => reads(gateway, featured));
  await report.feature("prompt", () => prompts(featured));
  await report.feature("complete", () => completes(featured));
  await report.feature("progress", () => progress(featured));
  await report.feature("cancel", () => cancels(gateway, featured));
  await report.feature("payload-5MiB", () => payload(featured));
  await report.feature("parallel-100", () => parallel(featured));
}
