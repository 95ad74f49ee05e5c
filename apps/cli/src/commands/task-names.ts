import type { CommandContext } from "../command.ts";
import { absent } from "./absent.ts";

/** The id of a task that is named by it, or as `job/key`: what people have at hand are the keys that they chose. */
export async function findTaskId(ctx: CommandContext, text: string): Promise<string> {
  const slash = text.indexOf("/");
  if (slash < 0) return text;
  const [jobId, key] = [text.slice(0, slash), text.slice(slash + 1)];
  const { jobs } = ctx.client();
  let pageToken = "";
  do {
    const { tasks, page } = await jobs.listTasks({ jobId, page: { pageSize: 1_000, pageToken } });
    const found = tasks.find((task) => task.spec?.key === key);
    if (found !== undefined) return found.taskId;
    pageToken = page?.nextPageToken ?? "";
  } while (pageToken !== "");
  throw absent("TASK_NOT_FOUND", `The job ${jobId} has no task "${key}".`);
}
