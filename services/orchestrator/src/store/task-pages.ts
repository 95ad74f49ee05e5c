/** Jobs in pages that a statement gets through in time: what is asked about a job looks at each of its tasks, ended ones too. */

/** Most tasks of one page, unless one job has more. */
const PAGE_TASKS = 20_000;

/** A job, and how many tasks it has. */
export interface SizedJob {
  readonly jobId: string;
  readonly total: number;
}

/** Cuts a list of jobs into pages of at most `limit` tasks, in its order. A job with more is a page of its own. */
export function pagesByTasks(jobs: readonly SizedJob[], limit = PAGE_TASKS): string[][] {
  const pages: string[][] = [];
  let room = 0;
  for (const { jobId, total } of jobs) {
    if (total > room || pages.length === 0) {
      pages.push([]);
      room = limit;
    }
    pages.at(-1)?.push(jobId);
    room -= total;
  }
  return pages;
}
