import type { Metrics } from "@nexus/telemetry";
import type { AdmissionGate } from "../domain/admission-gate.ts";
import type { RevocationLog } from "../domain/revocation-log.ts";
import type { SecureVault } from "../domain/secure-vault.ts";

/** What the gauges read. */
export interface Measured {
  readonly gate: AdmissionGate;
  readonly revocations: RevocationLog;
  readonly vault: SecureVault;
}

/** Adds the gauges of vault, read at each scrape. */
export function addGauges(metrics: Metrics, { gate, revocations, vault }: Measured): void {
  metrics.gauge({
    name: "sealed",
    help: "1 while calls that need a key are refused.",
    read: () => (vault.sealReason === undefined ? 0 : 1),
  });
  metrics.gauge({
    name: "password_checks_running",
    help: "Password hashes being computed.",
    read: () => gate.running,
  });
  metrics.gauge({
    name: "password_checks_queued",
    help: "Logins that wait for a hash.",
    read: () => gate.queued,
  });
  metrics.gauge({
    name: "revocations_in_force",
    help: "Revocations whose tokens have not ended yet.",
    read: () => revocations.size,
  });
}
