/* The texts of types, dates, timestamps, decimals and floats. */
#include <float.h>
#include <stdio.h>
#include <stdlib.h>

#include "sdk.h"
#include "value.h"

static const char *const type_names[] = {
    [WM_BOOLEAN] = "boolean", [WM_INT64] = "int64", [WM_FLOAT64] = "float64", [WM_DATE] = "date",
    [WM_TIMESTAMP] = "timestamp", [WM_UTF8] = "utf8", [WM_BINARY] = "binary", [WM_JSON] = "json",
};

uint32_t wm_width(wm_type type)
{
    switch (type) {
    case WM_DATE: return 4;
    case WM_INT64: case WM_FLOAT64: case WM_TIMESTAMP: return 8;
    case WM_DECIMAL: return 16;
    default: return 0;
    }
}

bool wm_varies(wm_type type)
{
    return type == WM_UTF8 || type == WM_BINARY || type == WM_JSON;
}

/* Digits only, with a sign before them if `sign`; takes them off the front. */
static bool take_number(wm_text *text, bool sign, int64_t *number)
{
    size_t at = 0;
    bool minus = false, fits = true;
    if (at < text->length && (text->data[at] == '+' || (sign && text->data[at] == '-'))) minus = text->data[at++] == '-';
    size_t first = at;
    int64_t sum = 0;
    for (; at < text->length && text->data[at] >= '0' && text->data[at] <= '9'; at++) {
        fits = fits && !__builtin_mul_overflow(sum, 10, &sum) && !__builtin_add_overflow(sum, text->data[at] - '0', &sum);
    }
    *number = minus ? -sum : sum;
    bool some = at > first;
    *text = (wm_text){ text->data + at, text->length - at };
    return some && fits;
}

static bool take_char(wm_text *text, const char *one_of)
{
    if (text->length == 0 || strchr(one_of, text->data[0]) == NULL || text->data[0] == 0) return false;
    *text = (wm_text){ text->data + 1, text->length - 1 };
    return true;
}

static bool read_decimal_type(wm_text text, uint8_t *precision, uint8_t *scale)
{
    static const char prefix[] = "decimal(";
    int64_t digits, after;
    if (text.length < sizeof prefix - 1 || memcmp(text.data, prefix, sizeof prefix - 1) != 0) return false;
    text = (wm_text){ text.data + sizeof prefix - 1, text.length - (sizeof prefix - 1) };
    if (!take_number(&text, false, &digits) || !take_char(&text, ",")) return false;
    while (take_char(&text, " ")) {}
    if (!take_number(&text, false, &after) || !take_char(&text, ")") || text.length != 0) return false;
    if (digits < 1 || digits > 38 || after > digits) return false;
    *precision = (uint8_t)digits;
    *scale = (uint8_t)after;
    return true;
}

bool wm_field_type(wm_field *field, wm_text type)
{
    for (wm_type known = WM_BOOLEAN; known <= WM_JSON; known++) {
        if (known != WM_DECIMAL && wm_text_equal(type, wm_text_of(type_names[known]))) {
            field->type = known;
            return true;
        }
    }
    field->type = WM_DECIMAL;
    if (read_decimal_type(type, &field->precision, &field->scale)) return true;
    return wm_fatal("`%.*s` is not a type; there are boolean, int64, float64, decimal(p,s), date, timestamp, utf8, binary and json",
                    WM_ARG(type));
}

wm_text wm_field_type_name(const wm_field *field)
{
    if (field->type == WM_DECIMAL) return wm_format("decimal(%d,%d)", field->precision, field->scale);
    return wm_text_of(type_names[field->type]);
}

size_t wm_text_characters(wm_text text)
{
    size_t characters = 0;
    for (size_t at = 0; at < text.length; at++) characters += ((uint8_t)text.data[at] & 0xc0) != 0x80;
    return characters;
}

wm_text wm_first_characters(wm_text text, size_t most)
{
    size_t characters = 0, at = 0;
    for (; at < text.length; at++) {
        if (((uint8_t)text.data[at] & 0xc0) != 0x80 && characters++ == most) break;
    }
    return (wm_text){ text.data, at };
}

/* A number in at least so many digits; answers where they end. There is one for each column of each row of a text: printf would be most of the work. */
static char *put_digits(char *to, uint64_t number, int least)
{
    char digits[20];
    int count = 0;
    for (; number > 0 || count < least; number /= 10) digits[count++] = (char)('0' + number % 10);
    while (count > 0) *to++ = digits[--count];
    return to;
}

static char *put_signed(char *to, int64_t number, int least)
{
    if (number < 0) *to++ = '-';
    return put_digits(to, number < 0 ? -(uint64_t)number : (uint64_t)number, least - (number < 0));
}

static wm_text copied(const char *from, const char *end)
{
    size_t length = (size_t)(end - from);
    return (wm_text){ wm_copy(from, length), length };
}

