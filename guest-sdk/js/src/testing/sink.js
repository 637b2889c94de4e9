// The test of a sink.

import assert from 'node:assert/strict';

import { answered } from '../http/native.js';
import { rejects } from './check.js';
import { contextOf, Input } from './rows.js';

/**
 * Opens the sink, writes all rows as one chunk of one partition, and prepares it. After a retryable error the partition is given
 * again, at once, up to `retries` times. `http` answers the plugin's requests.
 */
export function runSink(plugin, { config = {}, input = {}, rows = [], key = 'test-0-0', retries = 0, context, http } = {}) {
  assert.equal(plugin.kind, 'sink');
  const given = new Input(input, rows);
  const settings = JSON.stringify(config);
  const plan = plugin.describe(settings, given.fields);
  const { fields, buffers } = given.planned(plan.columns);
  const open = () => plugin.open(settings, fields);
  const instance = open();
  const write = () => {
    instance.begin(contextOf(context), key);
    return rejects(instance.write(contextOf(context), given.rows, buffers), given.rows);
  };
  const prepare = () => [retried(write, retries), instance.prepare(contextOf(context))];
  const [rejected, token] = answered(http, prepare);
  assert.ok(token instanceof Uint8Array, 'a token is bytes');
  return {
    plan,
    rejected,
    token,
    /** Commits the token with a fresh instance: as after a crash, nothing but the token is left. */
    commit: (epoch = 0n) => answered(http, () => open().commit(epoch, [token])),
    /** Aborts the token with a fresh instance. */
    abort: (epoch = 0n) => answered(http, () => open().abort(epoch, [token])),
    lastEpoch: (partition = 0) => answered(http, () => open().lastEpoch(partition)),
  };
}

function retried(work, retries) {
  for (let left = retries; ; left--) {
    try {
      return work();
    } catch (error) {
      if (error.kind !== 'retryable' || left === 0) throw error;
    }
  }
}
