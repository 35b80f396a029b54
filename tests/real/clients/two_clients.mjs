// Two clients at once in front of one shared process: some thousand calls, progress, cancellations and questions in
// one another's midst, and nothing of one ever reaches the other.
//
//     two_clients.mjs CASE GATEWAY.json
//
// Both are of the same SDK, which counts from 0: request ids and progress tokens of the two are equal by themselves.

import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema, ElicitRequestSchema, LoggingMessageNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";

import { Report, call, gatewayOf } from "./gateway.mjs";
import { messages, processesOf, said } from "./tape.mjs";

const N_WORKERS = 8;
const N_ROUNDS = 100;
const LONG = "every__trigger-long-running-operation";
const NOT_RESUMED =
  /^(Maximum reconnection attempts \(2\) exceeded\.|(Failed to reconnect SSE stream: )?Streamable HTTP error: Failed to open SSE stream: Bad Request)$/;
const LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

const [name, gatewayFile] = process.argv.slice(2);
const gateway = gatewayOf(gatewayFile);
const report = new Report(name);

function transportTo(kind) {
  const [command, ...args] = gateway.stdio;
  switch (kind) {
    case "http": return new StreamableHTTPClientTransport(new URL(gateway.url));
    case "sse": return new SSEClientTransport(new URL(gateway.sse));
    default: return new StdioClientTransport({ command, args });
  }
}

/** One of the two. Every text it sends bears its stamp; of whatever reaches it, nothing may bear another. */
class Side {
  constructor(stamp, parity) {
    this.stamp = stamp;
    this.parity = parity; // of the number of steps of its long calls: it tells whose a progress is
    this.nSent = 0;
    this.foreign = []; // what reached it and is not its own; empty at the end
    this.counts = { calls: 0, progress: 0, cancelled: 0, answered: 0, refused: 0 };
    this.asking = { sampling: new Set(), elicitation: 0 };
    this.logs = [];
    this.late = []; // steps of its own calls that came together with the result
  }

  async connect(kind) {
    this.client = new Client(
      { name: `side-${this.stamp}`, version: "1" },
      { capabilities: { sampling: {}, elicitation: { form: {} } } },
    );
    // The SDK tells here what it can make nothing of: answers to no request of its own, progress of none.
    this.client.onerror = (error) => this.#strange(String(error.message ?? error));
    this.client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void this.logs.push(params));
    this.client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
      const prompt = params.messages[0].content.text.replace("Resource trigger-sampling-request context: ", "");
      if (!this.asking.sampling.has(prompt)) this.foreign.push(`asked ${prompt}`);
      return { role: "assistant", model: this.stamp, content: { type: "text", text: `${this.stamp} to ${prompt}` } };
    });
    this.client.setRequestHandler(ElicitRequestSchema, () => {
      if (this.asking.elicitation === 0) this.foreign.push("asked for an input, with no call that could ask");
      return { action: "accept", content: { name: this.stamp } };
    });
    this.transport = transportTo(kind);
    await this.client.connect(this.transport);
  }

  async close() {
    await this.transport.terminateSession?.();
    await this.client.close();
  }

  #strange(text) {
    // The SDK forgets a token when it reads the result or cancels, and hands over what came before a turn later.
    const step = text.includes("progress notification for an unknown token") && /"progress":(\d+),"total":(\d+)/.exec(text);
    if (step && Number(step[2]) % 2 === this.parity) {
      this.late.push({ progress: Number(step[1]), total: Number(step[2]) });
      return;
    }
    // The SDK wants to go on with the stream of a call that it cancelled, which the gateway need not keep so long.
    if (NOT_RESUMED.test(text)) return;
    this.foreign.push(text.slice(0, 300));
  }

  #next(what) {
    this.nSent += 1;
    return `${this.stamp} ${what} ${this.nSent}`;
  }

  async echo() {
    const message = this.#next("echo");
    assert.equal(await call(this.client, "every__echo", { message }), `Echo: ${message}`);
    this.counts.calls += 1;
  }

  /** Steps in order and none of another call: no two calls in flight of one side have the same number of steps. */
  async long(worker) {
    const steps = 2 * (worker + 1) + this.parity;
    const seen = [];
    const onprogress = (step) => seen.push(step);
    this.late = this.late.filter(({ total }) => total !== steps);
    const text = await call(this.client, LONG, { duration: 0.004 * steps, steps }, { onprogress });
    assert.match(text, new RegExp(`Steps: ${steps}\\.$`));
    await turn();
    seen.push(...this.late.filter(({ total }) => total === steps));
    assert.deepEqual(seen, Array.from({ length: steps }, (_, i) => ({ progress: i + 1, total: steps })));
    this.counts.calls += 1;
    this.counts.progress += seen.length;
  }

  async cancel(worker) {
    const steps = 1000 + 2 * worker + this.parity;
    const abort = new AbortController();
    const reason = this.#next("enough");
    const options = { signal: abort.signal, onprogress: () => abort.abort(reason) };
    const running = this.client.callTool({ name: LONG, arguments: { duration: steps * 0.02, steps } }, undefined, options);
    await assert.rejects(running, ({ message }) => message.includes(reason));
    this.counts.cancelled += 1;
  }

  /** Answered by this side itself, or refused; never by the other one. */
  async sample() {
    const prompt = this.#next("sampling");
    this.asking.sampling.add(prompt);
    const answer = await this.client.callTool({ name: "every__trigger-sampling-request", arguments: { prompt } });
    this.asking.sampling.delete(prompt);
    const { text } = answer.content[0];
    if (answer.isError) {
      // Or it was put to this side beside another call of its own, and that call ended first.
      assert.match(text, /calls of several clients are in flight|the client that could answer is gone/);
      this.counts.refused += 1;
    } else {
      const told = JSON.parse(text.slice(text.indexOf("{")));
      assert.deepEqual([told.model, told.content.text], [this.stamp, `${this.stamp} to ${prompt}`]);
      this.counts.answered += 1;
    }
  }

  async elicit() {
    this.asking.elicitation += 1;
    const text = await call(this.client, "every__trigger-elicitation-request");
    this.asking.elicitation -= 1;
    if (text.includes("User cancelled")) {
      this.counts.refused += 1;
    } else {
      assert.ok(text.includes(`- Name: ${this.stamp}\n`), text);
      this.counts.answered += 1;
    }
  }

  /** Some rounds of everything by several workers at once. */
  async work() {
    const deeds = [(w) => this.echo(w), (w) => this.long(w), (w) => this.sample(w), (w) => this.echo(w), (w) => this.cancel(w), (w) => this.elicit(w)];
    const workers = await Promise.allSettled(Array.from({ length: N_WORKERS }, async (_, worker) => {
      // Each begins with another deed, so that all of them meet.
      for (let i = 0; i < N_ROUNDS; i += 1) await deeds[(i + worker) % deeds.length](worker);
    }));
    // Not before all of them are done, so that a failure stays in its own check.
    for (const { reason } of workers.filter(({ status }) => status === "rejected")) throw reason;
  }

  reset() {
    Object.keys(this.counts).forEach((key) => (this.counts[key] = 0));
  }
}

