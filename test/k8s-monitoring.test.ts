/** Holds the alert rules to their form and to the settings that they speak of; test/e2e/tls.test.ts holds them to the metrics of a stack. */
import { describe, expect, it } from "vitest";
import { loadServiceSchemas, SERVICE_NAMES } from "../scripts/source/service-schemas.ts";
import {
  hasKubectl,
  metricsOf,
  pick,
  ROOT,
  readAlertRules,
  readManifests,
  readText,
  renderOverlay,
  serviceOfMetric,
} from "./_manifests.ts";

const FOLDER = "k8s/components/monitoring";
/** Of Prometheus itself and of kube-state-metrics. */
const OF_OTHERS = /\b(up|kube_[a-z_]+)\b/;
const rules = readAlertRules();

describe("k8s/components/monitoring", () => {
  it.each(rules)("says of $alert how urgent it is, what it means, and what to do", (rule) => {
    expect(rule.alert).toMatch(/^Nexus[A-Za-z]+$/);
    expect(["page", "ticket"]).toContain(rule.labels["severity"]);
    expect(rule.annotations["summary"]).toMatch(/\.$/);
    expect(rule.annotations["action"]).toMatch(/\.$/);
  });

  it("has each alert once, and none that reads nothing", () => {
    const names = rules.map(({ alert }) => alert);
    expect(names).toEqual([...new Set(names)]);
    const idle = rules.filter((rule) => metricsOf(rule).length === 0 && !OF_OTHERS.test(rule.expr));
    expect(idle).toEqual([]);
  });

  it("watches every service", () => {
    const watched = rules.flatMap(metricsOf).map(serviceOfMetric);
    expect(watched).toEqual(expect.arrayContaining([...SERVICE_NAMES]));
    const { expr = "" } = rules.find(({ alert }) => alert === "NexusServiceDown") ?? {};
    for (const name of SERVICE_NAMES) expect(expr).toContain(name);
  });

  it("calls a backlog near its cap at 80 % of what the orchestrators take", async () => {
    const schema = (await loadServiceSchemas(ROOT)).get("orchestrator");
    const cap = Number(schema?.fields["waitingTasksMax"]?.defaultValue);
    const { expr = "" } = rules.find(({ alert }) => alert === "NexusBacklogNearItsCap") ?? {};
    expect(Number(/> (\d+)$/.exec(expr)?.[1])).toBe(cap * 0.8);
  });

  it("sees dead letters of tasks that expire while they wait, and of those that run out of time", () => {
    const rule = rules.find(({ alert }) => alert === "NexusDeadLettersGrow");
    expect(rule === undefined ? [] : metricsOf(rule)).toEqual(
      expect.arrayContaining([
        "nexus_orchestrator_attempts_ended_total",
        "nexus_orchestrator_tasks_expired_total",
      ]),
    );
    // The attempt of a task that ran out of time (SCHEDULE_TO_CLOSE) ends as CANCELLED.
    expect(rule?.expr).not.toContain("CANCELLED");
  });

  it("scrapes the ops port of every pod of NEXUS", () => {
    const { spec } = pick<{
      selector: { matchLabels: Record<string, string> };
      podMetricsEndpoints: { port: string; path: string }[];
    }>(readManifests(`${FOLDER}/scrape.yaml`), "PodMonitor", "nexus");
    expect(spec.selector.matchLabels).toEqual({ "app.kubernetes.io/part-of": "nexus" });
    expect(spec.podMetricsEndpoints).toMatchObject([{ port: "ops", path: "/metrics" }]);
  });

  it("is named where an operator looks", () => {
    expect(readText("k8s/README.md")).toContain("components/monitoring");
  });

  it.skipIf(!hasKubectl())("renders with kubectl (skipped without kubectl)", () => {
    const kinds = renderOverlay(FOLDER).map(({ kind }) => kind);
    expect(kinds.sort()).toEqual(["PodMonitor", "PrometheusRule"]);
  });
});
