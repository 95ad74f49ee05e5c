import type { Analysis, KeyTerm } from "./analysis.ts";

const FLEET_TERMS_MAX = 15;

/** Writes one Markdown report about many documents. */
export function composeReport(folder: string, analyses: readonly Analysis[]): string {
  const sorted = [...analyses].sort((a, b) => a.file.localeCompare(b.file));
  const words = sum(sorted, (one) => one.words);
  const lines = [
    `# Report on the documents in ${folder}`,
    "",
    `${sorted.length} documents, ${words.toLocaleString("en")} words, ` +
      `${sum(sorted, (one) => one.sentences).toLocaleString("en")} sentences.`,
    "",
    `Across all of them: ${mergeTerms(sorted).map(showTerm).join(", ")}.`,
    "",
    "| document | words | sentences | reading ease | key terms |",
    "|---|---:|---:|---:|---|",
    ...sorted.map(tableRow),
    "",
    ...sorted.flatMap(section),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

function tableRow(one: Analysis): string {
  const terms = one.keyTerms
    .slice(0, 4)
    .map(({ term }) => term)
    .join(", ");
  const ease = one.readingEase === undefined ? "-" : one.readingEase.toFixed(1);
  return `| ${one.file} | ${one.words} | ${one.sentences} | ${ease} | ${terms} |`;
}

function section(one: Analysis): string[] {
  return [
    `## ${one.title}`,
    "",
    `\`${one.file}\`: ${one.lines} lines, ${one.words} words, ${one.distinctTerms} distinct terms.`,
    "",
    ...one.summary.map((sentence) => `> ${sentence}\n`),
    `Key terms: ${one.keyTerms.map(showTerm).join(", ")}.`,
    "",
  ];
}

function mergeTerms(analyses: readonly Analysis[]): KeyTerm[] {
  const counts = new Map<string, number>();
  for (const { keyTerms } of analyses) {
    for (const { term, count } of keyTerms) counts.set(term, (counts.get(term) ?? 0) + count);
  }
  return [...counts]
    .map(([term, count]) => ({ term, count }))
    .sort((a, b) => b.count - a.count || a.term.localeCompare(b.term))
    .slice(0, FLEET_TERMS_MAX);
}

function showTerm({ term, count }: KeyTerm): string {
  return `${term} (${count})`;
}

function sum(analyses: readonly Analysis[], of: (one: Analysis) => number): number {
  return analyses.reduce((total, one) => total + of(one), 0);
}
