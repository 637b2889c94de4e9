/* JSON: checked and cut by coreJSON, read and written here. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "sdk.h"
#include "value.h"

#define JSON_MAX_DEPTH 4096     /* of lists and objects; a byte of stack each */
#define coreJSON_ASSERT(condition)  /* its proofs hold, and an assertion a byte is dear */
#include "../third-party/core_json.c"

#define QUOTED 40               /* characters of a value in a message */

static wm_json trimmed(const char *data, size_t length)
{
    size_t start = 0;
    while (start < length && isspace_(data[start])) start++;
    while (length > start && isspace_(data[length - 1])) length--;
    return (wm_json){ data + start, length - start };
}

static bool not_an_object(wm_json json, wm_text *why)
{
    JSONStatus_t status = json.length == 0 ? JSONPartial : JSON_Validate(json.data, json.length);
    wm_text reason;
    if (status == JSONSuccess || (json.length > 0 && json.data[0] == '[')) {
        wm_text kind = wm_json_kind(json);
        reason = wm_format("invalid type: %.*s, expected a map", WM_ARG(kind));
    } else if (status == JSONPartial) {
        reason = wm_text_of("EOF while parsing a value");
    } else if (status == JSONMaxDepthExceeded) {
        reason = wm_text_of("recursion limit exceeded");
    } else {
        reason = wm_text_of("invalid syntax");
    }
    *why = reason;
    return false;
}

bool wm_json_members(wm_text text, wm_members *members, wm_text *why)
{
    wm_json json = trimmed(text.data, text.length);
    if (json.length == 0 || json.data[0] != '{' || JSON_Validate(json.data, json.length) != JSONSuccess) return not_an_object(json, why);
    wm_member *found = NULL;
    size_t count = 0, room = 0, start = 0, next = 0;
    JSONPair_t pair;
    while (JSON_Iterate(json.data, json.length, &start, &next, &pair) == JSONSuccess) {
        if (count == room) {
            room = room == 0 ? 16 : room * 2;
            wm_member *more = wm_take(room * sizeof *more);
            if (count > 0) memcpy(more, found, count * sizeof *more);
            found = more;
        }
        size_t quotes = pair.jsonType == JSONString; /* coreJSON takes them off */
        wm_member *member = &found[count++];
        member->value = (wm_json){ pair.value - quotes, pair.valueLength + 2 * quotes };
        wm_json_text((wm_json){ pair.key - 1, pair.keyLength + 2 }, &member->name);
    }
    *members = (wm_members){ found, count };
    return true;
}

const wm_member *wm_json_member(wm_members members, wm_text name)
{
    for (size_t at = members.count; at-- > 0;) {
        if (wm_text_equal(members.members[at].name, name)) return &members.members[at];
    }
    return NULL;
}

static int by_name(const void *left, const void *right)
{
    wm_text a = ((const wm_member *)left)->name, b = ((const wm_member *)right)->name;
    int order = memcmp(a.data, b.data, a.length < b.length ? a.length : b.length);
    return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

wm_members wm_json_sorted(wm_members members)
{
    wm_member *kept = wm_take(members.count * sizeof *kept);
    size_t count = 0;
    for (size_t at = 0; at < members.count; at++) {
        if (wm_json_member(members, members.members[at].name) == &members.members[at]) kept[count++] = members.members[at];
    }
    qsort(kept, count, sizeof *kept, by_name);
    return (wm_members){ kept, count };
}

bool wm_json_is_null(wm_json json)
{
    return json.length == 4 && memcmp(json.data, "null", 4) == 0;
}

static uint32_t hex4(const char *digits)
{
    uint32_t value = 0;
    for (int at = 0; at < 4; at++) value = value << 4 | hexToInt(digits[at]);
    return value;
}

static char *put_utf8(char *to, uint32_t point)
{
    if (point < 0x80) {
        *to++ = (char)point;
        return to;
    }
    int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    *to++ = (char)(0xff00 >> (more + 1) | point >> 6 * more);
    while (more-- > 0) *to++ = (char)(0x80 | (point >> 6 * more & 0x3f));
    return to;
}

/* coreJSON has seen that escapes are whole, and that surrogates come in pairs. */
static wm_text unescaped(const char *from, const char *end)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char *text = wm_take((size_t)(end - from)), *to = text;
    while (from < end) {
        if (*from != '\\') {
            *to++ = *from++;
        } else if (from[1] != 'u') {
            *to++ = meanings[strchr(escapes, from[1]) - escapes];
            from += 2;
        } else {
            uint32_t point = hex4(from + 2);
            from += 6;
            if (isHighSurrogate(point)) {
                point = 0x10000 + ((point - 0xd800) << 10) + (hex4(from + 2) - 0xdc00);
                from += 6;
            }
            to = put_utf8(to, point);
        }
    }
    return (wm_text){ text, (size_t)(to - text) };
}

bool wm_json_text(wm_json json, wm_text *text)
{
    if (json.length < 2 || json.data[0] != '"') return false;
    const char *start = json.data + 1, *end = json.data + json.length - 1;
    bool plain = memchr(start, '\\', (size_t)(end - start)) == NULL;
    *text = plain ? (wm_text){ start, (size_t)(end - start) } : unescaped(start, end);
    return true;
}

