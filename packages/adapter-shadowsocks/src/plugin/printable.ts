/** Text from elsewhere, fit for a log or an error: control characters (and with them terminal escapes and line breaks) are written as escapes. */
export function printable(text: string, limit: number): string {
  const cut = text.length > limit ? `${text.slice(0, limit)}...` : text;
  return cut.replace(UNPRINTABLE, (letter) => `\\u{${(letter.codePointAt(0) ?? 0).toString(16)}}`);
}

/** Cc: C0, DEL, C1. Cf and Zl/Zp: marks that turn the direction of text or end a line. Cs: a half of a pair. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** A word that a person wrote, in an error of one line. */
const WORD = 64;

export function asTheUserWrote(word: string): string {
  return printable(word, WORD);
}
