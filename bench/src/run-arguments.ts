/** The command line of `npm run bench`. Pure. */
import { parseArgs } from "node:util";

/** What a run is asked to do. */
export interface RunArguments {
  /** Scenarios in the order in which they run. */
  readonly scenarios: readonly string[];
  readonly quick: boolean;
  readonly jsonFile: string | undefined;
  /** Where every process is to write its CPU profile. */
  readonly profileDir: string | undefined;
}

/** What the command line asks for: a run, the help text, or what is wrong with it. */
export type ParsedArguments =
  | { readonly kind: "run"; readonly run: RunArguments }
  | { readonly kind: "help" }
  | { readonly kind: "usage"; readonly problem: string };

/** Reads the arguments after the program's name; `known` are the scenarios' names in the order in which they run. */
export function parseRunArguments(
  args: readonly string[],
  known: readonly string[],
): ParsedArguments {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    return { kind: "usage", problem: error instanceof Error ? error.message : String(error) };
  }
  const { values, positionals } = parsed;
  if (values.help === true) return { kind: "help" };
  const unknown = positionals.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    return { kind: "usage", problem: `unknown scenario: ${unknown.join(", ")}` };
  }
  if (values.json === "") return { kind: "usage", problem: "--json needs the name of a file" };
  if (values.profile === "") {
    return { kind: "usage", problem: "--profile needs the name of a folder" };
  }
  const scenarios = known.filter((name) => positionals.length === 0 || positionals.includes(name));
  return {
    kind: "run",
    run: {
      scenarios,
      quick: values.quick === true,
      jsonFile: values.json,
      profileDir: values.profile,
    },
  };
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: "string" },
      profile: { type: "string" },
      quick: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
}

/** Writes the help text. */
export function renderUsage(scenarios: readonly { name: string; about: string }[]): string {
  const width = Math.max(...scenarios.map(({ name }) => name.length));
  return `Measures NEXUS on this machine: stack, agents and load all on it, Postgres durable.

Usage: npm run bench [-- [flags] [NAME...]]

  --json FILE     also write the figures to a file, under stable keys
  --profile DIR   have every process write a CPU profile; its figures are slower than the truth
  --quick         a short run, to see that it all goes; its figures are too short to compare
  --help          this text

Names, all of them when none is given:
${scenarios.map(({ name, about }) => `  ${name.padEnd(width)}   ${about}`).join("\n")}

The table goes to standard output, progress to standard error. No timing decides the exit code:
0 measured, 1 something could not be measured, 2 usage, 130 interrupted.
`;
}
