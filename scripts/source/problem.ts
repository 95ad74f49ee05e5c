/** What a check reports: a place and what is wrong there, in words that say how to repair it. */

/** One finding. `line` is 1-based and absent when the whole file is meant. */
export interface Problem {
  readonly file: string;
  readonly line?: number;
  readonly message: string;
}

/** What a check found: problems fail the run, warnings are shown and forgiven. */
export interface Findings {
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** Prints a finding as `file:line message`, the form that editors turn into a link. */
export function formatProblem(problem: Problem): string {
  const place = problem.line === undefined ? problem.file : `${problem.file}:${problem.line}`;
  return `${place} ${problem.message}`;
}
