/** Words of free text, for search: runs of letters and digits, lower case, in any script. */

/** Most words of a search text that are looked at; the contract's 256 characters hold no more than 128. */
export const SEARCH_WORDS_MAX = 128;

const WORD = /[\p{L}\p{N}]+/gu;

/** Splits a text into distinct words: `text.analyse v2` -> text, analyse, v2. */
export function wordsOf(text: string): ReadonlySet<string> {
  return new Set(text.toLowerCase().match(WORD) ?? []);
}
