// Splits lines into words: one row in, any number of rows out.
//
//     [steps.words]
//     input = "lines"
//     plugin = "split-words"
//     config = { column = "message", carry = true }   # both may be left out
//
// It reads the column that `column` names, else `line`, else the first text column, and gives the column `word`. With `carry`
// each word keeps the other columns of its line.
//
// First lesson: the columns that come in, the columns that go out, and a function between them. `words` splits at ASCII white
// space.

import { column, defineTransform, setting, words } from '@wasmill/sdk';

export default defineTransform({
  config: { carry: setting.boolean(false) },
  input: { line: column('utf8', { setting: 'column', orFirst: true }) },
  output: { word: 'utf8' },
  carry: ({ carry }) => carry,

  flatMap: ({ line }) => words(line).map((word) => ({ word })),
});
