// Two stdio clients and one HTTP client at once share one process per server, with equal request ids in all three.
//
//     shared.mjs CASE GATEWAY.json

import { Report, call, connect, expect, gatewayOf, serverStatus } from "./gateway.mjs";
import { processesWith } from "./processes.mjs";

const SERVERS = ["everything", "filesystem", "git", "memory", "time"];
const N_CALLS = 25;

const [name, gatewayFile] = process.argv.slice(2);
const gateway = gatewayOf(gatewayFile);
const report = new Report(name);

const processIds = async () => (await Promise.all(SERVERS.map((server) => serverStatus(gateway, server)))).map(({ pid }) => pid);
const before = await processIds();

const clients = [];
await report.check("two stdio clients and one HTTP client connect", async () => {
  clients.push(...(await Promise.all(["stdio", "stdio", "http"].map((kind) => connect(gateway, kind)))));
});

// Every client of this SDK numbers its requests 0, 1, 2…: the ids of the three are equal without further ado.
await report.check("each gets its own answers", async () => {
  expect(clients.length === 3, clients.length);
  const words = clients.flatMap((client, c) => Array.from({ length: N_CALLS }, (_, i) => ({ client, message: `client ${c} call ${i}` })));
  const said = await Promise.all(words.map(({ client, message }) => call(client, "everything__echo", { message })));
  said.forEach((text, i) => expect(text === `Echo: ${words[i].message}`, { text, due: words[i].message }));
});

await report.check("each gets its own progress", async () => {
  await Promise.all(clients.map(async (client, c) => {
    const totals = [];
    const steps = 2 + c;
    const onprogress = ({ total }) => totals.push(total);
    await call(client, "everything__trigger-long-running-operation", { duration: 0.5, steps }, { onprogress });
    // All but the last step, which this SDK may lose beside the result.
    expect(totals.length >= steps - 1 && totals.every((total) => total === steps), { steps, totals });
  }));
});

await report.check("one process per server, the same as before", async () => {
  const after = await processIds();
  expect(after.every((pid, i) => pid && pid === before[i]), { before, after });
  // Every process of a server is in the group of the one process that the daemon started for it.
  const groups = new Set(processesWith(gateway.mark).map(({ group }) => group));
  expect(groups.size === SERVERS.length && after.every((pid) => groups.has(pid)), { groups: [...groups], after });
});

for (const client of clients) await client.close();
process.exit(report.status());
