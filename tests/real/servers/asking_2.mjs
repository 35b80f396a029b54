// A server as people write it with the official TypeScript SDK 2.x: its tools ask, in the words of the era of its client.
//
//     asking_2.mjs dual|legacy NAME    over stdio; `legacy` knows the handshake only

import { setTimeout as delay } from "node:timers/promises";

import { McpServer, fromJsonSchema, inputRequired, inputResponse } from "@modelcontextprotocol/server";
import { StdioServerTransport, serveStdio } from "@modelcontextprotocol/server/stdio";

const WAIT_MS = 60_000;
const [era, name] = process.argv.slice(2);

const takenBack = new Set();
const text = (said) => ({ content: [{ type: "text", text: said }] });
const object = (properties = {}) => fromJsonSchema({ type: "object", properties, required: Object.keys(properties) });
const string = { type: "string" };
const form = (key, message) =>
  inputRequired.elicit({ message, requestedSchema: { type: "object", properties: { [key]: string }, required: [key] } });
const isModern = (ctx) => ctx.mcpReq.envelope?.["io.modelcontextprotocol/protocolVersion"] !== undefined;

/** What the client answers to this question: none as long as it has to be asked in a result. */
async function answer(ctx, key, request) {
  if (!isModern(ctx)) {
    const { method, params } = request;
    if (method === "elicitation/create") return { kind: "elicit", ...(await ctx.mcpReq.elicitInput(params)) };
    if (method === "sampling/createMessage") return { kind: "sampling", result: await ctx.mcpReq.requestSampling(params) };
    return { kind: "roots", ...(await ctx.mcpReq.send({ method })) };
  }
  const came = inputResponse(ctx.mcpReq.inputResponses, key);
  return came.kind === "missing" ? undefined : came;
}

const asked = (key, request, state) => inputRequired({ inputRequests: { [key]: request }, ...(state && { requestState: state }) });

function made() {
  const server = new McpServer({ name: "asking", version: "2.0.0" }, { capabilities: { logging: {}, resources: { subscribe: true } } });
  const tool = (known, properties, run) => server.registerTool(known, { description: known, inputSchema: object(properties) }, run);

  tool("echo", { text: string }, ({ text: said }) => text(said));

  tool("greet", {}, async (_args, ctx) => {
    const question = form("name", "What is your name?");
    const came = await answer(ctx, "name", question);
    return came ? text(`Hello, ${came.content.name}!`) : asked("name", question);
  });

  // The first answer comes back as the state of the second round.
  tool("paint", {}, async (_args, ctx) => {
    let first = isModern(ctx) ? ctx.mcpReq.requestState() : undefined;
    if (first === undefined) {
      const question = form("name", "What is your name?");
      const came = await answer(ctx, "name", question);
      if (!came) return asked("name", question);
      first = came.content.name;
    }
    const question = form("color", `${first}, what is your favourite color?`);
    const came = await answer(ctx, "color", question);
    return came ? text(`${first} likes ${came.content.color}.`) : asked("color", question, first);
  });

  tool("ponder", {}, async (_args, ctx) => {
    const messages = [{ role: "user", content: { type: "text", text: "A thought?" } }];
    const question = inputRequired.createMessage({ messages, maxTokens: 77 });
    const came = await answer(ctx, "thought", question);
    return came ? text(`${came.result.model} thinks: ${came.result.content.text}`) : asked("thought", question);
  });

  tool("where", {}, async (_args, ctx) => {
    const question = inputRequired.listRoots();
    const came = await answer(ctx, "roots", question);
    return came ? text(came.roots.map(({ uri }) => uri).join(" ")) : asked("roots", question);
  });

  const progress = (ctx, step, total) => {
    const { progressToken } = ctx.mcpReq._meta ?? {};
    if (progressToken === undefined) return undefined;
    return ctx.mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress: step, total } });
  };

  tool("steps", { n: { type: "integer" } }, async ({ n }, ctx) => {
    for (let step = 1; step <= n; step += 1) await progress(ctx, step, n);
    return text(`${n} steps`);
  });

  tool("wait", { tag: string }, async ({ tag }, ctx) => {
    await progress(ctx, 1, 2);
    try {
      await delay(WAIT_MS, undefined, { signal: ctx.mcpReq.signal });
    } catch (ended) {
      takenBack.add(tag);
      throw ended;
    }
    return text("nobody took it back");
  });

  tool("was_taken_back", { tag: string }, ({ tag }) => text(String(takenBack.has(tag))));

  tool("say", { text: string }, async ({ text: said }, ctx) => {
    await ctx.mcpReq.log("debug", `${said} quietly`);
    await ctx.mcpReq.log("warning", `${said} aloud`);
    return text("said");
  });

  tool("grow", { name: string }, ({ name: grown }) => {
    tool(grown, {}, () => text("grown"));
    return text(`${grown} is there`);
  });

  tool("touch", { uri: string }, async ({ uri }) => {
    await server.server.sendResourceUpdated({ uri });
    return text(`${uri} has changed`);
  });

  const fixed = `asking-${name}://fixed`;
  server.registerResource("fixed", fixed, {}, () => ({ contents: [{ uri: fixed, text: "It stays." }] }));
  server.registerPrompt("plain", { argsSchema: object({ topic: string }) }, ({ topic }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Tell me of ${topic}.` } }],
  }));
  for (const method of ["resources/subscribe", "resources/unsubscribe"]) server.server.setRequestHandler(method, () => ({}));
  return server;
}

if (era === "dual") serveStdio(made);
else await made().connect(new StdioServerTransport());
