/** The judge of set-append: compares what was acknowledged with what the API tells afterwards. Pure. */

/** One element that a client tried to append: a job under one request id. */
export interface Appended {
  readonly element: string;
  /** Keys of the job's tasks. */
  readonly tasks: readonly string[];
  /** The job id of every answer: none when all tries failed, several when it was asked again. */
  readonly acknowledged: readonly string[];
}

/** One job as the API tells it. */
export interface Told {
  readonly element: string;
  readonly jobId: string;
  /** Its state is final. */
  readonly ended: boolean;
  readonly events: readonly ToldEvent[];
}

/** One change in a job's history. */
export interface ToldEvent {
  readonly sequence: bigint;
  /** A task's key; empty for the job itself. */
  readonly taskKey: string;
  /** The state that it changed to is final. */
  readonly final: boolean;
}

/** Says what is wrong: an acknowledged element that is lost, doubled, stuck or ended twice; one that nobody appended; a
 * history out of order. An element that was never acknowledged may be there or not, but then once and whole. */
export function findViolations(appended: readonly Appended[], told: readonly Told[]): string[] {
  const problems: string[] = [];
  const jobs = new Map<string, Told[]>();
  for (const job of told) jobs.set(job.element, [...(jobs.get(job.element) ?? []), job]);
  for (const one of appended) {
    const found = jobs.get(one.element) ?? [];
    jobs.delete(one.element);
    problems.push(...presenceProblems(one, found));
    for (const job of found) problems.push(...historyProblems(one, job));
  }
  for (const phantom of jobs.keys()) problems.push(`${phantom}: is there, but nobody appended it`);
  return problems;
}

function presenceProblems({ element, acknowledged }: Appended, found: readonly Told[]): string[] {
  const problems: string[] = [];
  const answers = new Set(acknowledged);
  if (answers.size > 1) problems.push(`${element}: one request was given ${answers.size} jobs`);
  if (found.length > 1) problems.push(`${element}: is there ${found.length} times`);
  for (const jobId of answers) {
    if (!found.some((job) => job.jobId === jobId)) {
      problems.push(`${element}: ${jobId} was acknowledged and is not there`);
    }
  }
  return problems;
}

function historyProblems({ element, tasks }: Appended, { jobId, ended, events }: Told): string[] {
  const problems: string[] = [];
  const complain = (what: string) => problems.push(`${element} (${jobId}): ${what}`);
  if (!ended) complain("has not ended");
  const ends = new Map<string, number>();
  let last = 0n;
  for (const { sequence, taskKey, final } of events) {
    if (sequence <= last) complain(`sequence ${sequence} follows ${last}`);
    last = sequence;
    if (final) ends.set(taskKey, (ends.get(taskKey) ?? 0) + 1);
  }
  for (const key of ["", ...tasks]) {
    const times = ends.get(key) ?? 0;
    ends.delete(key);
    if (times !== 1) complain(`${key === "" ? "the job" : key} ended ${times} times`);
  }
  for (const key of ends.keys()) complain(`${key} is no task of it`);
  return problems;
}
