// Fixed-point numbers: a bigint that counts units of 10^-scale.

/** The number without its point, `-1230n`, as `-12.30`. */
export function formatDecimal(unscaled, scale) {
  const sign = unscaled < 0n ? '-' : '';
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0');
  return scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

const NUMBER = /^(-?)(\d+)(?:\.(\d*))?$/;

/** `-12.3` as the unscaled number of a `decimal(precision,scale)`; undefined if it does not fit exactly. */
export function parseDecimal(text, precision, scale) {
  const [, sign, whole, rest = ''] = NUMBER.exec(text) ?? [];
  const fraction = rest.replace(/0+$/, '');
  if (whole === undefined || fraction.length > scale) return undefined;
  const unscaled = BigInt(whole + fraction.padEnd(scale, '0'));
  return unscaled < 10n ** BigInt(precision) ? (sign ? -unscaled : unscaled) : undefined;
}
