// The lines of a feature: for people on stdout, and for the table in the file that FEATURES_OUT names.

import { appendFileSync } from "node:fs";

import { Report } from "./gateway.mjs";

/** Every feature there is; a client that has not told each of them at its end has failed. */
export const FEATURES = [
  "list", "call", "read", "prompt", "complete", "progress", "cancel", "log-level", "sampling", "elicitation", "roots",
  "subscription", "payload-5MiB", "parallel-100",
];

export class FeatureReport {
  constructor(name, client, transport) {
    this.client = client;
    this.transport = transport;
    this.report = new Report(`${name} ${transport}`);
    this.told = new Set();
  }

  /** The string that `run` may return is the detail of the line. */
  async feature(feature, run) {
    const failedBefore = this.report.failed;
    let detail = "";
    await this.report.check(feature, async () => {
      try {
        detail = (await run()) ?? "";
      } catch (error) {
        detail = String(error.message ?? error);
        throw error;
      }
    });
    this.#line(feature, this.report.failed === failedBefore ? "pass" : "fail", detail);
  }

  notOffered(feature, why) {
    console.log(`ok   ${this.report.name}: ${feature}: not offered by ${this.client}: ${why}`);
    this.#line(feature, "not-offered", why);
  }

  /** 0 when every feature was told and none has failed. */
  status() {
    const missing = FEATURES.filter((feature) => !this.told.has(feature));
    for (const feature of missing) {
      console.log(`FAIL ${this.report.name}: ${feature}: was left out`);
      this.#line(feature, "fail", "was left out");
    }
    return missing.length === 0 ? this.report.status() : 1;
  }

  #line(feature, verdict, detail) {
    if (!FEATURES.includes(feature) || this.told.has(feature)) throw new Error(`${feature}: unknown, or told twice`);
    this.told.add(feature);
    if (!process.env.FEATURES_OUT) return;
    const flat = detail.replaceAll(/\s+/g, " ").slice(0, 300);
    appendFileSync(process.env.FEATURES_OUT, `${[feature, this.client, this.transport, verdict, flat].join("\t")}\n`);
  }
}
