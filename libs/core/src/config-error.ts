import { NexusError } from "@nexus/shared";

/** One thing that is wrong with the configuration. */
export interface ConfigProblem {
  /** The variable, or the file, that is wrong. */
  readonly env: string;
  /** What is wrong, without the value when it is secret. */
  readonly problem: string;
  /** A valid value. */
  readonly example: string;
}

function line(problem: ConfigProblem): string {
  const example = problem.example === "" ? "" : ` (example: ${problem.example})`;
  return `  ${problem.env} ${problem.problem}${example}`;
}

/** Every problem of a configuration at once, so that nobody mends them one start at a time. */
export class ConfigError extends NexusError {
  readonly problems: readonly ConfigProblem[];

  constructor(service: string, problems: readonly ConfigProblem[]) {
    const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
    super({
      kind: "invalid",
      reason: "CONFIG_INVALID",
      message: `The configuration of ${service} has ${count}:\n${problems.map(line).join("\n")}`,
      details: {
        fieldViolations: problems.map((p) => ({ field: p.env, description: p.problem })),
      },
    });
    this.name = "ConfigError";
    this.problems = problems;
  }
}
