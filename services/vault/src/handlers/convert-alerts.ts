import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type AlertSchema, AlertSeverity, AnomalyKind } from "@nexus/proto/vault";
import type { CallContext } from "@nexus/rpc";
import { requirePrincipal } from "@nexus/rpc";
import { DEFAULT_NAMESPACE } from "@nexus/shared";
import type { Alert, Detector, Evidence, Severity } from "../domain/anomaly/alert.ts";
import { toTimestamp } from "./convert.ts";

type AlertInit = MessageInitShape<typeof AlertSchema>;

const SEVERITIES: Readonly<Record<Severity, AlertSeverity>> = {
  low: AlertSeverity.LOW,
  medium: AlertSeverity.MEDIUM,
  high: AlertSeverity.HIGH,
};

const KINDS: Readonly<Record<Detector, AnomalyKind>> = {
  rate: AnomalyKind.RATE,
  "first-seen": AnomalyKind.FIRST_SEEN,
  "failed-logins": AnomalyKind.FAILED_LOGINS,
  "login-spread": AnomalyKind.LOGIN_SPREAD,
  "parallel-use": AnomalyKind.PARALLEL_USE,
  "decrypt-ratio": AnomalyKind.DECRYPT_RATIO,
};

function keyOf<K extends string, V>(table: Readonly<Record<K, V>>, value: V): K | undefined {
  return (Object.keys(table) as K[]).find((key) => table[key] === value);
}

/** A severity from the wire; undefined for all. */
export function fromSeverity(severity: AlertSeverity): Severity | undefined {
  return keyOf(SEVERITIES, severity);
}

/** A kind from the wire; undefined for all. */
export function fromAnomalyKind(kind: AnomalyKind): Detector | undefined {
  return keyOf(KINDS, kind);
}

/** Whose alerts the caller may see; undefined for everybody's. */
export function namespaceSeenBy(ctx: CallContext): string | undefined {
  const { namespace } = requirePrincipal(ctx);
  return namespace === DEFAULT_NAMESPACE ? undefined : namespace;
}

/** An alert to the wire. */
export function toAlertMessage(alert: Alert): AlertInit {
  const { acknowledged, evidence, firstAtMs, lastAtMs, firstLeaf, lastLeaf } = alert;
  return {
    alertId: alert.alertId,
    kind: KINDS[evidence.detector],
    severity: SEVERITIES[alert.severity],
    namespace: alert.namespace,
    principalId: alert.principalId,
    firstTime: toTimestamp(firstAtMs),
    lastTime: toTimestamp(lastAtMs),
    count: alert.count,
    firstLeaf: BigInt(firstLeaf),
    lastLeaf: BigInt(lastLeaf),
    evidence: toEvidence(evidence),
    revision: alert.revision,
    ...(acknowledged === undefined
      ? {}
      : {
          acknowledgeTime: toTimestamp(acknowledged.atMs),
          acknowledgedBy: acknowledged.by,
          note: acknowledged.note,
        }),
  };
}

function toEvidence(evidence: Evidence): NonNullable<AlertInit["evidence"]> {
  switch (evidence.detector) {
    case "rate": {
      const { method, calls, limit, usual, windowMs } = evidence;
      const known = usual === undefined ? {} : { usual };
      const value = { method, calls: BigInt(calls), limit, ...known, ...windowOf(windowMs) };
      return { case: "rate", value };
    }
    case "first-seen": {
      const { what, value, known } = evidence;
      return { case: "firstSeen", value: { what, value, known } };
    }
    case "failed-logins": {
      const { name, failures, host, windowMs } = evidence;
      const value = { name, failures: BigInt(failures), host, ...windowOf(windowMs) };
      return { case: "failedLogins", value };
    }
    case "login-spread": {
      const { host, names, failures, windowMs } = evidence;
      const value = { host, names, failures: BigInt(failures), ...windowOf(windowMs) };
      return { case: "loginSpread", value };
    }
    case "parallel-use": {
      const { tokenId, hosts, windowMs } = evidence;
      return {
        case: "parallelUse",
        value: { tokenId, hosts: [...hosts], ...windowOf(windowMs) },
      };
    }
    case "decrypt-ratio": {
      const { decrypts, encrypts, usualRatio, windowMs } = evidence;
      const counts = { decrypts: BigInt(decrypts), encrypts: BigInt(encrypts) };
      return { case: "decryptRatio", value: { ...counts, usualRatio, ...windowOf(windowMs) } };
    }
  }
}

function windowOf(windowMs: number) {
  return { window: durationFromMs(windowMs) };
}
