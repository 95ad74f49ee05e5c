import { isTerm, toProse, toSentences, toWords } from "./words.ts";

/** A word that says what a document is about. */
export interface KeyTerm {
  readonly term: string;
  readonly count: number;
}

/** What an analyser finds in one document. */
export interface Analysis {
  readonly file: string;
  readonly title: string;
  readonly bytes: number;
  readonly lines: number;
  readonly words: number;
  readonly sentences: number;
  readonly distinctTerms: number;
  /** Most telling first. */
  readonly keyTerms: readonly KeyTerm[];
  /** The document's own sentences that say most of it, in its order. */
  readonly summary: readonly string[];
  /** Flesch reading ease: 100 is easy, 0 is hard; undefined for texts too short to judge. */
  readonly readingEase: number | undefined;
}

const KEY_TERMS_MAX = 8;
const SUMMARY_SENTENCES_MAX = 3;
const SUMMARY_SENTENCE_WORDS = { min: 6, max: 60 };
/** Flesch's formula was fitted to samples of 100 words. */
const READABLE_WORDS_MIN = 100;

/** Analyses one Markdown or plain-text document. */
export function analyse(file: string, text: string): Analysis {
  const prose = toProse(text);
  const words = toWords(prose);
  const sentences = toSentences(prose);
  const counts = countTerms(words);
  return {
    file,
    title: findTitle(text) ?? file,
    bytes: Buffer.byteLength(text),
    lines: text.split("\n").length,
    words: words.length,
    sentences: sentences.length,
    distinctTerms: counts.size,
    keyTerms: rankTerms(counts),
    summary: summarise(sentences, counts),
    readingEase: readingEase(words, sentences.length),
  };
}

function findTitle(text: string): string | undefined {
  return /^#\s+(.+)$/m.exec(text)?.[1]?.trim();
}

function countTerms(words: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const word of words) {
    if (isTerm(word)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

function rankTerms(counts: ReadonlyMap<string, number>): KeyTerm[] {
  return [...counts]
    .map(([term, count]) => ({ term, count }))
    .sort((a, b) => b.count - a.count || a.term.localeCompare(b.term))
    .slice(0, KEY_TERMS_MAX);
}

/** Extractive summary after Luhn (1958): sentences dense in the document's frequent terms, early ones preferred. */
function summarise(sentences: readonly string[], counts: ReadonlyMap<string, number>): string[] {
  const scored = sentences.flatMap((sentence, position) => {
    const words = toWords(sentence);
    const fits =
      words.length >= SUMMARY_SENTENCE_WORDS.min && words.length <= SUMMARY_SENTENCE_WORDS.max;
    if (!fits) return [];
    const weight = words.reduce((sum, word) => sum + (counts.get(word) ?? 0), 0) / words.length;
    return [{ sentence, position, score: weight * (1 + 1 / (1 + position)) }];
  });
  return scored
    .sort((a, b) => b.score - a.score)
    .slice(0, SUMMARY_SENTENCES_MAX)
    .sort((a, b) => a.position - b.position)
    .map(({ sentence }) => sentence);
}

/** Flesch (1948): 206.835 - 1.015 words per sentence - 84.6 syllables per word. */
function readingEase(words: readonly string[], sentences: number): number | undefined {
  if (words.length < READABLE_WORDS_MIN || sentences === 0) return undefined;
  const syllables = words.reduce((sum, word) => sum + countSyllables(word), 0);
  const score = 206.835 - 1.015 * (words.length / sentences) - 84.6 * (syllables / words.length);
  return Math.round(score * 10) / 10;
}

/** Vowel groups, less a silent final e: right for nine English words in ten, which is enough for an average. */
function countSyllables(word: string): number {
  const groups = word.replace(/e$/, "").match(/[aeiouy]+/g)?.length ?? 0;
  return Math.max(1, groups);
}
