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
  const mark = signed(watermark);
  current = {
    epoch,
    batchTime: Number(signed(batchTime)),
    partition,
    call,
    watermark: mark === NO_WATERMARK ? undefined : Number(mark),
    seed,
  };
}

/** ComponentizeJS 0.23 hands an s64 over as if it were a u64. */
function signed(integer) {
  return BigInt.asIntN(64, integer);
}
