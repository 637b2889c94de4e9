// Dates and timestamps as texts, to the microsecond. JavaScript's Date knows milliseconds only.

const MICROS_PER_SECOND = 1_000_000n;
const MICROS_PER_DAY = 86_400n * MICROS_PER_SECOND;
const DAYS_PER_ERA = 146_097; // of 400 years
const DAYS_TO_ERA = 719_468; // from 0000-03-01 to 1970-01-01

/** Days since 1970-01-01 as `2026-05-25`. */
export function formatDate(days) {
  const sinceEra = days + DAYS_TO_ERA;
  const era = Math.floor(sinceEra / DAYS_PER_ERA);
  const dayOfEra = sinceEra - era * DAYS_PER_ERA;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = ((monthFromMarch + 2) % 12) + 1;
  const year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0);
  const digits = String(Math.abs(year)).padStart(year < 0 ? 3 : 4, '0'); // four characters with the sign
  return `${year < 0 ? '-' : ''}${digits}-${two(month)}-${two(day)}`;
}

const two = (number) => String(number).padStart(2, '0');

const DATE = /^(\+?\d+)-(\+?\d+)-(\+?\d+)$/;
const MAX_YEAR = 5_879_610; // the last whole year whose days an int32 counts

/** `2026-05-25` as days since 1970-01-01; undefined if it is no date. */
export function parseDate(text) {
  const [, year, month, day] = (DATE.exec(text) ?? []).map(Number);
  if (!(year <= MAX_YEAR && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month))) return undefined;
  // Years that start in March put the leap day last, so a month's offset does not depend on the year.
  const marchYear = year - (month <= 2 ? 1 : 0);
  const era = Math.floor(marchYear / 400);
  const yearOfEra = marchYear - era * 400;
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * DAYS_PER_ERA + dayOfEra - DAYS_TO_ERA;
}

function daysIn(year, month) {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

/** Microseconds since 1970 as `2026-05-25T12:34:56Z`, with as many digits of the second as there are. */
export function formatTimestamp(micros) {
  const ofDay = ((micros % MICROS_PER_DAY) + MICROS_PER_DAY) % MICROS_PER_DAY;
  const days = Number((micros - ofDay) / MICROS_PER_DAY);
  const seconds = Number(ofDay / MICROS_PER_SECOND);
  const digits = String(ofDay % MICROS_PER_SECOND).padStart(6, '0');
  const fraction = digits === '000000' ? '' : `.${digits.endsWith('000') ? digits.slice(0, 3) : digits}`;
  const clock = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map((part) => two(Math.floor(part)));
  return `${formatDate(days)}T${clock.join(':')}${fraction}Z`;
}

const TIMESTAMP = /^(.{10})[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d*))?(?:[Zz]|([+-])(\d+):(\d+))$/;

/** RFC 3339, `2026-05-25T12:34:56.789Z` or with an offset, as microseconds since 1970; undefined if it is no timestamp. */
export function parseTimestamp(text) {
  const match = TIMESTAMP.exec(text);
  const days = match && parseDate(match[1]);
  if (days === null || days === undefined) return undefined;
  const [hour, minute, second] = match.slice(2, 5).map(Number);
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const fraction = BigInt((match[5] ?? '').slice(0, 6).padEnd(6, '0'));
  const offset = match[6] ? BigInt(`${match[6]}1`) * (BigInt(match[7]) * 60n + BigInt(match[8])) * 60n : 0n;
  const seconds = BigInt(hour * 3600 + minute * 60 + second) - offset;
  const micros = BigInt(days) * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + fraction;
  return micros === BigInt.asIntN(64, micros) ? micros : undefined;
}
