/** `nexus alerts`, against a stand-in for vault. */
import { once } from "node:events";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type AcknowledgeAlertRequest,
  AlertSchema,
  AlertSeverity,
  AnomalyKind,
  AnomalyService,
  type ListAlertsRequest,
} from "@nexus/proto/vault";
import { createRpcServer } from "@nexus/rpc";
import { createSilentLogger } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import { createTempFolder, createTestIdentity, type TempFolder, waitFor } from "@nexus/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../src/program.ts";
import { createFakeTerminal } from "../src/terminal.fake.ts";

const ALERT = create(AlertSchema, {
  alertId: "alert_1",
  kind: AnomalyKind.RATE,
  severity: AlertSeverity.MEDIUM,
  namespace: "default",
  principalId: "agent-1",
  lastTime: timestampFromMs(Date.UTC(2026, 10, 26)),
  count: 2,
  evidence: {
    case: "rate",
    value: { method: "Decrypt", calls: 500n, limit: 300, window: durationFromMs(60_000) },
  },
});

const identity = createTestIdentity();
let folder: TempFolder;
let env: NodeJS.ProcessEnv;
let close: () => Promise<void>;
let listed: ListAlertsRequest | undefined;
let acknowledged: AcknowledgeAlertRequest | undefined;

beforeAll(async () => {
  folder = await createTempFolder("nexus-cli-alerts");
  const server = createRpcServer({
    service: "gateway",
    host: "127.0.0.1",
    port: 0,
    logger: createSilentLogger(),
    metrics: createMetrics("gateway"),
    verifier: identity.verifier,
  });
  server.add(AnomalyService, {
    listAlerts(request) {
      listed = request;
      return { alerts: [ALERT] };
    },
    async *watchAlerts(_request, { signal }) {
      yield { alerts: [] };
      yield { alerts: [ALERT] };
      await once(signal, "abort");
    },
    acknowledgeAlert(request) {
      acknowledged = request;
      return { alert: { ...ALERT, acknowledgedBy: "ada" } };
    },
  });
  const { address } = await server.listen();
  close = () => server.close(0);
  const token = await identity.token({ sub: "ada" });
  env = { NEXUS_CONFIG_DIR: folder.path, NEXUS_GATEWAY: address, NEXUS_TOKEN: token };
});

afterAll(async () => {
  await close();
  await folder.remove();
});

async function nexus(...argv: string[]) {
  const { terminal, stdout } = createFakeTerminal();
  const code = await run({ argv, env, terminal, signal: new AbortController().signal });
  return { code, stdout: stdout() };
}

describe("nexus alerts", () => {
  it("lists alerts with why they were raised, by severity and kind", async () => {
    const { code, stdout } = await nexus("alerts", "list", "--severity", "medium");
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /alert_1 +2026-11-26T\S+ +medium +rate +default\/agent-1 +Decrypt 500 times in 60 s, limit 300 \(2 times\)/,
    );
    expect(listed).toMatchObject({ severity: AlertSeverity.MEDIUM, includeAcknowledged: false });
    await nexus("alerts", "list", "--kind", "decrypt-ratio", "--principal", "p", "--all");
    expect(listed).toMatchObject({
      kind: AnomalyKind.DECRYPT_RATIO,
      principalId: "p",
      includeAcknowledged: true,
    });
    expect((await nexus("alerts", "list", "-o", "name")).stdout).toBe("alert_1\n");
    expect((await nexus("alerts", "list", "--severity", "loud")).code).toBe(2);
    expect((await nexus("alerts", "list", "--kind", "odd")).code).toBe(2);
  });

  it("watches them, one line each, until it is interrupted", async () => {
    const { terminal, stdout } = createFakeTerminal();
    const interrupted = new AbortController();
    const argv = ["alerts", "watch", "-o", "json"];
    const watching = run({ argv, env, terminal, signal: interrupted.signal });
    await waitFor(() => stdout().endsWith("\n"), { what: "an alert to be shown" });
    interrupted.abort();
    expect(await watching).toBe(0);
    expect(
      stdout()
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toMatchObject([{ alertId: "alert_1", rate: { method: "Decrypt" } }]);
  });

  it("acknowledges one, with a note", async () => {
    const { code, stdout } = await nexus("alerts", "acknowledge", "alert_1", "--note", "a test");
    expect(code).toBe(0);
    expect(stdout).toBe("alert_1 acknowledged by ada\n");
    expect(acknowledged).toMatchObject({ alertId: "alert_1", note: "a test" });
    expect(acknowledged?.requestId).not.toBe("");
  });
});
