/** Turns figures into the table for people and the JSON file for machines. Pure. */
import { type Figure, infoOf, SERVICE_FIGURES } from "./figure.ts";

/** The circumstances of a run; without them its figures mean nothing. */
export interface Circumstances {
  readonly startedAt: string;
  readonly quick: boolean;
  /** Every process wrote a profile, which costs some of its speed. */
  readonly profiled: boolean;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly node: string;
  readonly platform: string;
  /** Of the last minute, before anything was started: work of others makes every figure worse. */
  readonly loadAverage: number;
  /** Of the cores' time during the run, what the host of a virtual machine kept back; undefined where nobody says. */
  readonly stolenShare: number | undefined;
  /** Of an 8 KiB write to the database's folder, made durable: what no durable commit can beat. */
  readonly fsyncP50Ms: number;
  /** Processes that put load on the stack, in words. */
  readonly fleet: string;
}

/** A finished run. */
export interface RunReport {
  readonly circumstances: Circumstances;
  readonly figures: readonly Figure[];
  /** Scenarios that could not be measured, with the reason. */
  readonly failures: readonly { readonly scenario: string; readonly problem: string }[];
}

const HEADINGS = ["name", "value", "unit", "load", "target"] as const;
const VALUE_COLUMN = 1;
const NOT_MEASURED = "-";
const GROUP = /\B(?=(\d{3})+$)/g;
const THIN_GAP = " ";

/** Writes one line on the machine, and a table of one line a figure. */
export function renderTable(report: RunReport): string {
  const rows = report.figures.map((figure) => {
    const { about, unit, target } = infoOf(figure.key);
    const name = figure.service === undefined ? about : `${about}: ${figure.service}`;
    return [name, formatMeasured(figure.value), unit, figure.load, target ?? ""];
  });
  const table = [[...HEADINGS], ...rows];
  const widths = HEADINGS.map((_, column) =>
    Math.max(...table.map((row) => (row[column] ?? "").length)),
  );
  const lines = table.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === VALUE_COLUMN ? cell.padStart(width) : cell.padEnd(width);
      })
      .join("  ")
      .trimEnd(),
  );
  return [renderCircumstances(report.circumstances), "", ...lines, ""].join("\n");
}

/** Writes the JSON file: each figure under its own key, groups as objects by service, and all of it with the loads. */
export function renderJson(report: RunReport): string {
  const values: Record<string, number | null | Record<string, number | null>> = {};
  for (const { key, service, value } of report.figures) {
    if (!(key in SERVICE_FIGURES)) values[key] = value;
    else values[key] = { ...(values[key] as object | undefined), [service ?? ""]: value };
  }
  const figures = report.figures.map((figure) => ({ ...figure, ...infoOf(figure.key) }));
  const document = {
    ...values,
    circumstances: report.circumstances,
    figures,
    failures: report.failures,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function renderCircumstances(about: Circumstances): string {
  const { stolenShare } = about;
  const stolen =
    stolenShare === undefined
      ? ""
      : `; the host kept back ${formatValue(100 * stolenShare)} % of the cores`;
  return [
    `NEXUS bench ${about.startedAt}${about.quick ? " (quick: too short to compare)" : ""}${about.profiled ? " (profiled: slower than it is)" : ""}`,
    `${about.cores} x ${about.cpu}, ${about.memoryGib} GiB, ${about.platform}, Node ${about.node}`,
    `load average before the run ${about.loadAverage.toFixed(2)}; a durable 8 KiB write takes ${formatValue(about.fsyncP50Ms)} ms${stolen}`,
    `on this machine: Postgres, six services, ${about.fleet}`,
  ].join("\n");
}

function formatMeasured(value: number | null): string {
  return value === null ? NOT_MEASURED : formatValue(value);
}

/** A whole number with thousands apart: 12 345. */
export function formatCount(count: number): string {
  return count.toFixed(0).replace(GROUP, THIN_GAP);
}

/** Three digits that count: 12 345, 123, 12.3, 1.23. */
export function formatValue(value: number): string {
  if (value === 0) return "0";
  if (Math.abs(value) >= 100) return formatCount(value);
  const digits = 2 - Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(Math.max(digits, 0), 4));
}
