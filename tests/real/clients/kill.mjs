// A real server is killed with signal 9 under a client that is connected.
//
//     kill.mjs CASE GATEWAY.json

import { Report, call, connect, expect, gatewayOf, mcpctl, serverStatus, until } from "./gateway.mjs";
import { processesWith } from "./processes.mjs";

const NEXT_CALL_MS = 5_000;
const IN_FLIGHT_ERROR_MS = 250;

// `everything` runs below npx, `memory` is a node program of its own, `time` a Python program.
const VICTIMS = [
  { server: "everything", tool: "everything__echo", args: { message: "back" } },
  { server: "memory", tool: "memory__read_graph", args: {} },
  { server: "time", tool: "time__get_current_time", args: { timezone: "Etc/UTC" } },
];

const [name, gatewayFile] = process.argv.slice(2);
const gateway = gatewayOf(gatewayFile);
const report = new Report(name);
const client = await connect(gateway, "http");

for (const { server, tool, args } of VICTIMS) {
  await report.check(`${server} is called again in the same session`, async () => {
    await call(client, tool, args);
    const before = await serverStatus(gateway, server);
    process.kill(before.pid, "SIGKILL");
    const after = await until(NEXT_CALL_MS, `a new process of ${server}`, async () => {
      // A call on each round: it must not hang, whatever the moment in which it arrives.
      await call(client, tool, args);
      const now = await serverStatus(gateway, server);
      return now.generation > before.generation && now.state === "ready" && now;
    });
    await call(client, tool, args);
    expect(after.pid && after.pid !== before.pid, { before, after });
    expect(after.n_failures === before.n_failures + 1, { before, after });
    const left = () => processesWith(gateway.mark).filter(({ group }) => group === before.pid);
    await until(5_000, `the old processes of ${server} to go`, () => left().length === 0);
  });

  await report.check(`mcpctl why ${server} names signal 9`, async () => {
    const story = await mcpctl(gateway, "why", server);
    expect(/signal 9|SIGKILL/.test(story), story);
  });
}

await report.check("a call in flight is told at once", async () => {
  const { pid } = await serverStatus(gateway, "everything");
  let killed;
  const long = { duration: 20, steps: 40 };
  const ended = await call(client, "everything__trigger-long-running-operation", long, {
    onprogress: () => {
      if (killed) return;
      killed = performance.now();
      process.kill(pid, "SIGKILL");
    },
  }).then((text) => ({ text }), (error) => error);
  const waited = performance.now() - killed;
  expect(ended instanceof Error && ended.message.includes("everything"), ended);
  expect(waited < IN_FLIGHT_ERROR_MS, { waited });
  const back = await until(NEXT_CALL_MS, "the next call", () => call(client, "everything__echo", { message: "back" }));
  expect(back === "Echo: back", back);
});

await client.close();
process.exit(report.status());