/** The process knows our ids only: it never sees one twice, and no token of a client. */
function oneProcess() {
  const processes = processesOf(gateway, "every");
  assert.equal(processes.length, 1, "more than one process");
  const asked = messages(gateway, "every", "in", processes[0]).filter((one) => one.method && one.id !== undefined);
  assert.equal(new Set(asked.map(({ id }) => id)).size, asked.length, "an id twice");
  const tokens = asked.map(({ params }) => params?._meta?.progressToken).filter((token) => token !== undefined);
  assert.equal(new Set(tokens).size, tokens.length, "a token twice");
  return asked.length;
}

for (const kinds of [["http", "http"], ["stdio", "sse"]]) {
  const [a, b] = [new Side(`A-${kinds[0]}`, 0), new Side(`B-${kinds[1]}`, 1)];
  const label = kinds.join(" and ");
  const checkOwn = () => assert.deepEqual([a.foreign, b.foreign], [[], []]);
  await report.check(`${label}: connect`, async () => {
    await Promise.all([a.connect(kinds[0]), b.connect(kinds[1])]);
  });

  await report.check(`${label}: nothing crosses`, async () => {
    await Promise.all([a.work(), b.work()]);
    checkOwn();
    for (const { counts } of [a, b]) {
      assert.ok(counts.calls >= N_WORKERS * N_ROUNDS / 3 && counts.cancelled >= N_WORKERS * N_ROUNDS / 8, JSON.stringify(counts));
      assert.ok(counts.progress > counts.cancelled, JSON.stringify(counts));
    }
    // With so many calls of both in flight, hardly a question has a certain owner.
    assert.ok(a.counts.refused > 0 && b.counts.refused > 0, "no question was refused");
    console.error(label, a.counts, b.counts);
  });

  await report.check(`${label}: alone, each gets its own questions`, async () => {
    for (const side of [a, b]) {
      // What was cancelled a moment ago may still ask: until that is ruled out nobody else is asked.
      const patience = Date.now() + 35_000;
      do {
        side.reset();
        await side.sample();
      } while (side.counts.refused > 0 && Date.now() < patience);
      side.reset();
      await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? side.sample() : side.elicit())));
      assert.deepEqual([side.counts.answered, side.counts.refused], [20, 0]);
    }
    checkOwn();
  });

  // The process hears the lowest level that anybody wants, so it is the gateway that holds back.
  await report.check(`${label}: a log level is one client's own`, async () => {
    await a.client.setLoggingLevel("debug");
    await b.client.setLoggingLevel("error");
    const isLog = (one) => one.method === "notifications/message" && /-level message|level-message/.test(one.params.data);
    const before = said(gateway, "every").filter(isLog).length;
    const logged = () => said(gateway, "every").filter(isLog).slice(before).map(({ params }) => params.level);
    const high = (level) => LEVELS.indexOf(level) >= LEVELS.indexOf("error");
    // Turned on, it sends one message at once, of a level by chance: until there was one of each kind.
    const isMixed = () => logged().some(high) && !logged().every(high);
    for (let i = 0; i < 40 && !isMixed(); i += 1) {
      assert.match(await call(b.client, "every__toggle-simulated-logging"), /^Started/);
      assert.match(await call(b.client, "every__toggle-simulated-logging"), /^Stopped/);
    }
    assert.ok(isMixed(), JSON.stringify(logged()));
    await call(b.client, "every__echo", { message: "all came before this" });
    await turn();
    // They belong to calls of `b`, all of them.
    const levels = ({ logs }) => logs.filter(({ data }) => /-level message|level-message/.test(data)).map(({ level }) => level);
    assert.deepEqual({ a: levels(a), b: levels(b) }, { a: [], b: logged().filter(high) });
  });

  await report.check(`${label}: the process saw no id and no token twice`, async () => {
    const n = oneProcess();
    assert.ok(n >= 2 * N_WORKERS * N_ROUNDS, `only ${n} requests`);
  });
  await Promise.all([a.close(), b.close()]);
}
process.exit(report.status());
