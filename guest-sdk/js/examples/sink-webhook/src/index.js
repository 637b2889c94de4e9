// Posts rows as JSON to an HTTP server.
//
//     [sinks.alerts]
//     input = "errors"
//     type = "plugin"
//     plugin = "sink-webhook"
//     config = { url = "https://hooks.example.com/rows" }
//     grants = { http = ["hooks.example.com"] }
//
// Each request holds an array of at most `batch_rows` (1000) rows, each an object by column name. `headers` adds headers,
// `timeout_ms` (10000) bounds the wait for an answer. The header `Idempotency-Key` is the same whenever the same rows of an epoch
// are sent again, after an error or a restart: a server that remembers it gets every row once.
//
// An answer of 2xx is success. After 429, 5xx or no answer the host tries again, not before `Retry-After`. After another 4xx the
// request's rows are rejected, or with `on_4xx = "fail"` the pipeline ends.
//
// Second lesson on sinks: HTTP. `plugin.toml` says `http = true`, and the pipeline file must grant the hosts; no other can be
// reached. `begin` starts a partition of an epoch with its key, `write` gets its chunks.

import { defineSink, Fatal, Retryable, setting } from '@wasmill/sdk';
import { parseUrl, post } from '@wasmill/sdk/http';

export default defineSink({
  config: {
    url: setting.text(),
    headers: setting.table(setting.text(), new Map()),
    batch_rows: setting.integer(1000),
    timeout_ms: setting.integer(10_000),
    on_4xx: setting.oneOf(['reject', 'fail'], 'reject'),
  },

  open(config) {
    parseUrl(config.url); // a wrong one is told before the pipeline starts
    if (config.batch_rows < 1) throw new Fatal('`batch_rows` is at least 1');
    let key = '';
    let requests = 0;

    function postAll(batch, reject) {
      for (let start = 0; start < batch.rows; start += config.batch_rows) {
        const rows = [];
        for (let row = start; row < Math.min(start + config.batch_rows, batch.rows); row++) rows.push(row);
        const headers = {
          'Content-Type': 'application/json',
          'Idempotency-Key': `${key}-${requests++}`,
          ...Object.fromEntries(config.headers),
        };
        const body = `[${rows.map((row) => batch.json(row)).join(',')}]`;
        const refused = refusal(config, post(config.url, body, { headers, timeoutMs: config.timeout_ms }));
        if (refused !== undefined) rows.forEach((row) => reject(row, refused));
      }
    }

    return {
      begin(idempotencyKey) {
        key = idempotencyKey;
        requests = 0;
      },

      write(batch, reject) {
        const before = requests;
        try {
          postAll(batch, reject);
        } catch (error) {
          requests = before; // the host writes the chunk again: under the same keys
          throw error;
        }
      },
    };
  },
});

/** Why the rows of a request were refused, if they were. */
function refusal(config, answer) {
  const { status } = answer;
  if (status >= 200 && status < 300) return undefined;
  const reason = `${config.url} answered ${status}: ${answer.excerpt()}`;
  if (status === 429 || status >= 500) {
    const after = answer.headers['retry-after'] ?? '';
    throw new Retryable(reason, /^\d+$/.test(after) ? { afterMs: Number(after) * 1000 } : {});
  }
  if (status >= 400 && config.on_4xx === 'reject') return reason;
  throw new Fatal(reason);
}
