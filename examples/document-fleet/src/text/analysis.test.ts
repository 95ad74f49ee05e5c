import { describe, expect, it } from "vitest";
import { analyse } from "./analysis.ts";
import { composeReport } from "./report.ts";
import { toProse, toSentences } from "./words.ts";

const SAMPLE = `# Leases

A lease is an agent's right to run one attempt. Every lease carries a fence, and the fence only grows.

\`\`\`ts
const lease = "code is not prose";
\`\`\`

- A stale fence is refused by every service that sees the lease.
`;

describe("analyse", () => {
  it("counts prose, not code", () => {
    const found = analyse("leases.md", SAMPLE);
    expect(found).toMatchObject({ file: "leases.md", title: "Leases", sentences: 4 });
    expect(found.keyTerms.map(({ term }) => term)).not.toContain("const");
  });

  it("ranks terms by count, then by name", () => {
    const [first, second] = analyse("leases.md", SAMPLE).keyTerms;
    expect(first).toEqual({ term: "fence", count: 3 });
    expect(second).toEqual({ term: "lease", count: 3 });
  });

  it("summarises with the document's own sentences, in its order", () => {
    const { summary } = analyse("leases.md", SAMPLE);
    const sentences = toSentences(toProse(SAMPLE));
    const positions = summary.map((sentence) => sentences.indexOf(sentence));
    expect(positions.length).toBeGreaterThan(0);
    expect(positions).toEqual([...positions].sort((a, b) => a - b));
    expect(positions).not.toContain(-1);
  });

  it("judges readability only of texts long enough", () => {
    expect(analyse("short.md", "Too short to judge.").readingEase).toBeUndefined();
    const easy = analyse("easy.md", "The cat sat on the mat. ".repeat(40)).readingEase ?? 0;
    const hard = analyse(
      "hard.md",
      "Organisational interoperability necessitates comprehensive institutionalisation notwithstanding considerable administrative complexity. ".repeat(
        12,
      ),
    ).readingEase;
    expect(easy).toBeGreaterThan(90);
    expect(hard ?? 0).toBeLessThan(10);
  });

  it("takes an empty document", () => {
    expect(analyse("empty.md", "")).toMatchObject({ words: 0, keyTerms: [], summary: [] });
  });
});

describe("composeReport", () => {
  it("names every document once in the table and once as a section", () => {
    const analyses = [analyse("b.md", SAMPLE), analyse("a.md", "# Alpha\n\nAll about agents.")];
    const report = composeReport("docs", analyses);
    expect(report.match(/^\| [ab]\.md \|/gm)).toEqual(["| a.md |", "| b.md |"]);
    expect(report).toContain("## Alpha");
    expect(report).toContain("## Leases");
    expect(report).toContain("2 documents");
  });
});