wm_json wm_json_quote(wm_text text)
{
    static const char escapes[] = "btn.fr"; /* from backspace on, but for the vertical tab */
    static const char hex[] = "0123456789abcdef";
    char *quoted = wm_take(text.length * 6 + 2), *to = quoted;
    *to++ = '"';
    for (size_t at = 0; at < text.length; at++) {
        uint8_t byte = (uint8_t)text.data[at];
        if (byte >= ' ' && byte != '"' && byte != '\\') {
            *to++ = (char)byte;
            continue;
        }
        *to++ = '\\';
        if (byte >= ' ') {
            *to++ = (char)byte;
        } else if (byte >= '\b' && byte <= '\r' && byte != '\v') {
            *to++ = escapes[byte - '\b'];
        } else {
            memcpy(to, "u00", 3);
            to[3] = hex[byte >> 4];
            to[4] = hex[byte & 15];
            to += 5;
        }
    }
    *to++ = '"';
    return (wm_json){ quoted, (size_t)(to - quoted) };
}

static bool is_number(wm_json json)
{
    return json.length > 0 && (json.data[0] == '-' || isdigit_(json.data[0]));
}

/* Whole numbers up to 2^53 and tens up to 10^22 are floats themselves, so one over the other is rounded once, as it should be. What has an
 * exponent or more digits is left to strtod, which is slow here. */
static bool few_digits(wm_json json, double *value)
{
    static const double powers[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    const int64_t most = INT64_C(1) << 53;
    const int last = sizeof powers / sizeof *powers - 1;
    bool minus = json.data[0] == '-', after_point = false;
    int64_t digits = 0;
    int exponent = 0;
    for (size_t at = minus; at < json.length; at++) {
        char c = json.data[at];
        if (c == '.') {
            after_point = true;
        } else if (isdigit_(c)) {
            digits = digits * 10 + (c - '0');
            exponent -= after_point;
            if (digits > most) return false;
        } else {
            return false;
        }
    }
    if (exponent < -last) return false;
    double size = (double)digits / powers[-exponent];
    *value = minus ? -size : size;
    return true;
}

bool wm_json_float64(wm_json json, double *value)
{
    if (!is_number(json)) return false;
    if (few_digits(json, value)) return true;
    char *digits = wm_take(json.length + 1);
    memcpy(digits, json.data, json.length);
    digits[json.length] = 0;
    *value = strtod(digits, NULL);
    return isfinite(*value);
}

bool wm_json_int64(wm_json json, int64_t *value)
{
    bool minus = json.length > 0 && json.data[0] == '-';
    *value = 0;
    for (size_t at = minus; at < json.length; at++) {
        int digit = json.data[at] - '0';
        if (digit < 0 || digit > 9) return false;
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_sub_overflow(*value, digit, value)) return false; /* below zero there is one more */
    }
    if (json.length == 0 || minus) return *value != 0; /* -0 is a float */
    return !__builtin_sub_overflow(0, *value, value);
}

wm_text wm_json_kind(wm_json json)
{
    int64_t integer;
    double number;
    if (wm_json_is_null(json)) return wm_text_of("null");
    switch (json.data[0]) {
    case '{': return wm_text_of("map");
    case '[': return wm_text_of("sequence");
    case '"': return wm_format("string %.*s", WM_ARG(json));
    case 't': case 'f': return wm_format("boolean `%.*s`", WM_ARG(json));
    default: break;
    }
    if (wm_json_int64(json, &integer) || !wm_json_float64(json, &number)) return wm_format("integer `%.*s`", WM_ARG(json));
    wm_text text = wm_float_text(number);
    return wm_format("floating point `%.*s`", WM_ARG(text));
}

static int hex_digit(char digit)
{
    uint8_t value = hexToInt(digit);
    return value == NOT_A_HEX_CHAR ? -1 : value;
}

static bool push_hex(wm_builder *column, wm_text digits)
{
    uint8_t *bytes = wm_take(digits.length / 2);
    if (digits.length % 2 != 0) return false;
    for (size_t at = 0; at < digits.length; at += 2) {
        int high = hex_digit(digits.data[at]), low = hex_digit(digits.data[at + 1]);
        if (high < 0 || low < 0) return false;
        bytes[at / 2] = (uint8_t)(high << 4 | low);
    }
    wm_push_bytes(column, (wm_bytes){ bytes, digits.length / 2 });
    return true;
}

