// Features in which the server speaks by itself: log messages, updates, and its own questions.

import assert from "node:assert/strict";

import { call, until } from "./gateway.mjs";

const WAIT_MS = 15_000;

const resourceOfOwn = (i) => `demo://resource/dynamic/text/${i}`;
const tagged = (uri) => `${uri}?mcp-server=own`;

/** This server logs every subscription at the level `info`, before it answers: one can see which of them was held back. */
async function logLevel({ client, seen }) {
  const uris = [41, 42, 43].map(resourceOfOwn);
  const logged = (uri) => seen.logs.filter(({ data }) => String(data).includes(`Subscribe Resource request for URI: ${uri}`));
  // A process that starts for a subscription is subscribed twice: by it, and as every fresh process is.
  await call(client, "own__echo", { message: "start" });
  for (const [i, level] of ["info", "error", "debug"].entries()) {
    await client.setLoggingLevel(level);
    await client.subscribeResource({ uri: tagged(uris[i]) });
    if (level !== "error") await until(WAIT_MS, `a message at ${level}`, () => logged(uris[i]).length > 0);
  }
  assert.deepEqual(uris.map((uri) => logged(uri).map(({ level, logger }) => `${level} ${logger}`)), [["info own"], [], ["info own"]]);
  await assert.rejects(client.setLoggingLevel("loud"));
  for (const uri of uris) await client.unsubscribeResource({ uri: tagged(uri) });
}

async function sampling({ client, kind, seen, answers }) {
  const reply = { role: "assistant", content: { type: "text", text: `said by ${kind}` }, model: "a model", stopReason: "endTurn" };
  answers.sampling = () => reply;
  const prompt = `grüße ${kind} ${Math.random()}`;
  const before = seen.samplings.length;
  const answer = await call(client, "every__trigger-sampling-request", { prompt, maxTokens: 77 });
  assert.equal(seen.samplings.length, before + 1);
  const { messages: asked, systemPrompt, maxTokens, temperature } = seen.samplings.at(-1);
  assert.deepEqual(asked, [{ role: "user", content: { type: "text", text: `Resource trigger-sampling-request context: ${prompt}` } }]);
  assert.deepEqual({ systemPrompt, maxTokens, temperature }, { systemPrompt: "You are a helpful test server.", maxTokens: 77, temperature: 0.7 });
  assert.deepEqual(JSON.parse(answer.slice(answer.indexOf("{"))), reply);
  answers.sampling = () => {
    throw new Error("the user said no");
  };
  const refused = await client.callTool({ name: "every__trigger-sampling-request", arguments: { prompt } });
  assert.equal(refused.isError, true);
  assert.match(refused.content[0].text, /the user said no/);
}

async function elicitation({ client, kind, seen, answers }) {
  answers.elicitation = () => ({ action: "accept", content: { name: `Ada of ${kind}`, check: true, integer: 7 } });
  const before = seen.elicitations.length;
  const accepted = await call(client, "every__trigger-elicitation-request");
  assert.equal(seen.elicitations.length, before + 1);
  const { message, requestedSchema } = seen.elicitations.at(-1);
  assert.match(message, /Please provide inputs for the following fields:$/);
  assert.deepEqual(requestedSchema.required, ["name"]);
  assert.deepEqual(requestedSchema.properties.name, { title: "String", type: "string", description: "Your full, legal name" });
  assert.equal(requestedSchema.properties.integer.maximum, 100);
  for (const due of [`- Name: Ada of ${kind}\n`, "- Agreed to terms: true\n", "- Favorite Integer: 7\n"]) {
    assert.ok(accepted.includes(due), accepted);
  }
  answers.elicitation = () => ({ action: "decline" });
  assert.match(await call(client, "every__trigger-elicitation-request"), /User declined/);
}

async function roots({ client, kind, seen, answers }) {
  answers.roots = () => [{ uri: `file:///first/${kind}`, name: `of ${kind}` }];
  // The server asks when its process starts; an earlier feature may have started it, with no roots at that time.
  await client.sendRootsListChanged();
  const listed = () => call(client, "own__get-roots-list");
  const first = await until(WAIT_MS, "the first roots", async () => {
    const text = await listed();
    return text.includes(`URI: file:///first/${kind}`) && text;
  });
  assert.ok(first.includes(`(1 total)`) && first.includes(`1. of ${kind}\n`), first);
  const asked = seen.rootsAsked;
  assert.ok(asked > 0, "nobody asked for roots");
  answers.roots = () => [{ uri: "file:///second" }, { uri: "file:///third", name: "the third" }];
  await client.sendRootsListChanged();
  await until(WAIT_MS, "the new roots", async () => {
    const text = await listed();
    for (const due of ["(2 total)", "URI: file:///second", "2. the third\n   URI: file:///third"]) assert.ok(text.includes(due), text);
    return true;
  });
  assert.ok(seen.rootsAsked > asked, "nobody asked for the new roots");
}

/** Turned on, the server tells every subscribed resource at once, in the order of the first subscriptions. */
async function subscription({ client, seen }) {
  for (const [server, uris] of [["every", [51, 52].map(resourceOfOwn)], ["own", [53, 54].map(resourceOfOwn).map(tagged)]]) {
    const toggle = () => call(client, `${server}__toggle-subscriber-updates`);
    const came = (from) => seen.updates.slice(from).filter((uri) => uris.includes(uri));
    for (const uri of uris) await client.subscribeResource({ uri });
    let from = seen.updates.length;
    assert.match(await toggle(), /^Started/);
    await until(WAIT_MS, "both updates", () => came(from).length >= 2);
    assert.deepEqual(came(from), uris);
    assert.match(await toggle(), /^Stopped/);
    await client.unsubscribeResource({ uri: uris[0] });
    from = seen.updates.length;
    assert.match(await toggle(), /^Started/);
    await until(WAIT_MS, "the update of what is left", () => came(from).length >= 1);
    assert.deepEqual(came(from), [uris[1]]);
    assert.match(await toggle(), /^Stopped/);
    await client.unsubscribeResource({ uri: uris[1] });
  }
}

export async function askingFeatures(report, featured) {
  await report.feature("log-level", () => logLevel(featured));
  await report.feature("sampling", () => sampling(featured));
  await report.feature("elicitation", () => elicitation(featured));
  await report.feature("roots", () => roots(featured));
  await report.feature("subscription", () => subscription(featured));
}
