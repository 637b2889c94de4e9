// Counts the rows of each key since the beginning of the run.
//
//     [steps.totals]
//     input = "words"
//     plugin = "running-count"
//     group_by = ["word"]
//
// It gives, for each key with rows in an epoch, a row of the key's columns and `n`, how many rows there were up to now.
//
// First lesson on keyed plugins: what is remembered of a key is a row, and the function sees it as it was after the epoch
// before. Without `key` and `input` neither the key nor a column of the rows is read, so any will do. A key with very many rows
// comes in several calls; the count is emitted in the last. An int64 is a bigint, so it counts exactly however far.

import { defineKeyed } from '@wasmill/sdk';

export default defineKeyed({
  state: { n: 'int64' },
  output: { n: 'int64' },
  carry: true,

  *update({ rows, state }) {
    const before = state.get()?.n ?? 0n;
    const n = before + BigInt(rows.length);
    state.put({ n });
    if (state.isLastPart) yield { n };
  },
});
