// What the current call is about.

let current = {
  epoch: 0n,
  batchTime: 0,
  partition: 0,
  call: 0,
  watermark: undefined,
  seed: 0n,
};

/**
 * The context of the call that is running: epoch, batch time in milliseconds since 1970, partition, seed. They are the same
 * when an epoch is run again; a plugin has no other clock and no other randomness.
 */
export function context() {
  return current;
}

const NO_WATERMARK = -(2n ** 63n);

/** Notes the contract's context. */
export function enter({ epoch, batchTime, partition, call, watermark, seed }) {
  // ComponentizeJS 0.23 hands the least s64 over as 2^63: without its sign.
  const since1970 = BigInt.asIntN(64, watermark);
  current = {
    epoch,
    batchTime: Number(batchTime),
    partition,
    call,
    watermark: since1970 === NO_WATERMARK ? undefined : Number(since1970),
    seed,
  };
}
