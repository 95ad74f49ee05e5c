import { randomUUID } from "node:crypto";
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  type Alert,
  AlertSchema,
  AlertSeverity,
  AnomalyKind,
  ListAlertsResponseSchema,
} from "@nexus/proto/vault";
import type { CommandArguments, CommandSpec, FlagSpec } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { writeLine } from "../output.ts";
import { showEnum, showTime, writeJson, writeJsonLine, writeTable } from "../show.ts";
import { usageError } from "../usage-error.ts";
import { followUntilInterrupted } from "./follow.ts";
import { parseLimit } from "./numbers.ts";

const SEVERITY_FLAG: FlagSpec = {
  flags: "--severity <word>",
  about: "only low, medium or high ones, and those above",
};

const SEVERITIES: Readonly<Record<string, AlertSeverity>> = {
  low: AlertSeverity.LOW,
  medium: AlertSeverity.MEDIUM,
  high: AlertSeverity.HIGH,
};

const KINDS: Readonly<Record<string, AnomalyKind>> = {
  rate: AnomalyKind.RATE,
  "first-seen": AnomalyKind.FIRST_SEEN,
  "failed-logins": AnomalyKind.FAILED_LOGINS,
  "login-spread": AnomalyKind.LOGIN_SPREAD,
  "parallel-use": AnomalyKind.PARALLEL_USE,
  "decrypt-ratio": AnomalyKind.DECRYPT_RATIO,
};

/** Reads a flag whose value is one of some words; the enum's zero when it was not given. */
function wordOf<T extends number>(
  args: CommandArguments,
  flag: string,
  words: Readonly<Record<string, T>>,
): T {
  const word = args.text(flag);
  const value = word === undefined ? (0 as T) : words[word];
  if (value !== undefined) return value;
  throw usageError(`--${flag} is one of ${Object.keys(words).join(", ")}.`);
}

function kindOf({ kind }: Alert): string {
  return showEnum(AnomalyKind, kind).replaceAll("_", "-");
}

/** Why, in a few words. */
function evidenceOf({ evidence }: Alert): string {
  switch (evidence.case) {
    case "rate": {
      const { method, calls, limit, window } = evidence.value;
      return `${method} ${calls} times in ${seconds(window)}, limit ${Math.round(limit)}`;
    }
    case "firstSeen":
      return `${evidence.value.what} ${evidence.value.value} for the first time`;
    case "failedLogins": {
      const { name, failures, host } = evidence.value;
      return `${failures} failures as ${name}, last from ${host}`;
    }
    case "loginSpread":
      return `${evidence.value.names} names from ${evidence.value.host}`;
    case "parallelUse":
      return `token ${evidence.value.tokenId} at ${evidence.value.hosts.join(", ")}`;
    case "decryptRatio": {
      const { decrypts, encrypts, window } = evidence.value;
      return `${decrypts} out, ${encrypts} in, in ${seconds(window)}`;
    }
    default:
      return "-";
  }
}

function seconds(window: Parameters<typeof durationMs>[0] | undefined): string {
  return window === undefined ? "-" : `${durationMs(window) / 1000} s`;
}

function lineOf(alert: Alert): string[] {
  const { alertId, severity, namespace, principalId, count, lastTime, acknowledgedBy } = alert;
  return [
    alertId,
    showTime(lastTime),
    showEnum(AlertSeverity, severity),
    kindOf(alert),
    principalId === "" ? "-" : `${namespace}/${principalId}`,
    count > 1 ? `${evidenceOf(alert)} (${count} times)` : evidenceOf(alert),
    acknowledgedBy === "" ? "-" : acknowledgedBy,
  ];
}

/** Lists what vault found unusual. */
export const alertsListCommand: CommandSpec = {
  usage: "alerts list",
  about: "List alerts on what is unusual in the audit log, the last changed first",
  example: "nexus alerts list --severity medium",
  flags: [
    SEVERITY_FLAG,
    { flags: "--kind <word>", about: `only ${Object.keys(KINDS).join(", ")}` },
    { flags: "--principal <id>", about: "only about this principal" },
    { flags: "--all", about: "those that were acknowledged, too" },
    { flags: "--limit <n>", about: "how many at most, 1 to 1000", default: "50" },
  ],
  run: async (ctx, args) => {
    const response = await ctx.client().anomalies.listAlerts({
      severity: wordOf(args, "severity", SEVERITIES),
      kind: wordOf(args, "kind", KINDS),
      principalId: args.text("principal") ?? "",
      includeAcknowledged: args.isSet("all"),
      page: { pageSize: parseLimit(args.text("limit")) },
    });
    if (ctx.format === "json") {
      writeJson(ctx, ListAlertsResponseSchema, response);
    } else if (ctx.format === "name") {
      for (const { alertId } of response.alerts) writeLine(ctx, alertId);
    } else {
      const head = ["alert", "last", "severity", "kind", "about", "evidence", "acknowledged by"];
      writeTable(ctx, head, response.alerts.map(lineOf));
    }
    return EXIT.ok;
  },
};

/** Follows what vault finds unusual. */
export const alertsWatchCommand: CommandSpec = {
  usage: "alerts watch",
  about: "Show alerts as they are raised, joined or acknowledged, until Ctrl-C",
  example: "nexus alerts watch --severity high",
  flags: [SEVERITY_FLAG],
  run: async (ctx, args) => {
    const severity = wordOf(args, "severity", SEVERITIES);
    let resumeRevision = -1n;
    return followUntilInterrupted(ctx, {
      open: () => {
        const request = { resumeRevision, severity };
        return ctx.client().anomalies.watchAlerts(request, { signal: ctx.signal });
      },
      take: ({ alerts, revision }) => {
        for (const alert of alerts) {
          if (ctx.format === "json") writeJsonLine(ctx, AlertSchema, alert);
          else writeLine(ctx, lineOf(alert).join("  "));
        }
        resumeRevision = revision;
        return undefined;
      },
    });
  },
};

/** Says that somebody has looked. */
export const alertsAcknowledgeCommand: CommandSpec = {
  usage: "alerts acknowledge <alert>",
  about: "Say that somebody has looked at an alert",
  example: 'nexus alerts acknowledge alert_0197… --note "load test"',
  flags: [{ flags: "--note <text>", about: "what it was" }],
  run: async (ctx, args) => {
    const { alert } = await ctx.client().anomalies.acknowledgeAlert({
      requestId: randomUUID(),
      alertId: args.at(0),
      note: args.text("note") ?? "",
    });
    if (alert === undefined) return EXIT.unexpected;
    if (ctx.format === "json") writeJson(ctx, AlertSchema, alert);
    else if (ctx.format === "name") writeLine(ctx, alert.alertId);
    else writeLine(ctx, `${alert.alertId} acknowledged by ${alert.acknowledgedBy}`);
    return EXIT.ok;
  },
};