/* ---- Dates and timestamps ---- */

#define MICROS_PER_SECOND INT64_C(1000000)
#define MICROS_PER_DAY (86400 * MICROS_PER_SECOND)

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days before the first of January of a year, counted from the year 0. */
static int64_t days_before_year(int64_t year)
{
    int64_t before = year - 1;
    return year * 365 + floor_div(before, 4) - floor_div(before, 100) + floor_div(before, 400);
}

static const uint16_t days_before_month[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365 };

static uint32_t month_start(int64_t year, uint32_t month)
{
    return days_before_month[month - 1] + (month > 2 && is_leap(year));
}

bool wm_date_from_ymd(int32_t year, uint32_t month, uint32_t day, wm_date *date)
{
    if (month < 1 || month > 12 || day < 1) return false;
    uint32_t start = month_start(year, month);
    uint32_t end = month == 12 ? 365u + is_leap(year) : month_start(year, month + 1);
    if (day > end - start) return false;
    int64_t days = days_before_year(year) - days_before_year(1970) + start + day - 1;
    if (days < INT32_MIN || days > INT32_MAX) return false;
    date->days = (int32_t)days;
    return true;
}

static char *put_day(char *to, int64_t days)
{
    int64_t since_zero = days + days_before_year(1970);
    int64_t year = floor_div(since_zero * 400, 146097); /* the mean year is exact within one */
    while (days_before_year(year) > since_zero) year--;
    while (days_before_year(year + 1) <= since_zero) year++;
    uint32_t day = (uint32_t)(since_zero - days_before_year(year));
    uint32_t month = 12;
    while (month_start(year, month) > day) month--;
    to = put_signed(to, year, 4);
    *to++ = '-';
    to = put_digits(to, month, 2);
    *to++ = '-';
    return put_digits(to, day - month_start(year, month) + 1, 2);
}

wm_text wm_date_text(wm_date date)
{
    char text[32];
    return copied(text, put_day(text, date.days));
}

bool wm_date_parse(wm_text text, wm_date *date)
{
    int64_t part[3];
    for (int at = 0; at < 3; at++) {
        if (at > 0 && !take_char(&text, "-")) return false;
        if (!take_number(&text, false, &part[at]) || part[at] > (at == 0 ? INT32_MAX : 99)) return false;
    }
    return text.length == 0 && wm_date_from_ymd((int32_t)part[0], (uint32_t)part[1], (uint32_t)part[2], date);
}

wm_text wm_timestamp_text(wm_timestamp timestamp)
{
    int64_t days = floor_div(timestamp.micros, MICROS_PER_DAY);
    int64_t of_day = timestamp.micros - days * MICROS_PER_DAY;
    uint32_t seconds = (uint32_t)(of_day / MICROS_PER_SECOND), micros = (uint32_t)(of_day % MICROS_PER_SECOND);
    char text[64], *to = put_day(text, days);
    *to++ = 'T';
    to = put_digits(to, seconds / 3600, 2);
    *to++ = ':';
    to = put_digits(to, seconds / 60 % 60, 2);
    *to++ = ':';
    to = put_digits(to, seconds % 60, 2);
    if (micros > 0) {
        bool millis = micros % 1000 == 0;
        *to++ = '.';
        to = put_digits(to, millis ? micros / 1000 : micros, millis ? 3 : 6);
    }
    *to++ = 'Z';
    return copied(text, to);
}

/* "12:34:56", and the digits of a second after a point, if there are any. */
static bool take_clock(wm_text *text, int64_t *micros)
{
    static const int64_t limits[] = { 24, 60, 60 };
    if (text->length < 8) return false;
    wm_text clock = { text->data, 8 };
    int64_t seconds = 0, part;
    for (int at = 0; at < 3; at++) {
        if (at > 0 && !take_char(&clock, ":")) return false;
        if (!take_number(&clock, false, &part) || part >= limits[at]) return false;
        seconds = seconds * 60 + part;
    }
    if (clock.length != 0) return false;
    *text = (wm_text){ text->data + 8, text->length - 8 };
    *micros = seconds * MICROS_PER_SECOND;
    if (!take_char(text, ".")) return true;
    for (int64_t unit = MICROS_PER_SECOND / 10; text->length > 0 && text->data[0] >= '0' && text->data[0] <= '9'; unit /= 10) {
        *micros += (text->data[0] - '0') * unit; /* digits beyond the sixth count nothing */
        *text = (wm_text){ text->data + 1, text->length - 1 };
    }
    return true;
}

static bool take_zone(wm_text *text, int64_t *minutes)
{
    *minutes = 0;
    if (take_char(text, "Zz")) return true;
    int64_t hours, rest;
    bool east = text->length > 0 && text->data[0] == '+';
    if (!take_char(text, "+-") || !take_number(text, true, &hours) || !take_char(text, ":") || !take_number(text, true, &rest)) return false;
    if (__builtin_mul_overflow(hours, 60, &hours) || __builtin_add_overflow(hours, rest, minutes)) return false;
    *minutes = east ? *minutes : -*minutes;
    return true;
}

