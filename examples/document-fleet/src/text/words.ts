/** English function words: too frequent to say what a text is about. */
const STOP_WORDS = new Set(
  `a about above after again against all also am an and any are as at be because been before being below between
  both but by can cannot could did do does doing done down during each either else ever every few for from further
  get gets had has have having he her here hers him his how however i if in into is it its itself just least less
  let like made make makes many may me might more most much must my neither never no nor not now of off often on
  once one only or other our out over own per rather same see shall she should since so some still such than that
  the their them then there these they this those through to too two under until up upon us use used uses using
  very via was we were what when where whether which while who whom whose why will with within without would yes
  yet you your`
    .split(/\s+/)
    .filter((word) => word !== ""),
);

/** Cuts Markdown down to its prose: no code blocks, tables, link targets, markup. */
export function toProse(markdown: string): string {
  return markdown
    .replaceAll(/^(```|~~~)[\s\S]*?^\1/gm, "\n\n")
    .replaceAll(/^\s*\|.*$/gm, "")
    .replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replaceAll(/`([^`]*)`/g, "$1")
    .replaceAll(/^\s{0,3}(?:#{1,6}|>|[-*+]|\d+\.)\s+/gm, "")
    .replaceAll(/[*_]{1,3}([^*_]+)[*_]{1,3}/g, "$1");
}

/** The words of a text, in lower case, in order. */
export function toWords(text: string): string[] {
  return text.toLowerCase().match(/\p{L}[\p{L}\p{N}'-]*/gu) ?? [];
}

/** The sentences of a text, headings and list items counting as sentences of their own. */
export function toSentences(prose: string): string[] {
  return prose
    .split(/\n\s*\n|\n(?=\S)|(?<=[.!?])\s+(?=[\p{Lu}\p{N}])/u)
    .map((sentence) => sentence.replaceAll(/\s+/g, " ").trim())
    .filter((sentence) => sentence !== "");
}

/** True for words that carry meaning: at least three letters and no stop word. */
export function isTerm(word: string): boolean {
  return word.length >= 3 && !STOP_WORDS.has(word);
}
