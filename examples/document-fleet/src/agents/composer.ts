/** The composer: turns all analyses into one Markdown report. */
import { createAgent, RawPayload } from "@nexus/sdk";
import type { Analysis } from "../text/analysis.ts";
import { composeReport } from "../text/report.ts";
import { readEnvironment } from "./environment.ts";

const agent = await createAgent({ ...readEnvironment(), displayName: "Composer" })
  .capability<{ folder: string }, RawPayload>(
    "report.compose@1.0.0",
    { description: "One report about many documents" },
    (ctx, { folder }) => {
      const analyses = [...ctx.upstream.values()] as Analysis[];
      const report = composeReport(folder, analyses);
      return new RawPayload("text/markdown; charset=utf-8", new TextEncoder().encode(report));
    },
  )
  .start();
await agent.runUntilSignal();
