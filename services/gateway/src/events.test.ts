import {
  createSilentLogger,
  ERROR_KINDS,
  type ErrorKind,
  NexusError,
  systemClock,
} from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import { describe, expect, it } from "vitest";
import { Objectives } from "./domain/objectives.ts";
import { codeClassOf, createGatewayEvents } from "./events.ts";

const PROMISED = { availability: 0.5, latency: 0.5, latencyMaxMs: 1_000 };

function failed(kind: ErrorKind): NexusError {
  return new NexusError({ kind, reason: "TEST", message: "No." });
}

describe("codeClassOf", () => {
  it("sorts every end by whose doing it was", () => {
    expect(codeClassOf(undefined)).toBe("ok");
    expect(codeClassOf(new Error("a mistake of ours"))).toBe("server");
    const server: ErrorKind[] = ["unavailable", "deadline", "data_loss", "internal"];
    for (const kind of Object.keys(ERROR_KINDS) as ErrorKind[]) {
      const expected = server.includes(kind) ? "server" : "caller";
      expect([kind, codeClassOf(failed(kind))]).toEqual([
        kind,
        kind === "cancelled" ? "cancelled" : expected,
      ]);
    }
  });
});

describe("codeClassOf a planned end", () => {
  it("is a good one of a stream, and a fault of ours of a call that got no answer", () => {
    for (const reason of ["CONNECTION_AGED", "SERVER_DRAINING"]) {
      const error = new NexusError({ kind: "unavailable", reason, message: "" });
      expect([codeClassOf(error, true), codeClassOf(error)]).toEqual(["ok", "server"]);
    }
  });

  it("leaves the budget of availability whole", () => {
    const objectives = new Objectives({ ...PROMISED, clock: systemClock });
    const metrics = createMetrics("gateway");
    const events = createGatewayEvents({ metrics, logger: createSilentLogger(), objectives });
    const aged = new NexusError({ kind: "unavailable", reason: "CONNECTION_AGED", message: "" });
    events.streamEnded("mesh-router", aged, true);
    expect(objectives.report()[0]).toMatchObject({ total: 1, bad: 0 });
    // One that was never served had no answer, whatever it is called.
    events.streamEnded("mesh-router", aged, false);
    expect(objectives.report()[0]).toMatchObject({ total: 2, bad: 1 });
  });
});

describe("codeClassOf an exhausted limit", () => {
  it("is ours when the service is full, the caller's when it is the caller's own", () => {
    const exhausted = (reason: string) =>
      new NexusError({ kind: "exhausted", reason, message: "" });
    expect(codeClassOf(exhausted("QUEUE_FULL"))).toBe("server");
    expect(codeClassOf(exhausted("RATE_LIMITED"))).toBe("caller");
    expect(codeClassOf(exhausted("PAYLOAD_QUOTA"))).toBe("caller");
  });
});

describe("createGatewayEvents", () => {
  it("promises nothing to who gave less time than is promised", () => {
    const objectives = new Objectives({ ...PROMISED, clock: systemClock });
    const metrics = createMetrics("gateway");
    const events = createGatewayEvents({ metrics, logger: createSilentLogger(), objectives });
    const late = new NexusError({ kind: "deadline", reason: "DEADLINE_EXCEEDED", message: "" });
    events.callEnded("registry", late, 50);
    expect(objectives.report()[0]).toMatchObject({ total: 0, bad: 0 });
    events.callEnded("registry", late, 1_000);
    expect(objectives.report()[0]).toMatchObject({ total: 1, bad: 1 });
  });

  it("counts calls, open streams and refusals under the names of the service", async () => {
    const metrics = createMetrics("gateway");
    const objectives = new Objectives({ ...PROMISED, clock: systemClock });
    const events = createGatewayEvents({ metrics, logger: createSilentLogger(), objectives });
    events.streamEnded("registry", undefined, true);
    events.streamEnded("registry", failed("not_found"), false);
    events.streamEnded("vault", failed("unavailable"), true);
    events.streamOpened("mesh-router");
    events.streamOpened("mesh-router");
    events.streamClosed("mesh-router");
    events.rateLimited("address");
    events.callEnded("vault", undefined, 2_000);
    events.callEnded("mesh-router", undefined, 2_000);
    const lines = (await metrics.text())
      .split("\n")
      .filter((line) => line.startsWith("nexus_gateway"));
    expect(lines.sort()).toEqual([
      "nexus_gateway_availability_budget_remaining_ratio 0.6",
      "nexus_gateway_availability_burn_rate_1h_ratio 0.4",
      "nexus_gateway_availability_burn_rate_5m_ratio 0.4",
      "nexus_gateway_latency_budget_remaining_ratio -1",
      "nexus_gateway_latency_burn_rate_1h_ratio 2",
      "nexus_gateway_latency_burn_rate_5m_ratio 2",
      'nexus_gateway_open_streams{upstream="mesh-router"} 1',
      'nexus_gateway_rate_limited_total{by="address"} 1',
      "nexus_gateway_refusals_not_entered_total 0",
      'nexus_gateway_relayed_calls_total{upstream="mesh-router",code_class="ok"} 1',
      'nexus_gateway_relayed_calls_total{upstream="registry",code_class="caller"} 1',
      'nexus_gateway_relayed_calls_total{upstream="registry",code_class="ok"} 1',
      'nexus_gateway_relayed_calls_total{upstream="vault",code_class="ok"} 1',
      'nexus_gateway_relayed_calls_total{upstream="vault",code_class="server"} 1',
    ]);
  });
});
