// Reduces words to the longest, of several the first.
//
//     [steps.longest]
//     input = "words"
//     plugin = "longest-word"
//     group_by = ["line"]
//
// It reads the column that `column` names, else `word`, else the first text column; the result has that column. Length is
// counted in characters.
//
// First lesson on reducers: a function of two rows that gives one, and does not care where the rows are cut. There is no
// inverse: when the longest word is gone, nobody knows the second.

import { column, defineReducer } from '@wasmill/sdk';

export default defineReducer({
  input: { word: column('utf8', { setting: 'column', orFirst: true }) },

  reduce: (a, b) => (characters(b.word) > characters(a.word) ? b : a),
});

/** A text's `length` counts UTF-16 units: two of an emoji. */
function characters(text) {
  return text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
}
