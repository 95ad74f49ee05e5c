import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { initTracing, tracer } from "@nexus/telemetry";
import { describe, expect, it } from "vitest";

interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A collector that only keeps what it gets. */
async function startCollector() {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      received.push({
        path: request.url ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks),
      });
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { endpoint: `http://127.0.0.1:${port}`, received, close };
}

describe("traces by OTLP", () => {
  it("reach the collector as protobuf at the latest on shutdown", async () => {
    const collector = await startCollector();
    const tracing = await initTracing({
      service: "exporting",
      otlpEndpoint: `${collector.endpoint}/`,
    });
    expect(tracing.exporting).toBe(true);
    tracer().startSpan("exported work").end();
    await tracing.shutdown();
    collector.close();
    expect(collector.received).toHaveLength(1);
    const [request] = collector.received;
    expect(request?.path).toBe("/v1/traces");
    expect(request?.headers["content-type"]).toBe("application/x-protobuf");
    for (const text of ["exported work", "nexus-exporting"]) {
      expect(request?.body.includes(text)).toBe(true);
    }
  });

  it("are lost without holding up the shutdown when no collector answers", async () => {
    const collector = await startCollector();
    collector.close();
    const tracing = await initTracing({ service: "exporting", otlpEndpoint: collector.endpoint });
    tracer().startSpan("lost work").end();
    const startedAtMs = performance.now();
    await tracing.shutdown();
    // The export itself would wait for 5 s.
    expect(performance.now() - startedAtMs).toBeLessThan(4_900);
  });
});