bool wm_timestamp_parse(wm_text text, wm_timestamp *timestamp)
{
    wm_date date;
    int64_t micros, minutes, offset;
    if (text.length < 10 || !wm_date_parse((wm_text){ text.data, 10 }, &date)) return false;
    text = (wm_text){ text.data + 10, text.length - 10 };
    if (!take_char(&text, "Tt ") || !take_clock(&text, &micros) || !take_zone(&text, &minutes) || text.length != 0) return false;
    return !__builtin_mul_overflow((int64_t)date.days, MICROS_PER_DAY, &timestamp->micros)
        && !__builtin_add_overflow(timestamp->micros, micros, &timestamp->micros)
        && !__builtin_mul_overflow(minutes, 60 * MICROS_PER_SECOND, &offset)
        && !__builtin_sub_overflow(timestamp->micros, offset, &timestamp->micros);
}

/* ---- Numbers ---- */

wm_text wm_int64_text(int64_t value)
{
    char text[20];
    return copied(text, put_signed(text, value, 1 + (value < 0)));
}

static wm_int128 power_of_ten(unsigned exponent)
{
    wm_int128 power = 1;
    while (exponent-- > 0) power *= 10;
    return power;
}

wm_text wm_decimal_text(wm_decimal decimal, uint8_t scale)
{
    char digits[42];
    size_t at = sizeof digits;
    bool minus = decimal.unscaled < 0;
    unsigned __int128 rest = minus ? -(unsigned __int128)decimal.unscaled : (unsigned __int128)decimal.unscaled;
    for (unsigned written = 0; rest > 0 || written <= scale; written++, rest /= 10) {
        if (written == scale && scale > 0) digits[--at] = '.';
        digits[--at] = (char)('0' + (int)(rest % 10));
    }
    if (minus) digits[--at] = '-';
    return (wm_text){ wm_copy(digits + at, sizeof digits - at), sizeof digits - at };
}

bool wm_decimal_parse(wm_text text, uint8_t precision, uint8_t scale, wm_decimal *decimal)
{
    bool minus = take_char(&text, "-");
    const char *point = text.length == 0 ? NULL : memchr(text.data, '.', text.length);
    size_t whole = point == NULL ? text.length : (size_t)(point - text.data);
    size_t end = text.length;
    if (point != NULL) while (end > whole + 1 && text.data[end - 1] == '0') end--;
    size_t fraction = point == NULL ? 0 : end - whole - 1;
    if (whole == 0 || fraction > scale) return false;
    wm_int128 unscaled = 0;
    for (size_t at = 0; at < end; at++) {
        if (at == whole) continue;
        if (text.data[at] < '0' || text.data[at] > '9') return false;
        if (__builtin_mul_overflow(unscaled, 10, &unscaled) || __builtin_add_overflow(unscaled, text.data[at] - '0', &unscaled)) return false;
    }
    if (__builtin_mul_overflow(unscaled, power_of_ten(scale - (unsigned)fraction), &unscaled)) return false;
    decimal->unscaled = minus ? -unscaled : unscaled;
    return unscaled < power_of_ten(precision);
}

/* The shortest digits that stand for the number. If 15 do, they are the shortest once zeros at their end are gone, but for the numbers
 * next to zero, which have fewer; 17 always do. */
wm_text wm_float_text(double value)
{
    char written[32], digits[18];
    int count = value > -DBL_MIN && value < DBL_MIN ? 1 : 15, exponent;
    for (;; count++) {
        snprintf(written, sizeof written, "%.*e", count - 1, value);
        if (count == 17 || strtod(written, NULL) == value) break;
    }
    const char *from = written + (written[0] == '-');
    const char *sign = from == written ? "" : "-";
    count = 0;
    for (; *from != 'e'; from++) if (*from != '.') digits[count++] = *from;
    exponent = atoi(from + 1) + 1; /* of 0.digits */
    while (count > 1 && digits[count - 1] == '0') count--;
    if (value == 0) return wm_format("%s0.0", sign);
    if (exponent > 16 || exponent <= -5) {
        return wm_format("%s%c%s%.*se%d", sign, digits[0], count > 1 ? "." : "", count - 1, digits + 1, exponent - 1);
    }
    if (exponent <= 0) return wm_format("%s0.%.*s%.*s", sign, -exponent, "00000", count, digits);
    if (exponent >= count) return wm_format("%s%.*s%.*s.0", sign, count, digits, exponent - count, "0000000000000000");
    return wm_format("%s%.*s.%.*s", sign, exponent, digits, count - exponent, digits + exponent);
}
