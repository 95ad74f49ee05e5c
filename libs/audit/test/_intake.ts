/** Vault, as far as a courier sees it: takes each position of a stream once, finds out other entries, and can fail. */
import { AuditIntakeService } from "@nexus/proto/vault";
import { createRpcServer } from "@nexus/rpc";
import { createSilentLogger, NexusError } from "@nexus/shared";
import { createMetrics } from "@nexus/telemetry";
import type { TestIdentity } from "@nexus/testkit";

/** How the next calls are answered. `lost`: taken, but the answer does not arrive. */
export type Mood = "well" | "away" | "lost";

export class TestIntake {
  mood: Mood = "well";
  /** What was taken, in order. */
  readonly taken: string[] = [];
  readonly positions = new Map<string, bigint>();
  calls = 0;
  readonly #last = new Map<string, string>();

  async listen({ verifier }: TestIdentity) {
    const server = createRpcServer({
      service: "vault",
      host: "127.0.0.1",
      port: 0,
      logger: createSilentLogger(),
      metrics: createMetrics("vault"),
      verifier,
    });
    server.add(AuditIntakeService, {
      appendEntries: ({ stream, entries }) => {
        this.calls++;
        if (this.mood === "away") throw unavailable();
        const before = this.positions.get(stream) ?? 0n;
        const same = entries.find(({ position }) => position === before);
        if (same !== undefined && Buffer.from(same.draft).toString() !== this.#last.get(stream)) {
          return { position: (entries.at(-1)?.position ?? 0n) + 1n };
        }
        for (const { position, draft } of entries) {
          if (position <= (this.positions.get(stream) ?? 0n)) continue;
          this.positions.set(stream, position);
          this.#last.set(stream, Buffer.from(draft).toString());
          this.taken.push(Buffer.from(draft).toString());
        }
        if (this.mood === "lost") throw unavailable();
        return { position: this.positions.get(stream) ?? 0n };
      },
    });
    const { address } = await server.listen();
    return { address, close: () => server.close(0) };
  }
}

function unavailable(): NexusError {
  return new NexusError({ kind: "unavailable", reason: "UNAVAILABLE", message: "away" });
}