static bool push_value(wm_builder *column, wm_json json)
{
    wm_text text;
    bool is_text = wm_json_text(json, &text);
    switch (column->field.type) {
    case WM_BOOLEAN:
        if (json.data[0] != 't' && json.data[0] != 'f') return false;
        wm_push_boolean(column, json.data[0] == 't');
        return true;
    case WM_INT64: {
        int64_t value;
        if (!wm_json_int64(json, &value)) return false;
        wm_push_int64(column, value);
        return true;
    }
    case WM_FLOAT64: {
        double value;
        if (!wm_json_float64(json, &value)) return false;
        wm_push_float64(column, value);
        return true;
    }
    case WM_DECIMAL: {
        wm_decimal value;
        wm_text digits = is_text ? text : (wm_text){ json.data, json.length };
        if (!wm_decimal_parse(digits, column->field.precision, column->field.scale, &value)) return false;
        wm_push_decimal(column, value);
        return true;
    }
    case WM_DATE: {
        wm_date value;
        if (!is_text || !wm_date_parse(text, &value)) return false;
        wm_push_date(column, value);
        return true;
    }
    case WM_TIMESTAMP: {
        wm_timestamp value;
        if (!is_text || !wm_timestamp_parse(text, &value)) return false;
        wm_push_timestamp(column, value);
        return true;
    }
    case WM_UTF8:
        if (is_text) wm_push_text(column, text);
        return is_text;
    case WM_BINARY:
        return is_text && push_hex(column, text);
    case WM_JSON:
        wm_push_json(column, json);
        return true;
    }
    return false;
}

bool wm_push_from_json(wm_builder *column, wm_json json, wm_text *why)
{
    if (wm_json_is_null(json) && column->field.nullable) {
        wm_push_null(column);
        return true;
    }
    if (push_value(column, json)) return true;
    wm_text type = wm_field_type_name(&column->field);
    wm_text quoted = wm_first_characters((wm_text){ json.data, json.length }, QUOTED);
    *why = wm_format("%.*s%s is not %.*s", WM_ARG(quoted), quoted.length < json.length ? "..." : "", WM_ARG(type));
    return false;
}

/* ---- Writing ---- */

wm_json wm_cell_json(const wm_batch *batch, uint32_t column, uint32_t row)
{
    const wm_field *field = &batch->fields[column];
    wm_text text = { "null", 4 };
    if (wm_is_null(batch, column, row)) return (wm_json){ text.data, text.length };
    switch (field->type) {
    case WM_BOOLEAN: text = wm_text_of(wm_bit_at(wm_booleans(batch, column), row) ? "true" : "false"); break;
    case WM_INT64: text = wm_int64_text(wm_int64(batch, column)[row]); break;
    case WM_FLOAT64: {
        double value = wm_float64(batch, column)[row];
        if (isfinite(value)) text = wm_float_text(value);
        break;
    }
    case WM_DECIMAL: text = wm_decimal_text(wm_decimals(batch, column)[row], field->scale); break;
    case WM_DATE: text = wm_date_text(wm_dates(batch, column)[row]); return wm_json_quote(text);
    case WM_TIMESTAMP: text = wm_timestamp_text(wm_timestamps(batch, column)[row]); return wm_json_quote(text);
    case WM_UTF8: return wm_json_quote(wm_text_at(wm_utf8(batch, column), row));
    case WM_JSON: text = wm_text_at(wm_utf8(batch, column), row); break;
    case WM_BINARY: {
        static const char hex[] = "0123456789abcdef";
        wm_bytes bytes = wm_bytes_at(wm_binary(batch, column), row);
        char *digits = wm_take(bytes.length * 2);
        for (size_t at = 0; at < bytes.length; at++) {
            digits[2 * at] = hex[bytes.data[at] >> 4];
            digits[2 * at + 1] = hex[bytes.data[at] & 15];
        }
        return wm_json_quote((wm_text){ digits, bytes.length * 2 });
    }
    }
    return (wm_json){ text.data, text.length };
}

wm_text wm_row_json(const wm_batch *batch, uint32_t row)
{
    wm_json *parts = wm_take(batch->width * 2 * sizeof *parts);
    size_t length = 2;
    for (uint32_t column = 0; column < batch->width; column++) {
        parts[2 * column] = wm_json_quote(batch->fields[column].name);
        parts[2 * column + 1] = wm_cell_json(batch, column, row);
        length += parts[2 * column].length + parts[2 * column + 1].length + 2;
    }
    char *object = wm_take(length), *to = object;
    *to++ = '{';
    for (uint32_t part = 0; part < 2 * batch->width; part++) {
        if (part > 0) *to++ = part % 2 == 1 ? ':' : ',';
        memcpy(to, parts[part].data, parts[part].length);
        to += parts[part].length;
    }
    *to++ = '}';
    return (wm_text){ object, (size_t)(to - object) };
}

wm_text wm_rows_json(const wm_batch *batch, uint32_t start, uint32_t end)
{
    wm_text *rows = wm_take((end - start) * sizeof *rows);
    size_t length = 2;
    for (uint32_t row = start; row < end; row++) {
        rows[row - start] = wm_row_json(batch, row);
        length += rows[row - start].length + 1;
    }
    char *array = wm_take(length), *to = array;
    *to++ = '[';
    for (uint32_t row = 0; row < end - start; row++) {
        if (row > 0) *to++ = ',';
        to = (char *)memcpy(to, rows[row].data, rows[row].length) + rows[row].length;
    }
    *to++ = ']';
    return (wm_text){ array, (size_t)(to - array) };
}
