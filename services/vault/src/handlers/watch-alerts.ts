import type { AnomalyService } from "@nexus/proto/vault";
import type { MethodImplementation } from "@nexus/rpc";
import { sleep } from "@nexus/shared";
import { alertWatchesFull } from "../domain/anomaly/alert-errors.ts";
import { fromSeverity, namespaceSeenBy, toAlertMessage } from "./convert-alerts.ts";
import type { AlertHandlerDeps } from "./deps.ts";

type WatchAlerts = MethodImplementation<typeof AnomalyService.method.watchAlerts>;

/** Each asks the database once a second; the contract says how many. */
const WATCHES_MAX = 64;
const POLL_MS = 1000;
/** Readings without news until a sign of life; the contract promises 5 s. */
const SILENT_POLLS_MAX = 4;
const BATCH_MAX = 256;

/** Serves AnomalyService.WatchAlerts. A reader that is slow is asked for less often, and holds one message. */
export function createWatchAlerts({ alerts }: AlertHandlerDeps): WatchAlerts {
  let watches = 0;
  return async function* watch({ resumeRevision, severity }, ctx) {
    if (watches >= WATCHES_MAX) throw alertWatchesFull(WATCHES_MAX);
    watches++;
    try {
      const scope = { namespace: namespaceSeenBy(ctx), severity: fromSeverity(severity) };
      let revision = resumeRevision < 0n ? await alerts.revision() : resumeRevision;
      let silent = SILENT_POLLS_MAX;
      while (!ctx.signal.aborted) {
        const changed = await alerts.changedAfter(revision, scope, BATCH_MAX);
        revision = changed.at(-1)?.revision ?? revision;
        silent = changed.length > 0 ? 0 : silent + 1;
        if (changed.length > 0 || silent > SILENT_POLLS_MAX) {
          silent = 0;
          yield { alerts: changed.map(toAlertMessage), revision };
        }
        if (changed.length < BATCH_MAX) await sleep(POLL_MS, ctx.signal);
      }
    } finally {
      watches--;
    }
  };
}
