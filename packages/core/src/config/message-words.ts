/** Words that messages hold anyway: a gap in the place of one tells a secret that is the same word, and hides none. */
import { SECRET_KEYS, SHOWN_KEYS } from './known-keys.js';

/** Of our sentences, from four letters on. */
const SENTENCE = (
  'also allowed already another anyway away been before begin begins behind bits both built bytes cannot case characters choose circle close code colon comes ' +
  'comma config connection connections domain does each effect either empty entries entry error errors expected fail fails file first found from gives given ' +
  'give goes group groups guess have here hold holds host http https into invalid items itself keys kind kinds know known last least leave length letters like ' +
  'line lines list lists long longer look loaded made many match means missing module more most must name names needs neither network none nothing number once ' +
  'only other others part place plain plugin port ports prefix problem provider range rather rule rules said same second section send several shown stands ' +
  'stays still string such supported takes target text than that them there these they thing things this those through twice type types under unknown unless ' +
  'until used user valid value values wanted warning what when where which will with without word words would write written wrong your'
).split(' ');

const WORDS: ReadonlySet<string> = new Set(SENTENCE);
const QUOTE = /^["'`]$/;
const LETTER = /^[\w-]$/;

/** Whether what stands there is one of these words, or a part of it. In quotes only names of keys are: what else is quoted may be a value. */
export function isMessageWord(text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (!LETTER.test(text.charAt(at))) return false;
  let start = from;
  let end = to;
  while (LETTER.test(text.charAt(start - 1))) start--;
  while (LETTER.test(text.charAt(end))) end++;
  const word = text.slice(start, end);
  if (SHOWN_KEYS.has(word) || SECRET_KEYS.has(word)) return true;
  return WORDS.has(word) && !QUOTE.test(text.charAt(start - 1)) && !QUOTE.test(text.charAt(end));
}
