/** Reads what services say of themselves on their ops ports. */
import { SERVICE_NAMES, type ServiceName, type StackInfo } from "@nexus/devkit";

const ASK_TIMEOUT_MS = 5_000;

/** What a process has used. */
export interface Usage {
  readonly residentBytes: number;
  /** Since its start, both modes, all threads. */
  readonly cpuSeconds: number;
}

/** Finds the sample without labels of a metric in the Prometheus text format.
 *
 * Errors: an Error naming the metric when there is none. */
export function readMetric(text: string, name: string): number {
  const line = text.split("\n").find((one) => one.startsWith(`${name} `));
  const value = Number(line?.slice(name.length + 1).split(" ")[0]);
  if (line === undefined || !Number.isFinite(value)) throw new Error(`there is no metric ${name}`);
  return value;
}

/** Asks one service for one of its counters. */
export async function readServiceMetric(
  info: StackInfo,
  service: ServiceName,
  name: string,
): Promise<number> {
  return readMetric(await readMetricsText(info, service), name);
}

/** Asks each service for its memory and CPU. */
export async function readUsages(info: StackInfo): Promise<ReadonlyMap<ServiceName, Usage>> {
  const usages = await Promise.all(
    SERVICE_NAMES.map(async (name): Promise<[ServiceName, Usage]> => {
      const text = await readMetricsText(info, name);
      const residentBytes = readMetric(text, "process_resident_memory_bytes");
      return [name, { residentBytes, cpuSeconds: readMetric(text, "process_cpu_seconds_total") }];
    }),
  );
  return new Map(usages);
}

async function readMetricsText(info: StackInfo, name: ServiceName): Promise<string> {
  const url = `${info.services[name].ops}/metrics`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
    return await response.text();
  } catch (error) {
    // fetch() says "fetch failed", and why in its cause.
    const why = (error as Error).cause ?? error;
    throw new Error(`${name} gives no metrics at ${url}: ${String(why)}`, { cause: error });
  }
}
