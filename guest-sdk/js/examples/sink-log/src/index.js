// Writes each row, as a JSON object, to the pipeline's log.
//
//     [sinks.seen]
//     input = "words"
//     type = "plugin"
//     plugin = "sink-log"
//
// First lesson on sinks: `open` gives an object whose `write` gets the rows of a partition, chunk by chunk. `console.info` is a
// line of the pipeline's log at level info. An epoch that is repeated after a crash is logged again: the delivery is
// at-least-once, which is what a sink promises that says nothing else.

import { defineSink } from '@wasmill/sdk';

export default defineSink({
  open: () => ({
    write(batch) {
      for (let row = 0; row < batch.rows; row++) console.info(batch.json(row));
    },
  }),
});
