/* Rows as structs. All of it is inlined: where the record is known, what is left are a few loads and stores a column. */
#ifndef WASMILL_ROWS_H
#define WASMILL_ROWS_H

#include "sdk.h"

#define WM_INLINE inline __attribute__((always_inline))

static WM_INLINE void wm_check_struct(const wm_record *record)
{
    if (record->size == 0 && record->count > 0) wm_panic("WM_COLUMNS have no struct; WM_RECORD gives them one");
}

/* ---- Reading ---- */

#define WM_READ(type, opt, at) { \
    if (!column->nullable) *(type *)member = (at); \
    else if (null) *(opt *)member = (opt){ 0 }; \
    else *(opt *)member = (opt){ true, (at) }; \
    break; \
}

static WM_INLINE void wm_read_member(const wm_batch *batch, uint32_t at, uint32_t row, const wm_column *column, void *member)
{
    bool null = wm_is_null(batch, at, row);
    switch (column->type) {
    case WM_BOOLEAN: WM_READ(bool, wm_opt_bool, wm_bit_at(wm_booleans(batch, at), row))
    case WM_INT64: WM_READ(int64_t, wm_opt_int64, wm_int64(batch, at)[row])
    case WM_FLOAT64: WM_READ(double, wm_opt_float64, wm_float64(batch, at)[row])
    case WM_DECIMAL: WM_READ(wm_decimal, wm_opt_decimal, wm_decimals(batch, at)[row])
    case WM_DATE: WM_READ(wm_date, wm_opt_date, wm_dates(batch, at)[row])
    case WM_TIMESTAMP: WM_READ(wm_timestamp, wm_opt_timestamp, wm_timestamps(batch, at)[row])
    case WM_UTF8: WM_READ(wm_text, wm_opt_text, wm_text_at(wm_utf8(batch, at), row))
    case WM_BINARY: WM_READ(wm_bytes, wm_opt_bytes, wm_bytes_at(wm_binary(batch, at), row))
    case WM_JSON: {
        wm_text text = wm_text_at(wm_utf8(batch, at), row);
        WM_READ(wm_json, wm_opt_json, ((wm_json){ text.data, text.length }))
    }
    }
}

static WM_INLINE void wm_read_as(const wm_batch *batch, const wm_record *record, uint32_t row, void *into)
{
    wm_check_struct(record);
    for (uint32_t at = 0; at < record->count; at++) {
        wm_read_member(batch, at, row, &record->columns[at], (char *)into + record->columns[at].offset);
    }
}

/* ---- Writing ---- */

/* The value in a member of this type, or of wm_opt_ this type; NULL if it is missing. */
#define WM_MEMBER(type, opt) ((column)->nullable ? (((const opt *)member)->some ? &((const opt *)member)->value : NULL) : (const type *)member)
#define WM_WRITE(type, opt, push) { \
    const type *value = WM_MEMBER(type, opt); \
    if (value == NULL) wm_push_null(builder); \
    else push(builder, *value); \
    break; \
}

static WM_INLINE void wm_write_member(wm_builder *builder, const wm_column *column, const void *member)
{
    switch (column->type) {
    case WM_BOOLEAN: WM_WRITE(bool, wm_opt_bool, wm_push_boolean)
    case WM_INT64: WM_WRITE(int64_t, wm_opt_int64, wm_push_int64)
    case WM_FLOAT64: WM_WRITE(double, wm_opt_float64, wm_push_float64)
    case WM_DECIMAL: WM_WRITE(wm_decimal, wm_opt_decimal, wm_push_decimal)
    case WM_DATE: WM_WRITE(wm_date, wm_opt_date, wm_push_date)
    case WM_TIMESTAMP: WM_WRITE(wm_timestamp, wm_opt_timestamp, wm_push_timestamp)
    case WM_UTF8: WM_WRITE(wm_text, wm_opt_text, wm_push_text)
    case WM_BINARY: WM_WRITE(wm_bytes, wm_opt_bytes, wm_push_bytes)
    case WM_JSON: WM_WRITE(wm_json, wm_opt_json, wm_push_json)
    }
}

static WM_INLINE void wm_write(wm_builder *columns, const wm_record *record, const void *row)
{
    wm_check_struct(record);
    for (uint32_t at = 0; at < record->count; at++) {
        wm_write_member(&columns[at], &record->columns[at], (const char *)row + record->columns[at].offset);
    }
}

#endif
