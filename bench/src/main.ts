/** The program behind `npm run bench`: one stack, the wanted scenarios one after the other, one table. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type Bed, type BedOptions, openBed } from "./bed/bed.ts";
import { describeMachine } from "./bed/machine.ts";
import { watchStolenShare } from "./bed/process-cpu.ts";
import type { Figure } from "./figure.ts";
import { ratiosOf } from "./ratios.ts";
import { type RunReport, renderJson, renderTable } from "./report.ts";
import { parseRunArguments, type RunArguments, renderUsage } from "./run-arguments.ts";
import {
  LONE_SCENARIOS,
  planScenarios,
  planStacks,
  SCENARIOS,
  type StackPlan,
} from "./scenarios/index.ts";
import type { LoneScenario, Scenario, Step } from "./scenarios/scenario.ts";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

const startedAtMs = performance.now();
process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const all = [...LONE_SCENARIOS, ...SCENARIOS];
  const names = all.map(({ name }) => name);
  const parsed = parseRunArguments(args, names);
  if (parsed.kind === "help") {
    process.stdout.write(renderUsage(all));
    return 0;
  }
  if (parsed.kind === "usage") {
    process.stderr.write(`${parsed.problem}\n\n${renderUsage(all)}`);
    return EXIT_USAGE;
  }
  const dataDir = mkdtempSync(join(tmpdir(), "nexus-bench-"));
  // The database's own user, when this one is root, has to get to its folder.
  chmodSync(dataDir, 0o755);
  const signal = listenForStop();
  try {
    return await runAll(parsed.run, dataDir, signal);
  } catch (error) {
    if (signal.aborted) return EXIT_INTERRUPTED;
    progress(error instanceof Error ? error.message : String(error));
    return EXIT_FAILED;
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

function listenForStop(): AbortSignal {
  const controller = new AbortController();
  const stop = () => controller.abort(new Error("interrupted"));
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  return controller.signal;
}

async function runAll(
  { quick, scenarios, jsonFile, profileDir }: RunArguments,
  dataDir: string,
  signal: AbortSignal,
): Promise<number> {
  const profiled = profileDir !== undefined;
  const machine = describeMachine(dataDir, { quick, profiled });
  const stolenShare = watchStolenShare();
  const lone = LONE_SCENARIOS.filter(({ name }) => scenarios.includes(name));
  const alone = await Promise.race([measureLone(lone, quick), untilAborted(signal)]);
  const wanted = planScenarios(SCENARIOS, scenarios);
  const possible = wanted.filter(({ obstacle }) => obstacle?.() === undefined);
  const onStacks: Measured[] = [];
  for (const [index, plan] of planStacks(possible).entries()) {
    const own = (folder: string) => (index === 0 ? folder : join(folder, `stack-${index + 1}`));
    onStacks.push(
      await measureOnStack(plan, {
        dataDir: join(dataDir, String(index)),
        quick,
        profileDir: profileDir === undefined ? undefined : own(profileDir),
        signal,
        progress,
      }),
    );
  }
  const measured: Measured = {
    figures: [...[...onStacks, alone].flatMap(({ figures }) => figures), ...unmeasured(wanted)],
    failures: [...onStacks, alone].flatMap(({ failures }) => failures),
  };
  const circumstances = { ...machine, stolenShare: stolenShare() };
  const report: RunReport = { circumstances, ...measured };
  process.stdout.write(renderTable(report));
  if (jsonFile !== undefined) writeFileSync(jsonFile, renderJson(report));
  return measured.failures.length === 0 ? 0 : EXIT_FAILED;
}

type Measured = Pick<RunReport, "figures" | "failures">;

/** Figures without values of what this machine cannot measure. */
function unmeasured(wanted: readonly Scenario[]): Figure[] {
  return wanted.flatMap(({ obstacle, keys = [] }) => {
    const why = obstacle?.();
    if (why === undefined) return [];
    return keys.map((key) => ({ key, value: null, load: `not measured: ${why}` }));
  });
}

/** Runs the scenarios that need no stack. */
async function measureLone(scenarios: readonly LoneScenario[], quick: boolean): Promise<Measured> {
  const figures: Figure[] = [];
  const failures: { scenario: string; problem: string }[] = [];
  for (const { name, measure } of scenarios) {
    progress(name);
    try {
      figures.push(...(await measure(quick)));
    } catch (error) {
      failures.push({ scenario: name, problem: problemOf(name, error) });
    }
  }
  return { figures, failures };
}

/** Runs scenarios on a stack that is started for them; what was measured on others is not lost if this one does not start. */
async function measureOnStack(
  { scenarios, ...stack }: StackPlan,
  options: Omit<BedOptions, keyof StackPlan>,
): Promise<Measured> {
  progress("starting a database and six services");
  const { signal } = options;
  let bed: Bed;
  try {
    bed = await openBed({ ...options, ...stack });
  } catch (error) {
    if (signal.aborted) throw error;
    const problem = problemOf("the stack", error);
    return { figures: [], failures: scenarios.map(({ name }) => ({ scenario: name, problem })) };
  }
  try {
    return await Promise.race([measureAll(bed, scenarios, signal), untilAborted(signal)]);
  } finally {
    progress("stopping");
    await bed[Symbol.asyncDispose]();
  }
}

function problemOf(name: string, error: unknown): string {
  const problem = error instanceof Error ? error.message : String(error);
  progress(`${name} could not be measured: ${problem}`);
  return problem;
}

/** Runs each scenario; one that fails is reported and does not stop the others. */
async function measureAll(
  bed: Bed,
  scenarios: readonly Scenario[],
  signal: AbortSignal,
): Promise<Measured> {
  const figures = new Map<string, Figure[]>(scenarios.map(({ name }) => [name, []]));
  const failures: { scenario: string; problem: string }[] = [];
  const attempt = async ({ name }: Scenario, step: Step | undefined) => {
    if (step === undefined || signal.aborted) return;
    try {
      figures.get(name)?.push(...(await step(bed)));
    } catch (error) {
      if (signal.aborted) return;
      failures.push({ scenario: name, problem: problemOf(name, error) });
    }
  };
  for (const scenario of scenarios) await attempt(scenario, scenario.before);
  for (const scenario of scenarios) {
    progress(scenario.name);
    for (const step of [scenario.run, ...(scenario.further ?? [])]) await attempt(scenario, step);
  }
  return {
    figures: [...figures.values()].flatMap((group) => [...group, ...ratiosOf(group)]),
    failures,
  };
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = () => reject(signal.reason as Error);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

function progress(text: string): void {
  const sinceStart = ((performance.now() - startedAtMs) / 1_000).toFixed(1).padStart(6);
  process.stderr.write(`${sinceStart} s  ${text}\n`);
}
