// Every feature by the official TypeScript client: against the gateway itself, or with mcp-remote in between.
//
//     features.mjs CASE GATEWAY.json typescript|mcp-remote TRANSPORT…

import { FeatureReport } from "./feature_report.mjs";
import { askedFeatures } from "./features_asked.mjs";
import { askingFeatures } from "./features_asking.mjs";
import { open } from "./featured_client.mjs";
import { gatewayOf } from "./gateway.mjs";

const [name, gatewayFile, clientName, ...kinds] = process.argv.slice(2);
const gateway = gatewayOf(gatewayFile);

let status = 0;
for (const kind of kinds) {
  const report = new FeatureReport(name, clientName, kind);
  const featured = await open(gateway, clientName, kind);
  await askedFeatures(report, gateway, featured);
  await askingFeatures(report, featured);
  await featured.close();
  status = Math.max(status, report.status());
}
process.exit(status);
