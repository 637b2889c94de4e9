import assert from 'node:assert/strict';
import { test } from 'node:test';

import { context } from '@wasmill/sdk';

import { rehearse } from '../src/rehearsal.js';

for (const kind of ['transform', 'reducer', 'keyed', 'sink']) {
  test(`a ${kind} is rehearsed, and nothing of it is left`, () => {
    const before = context();
    rehearse(kind);
    assert.deepEqual(context(), before);
  });
}
