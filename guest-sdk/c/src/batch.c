/* Reading what the host sent, in place. */
#include "rows.h"

wm_batch wm_batch_of(const wm_record *record, wm_schema schema, uint32_t rows, const wm_buffers *columns)
{
    return (wm_batch){ .rows = rows, .width = schema.count, .fields = schema.fields, .columns = columns, .record = record };
}

size_t wm_batch_bytes(const wm_batch *batch)
{
    size_t bytes = 0;
    for (uint32_t column = 0; column < batch->width; column++) bytes += batch->columns[column].data.length;
    return bytes;
}

static const void *data(const wm_batch *batch, uint32_t column, wm_type type)
{
    if (column >= batch->width) wm_panic("the plugin reads column %u, and there are %u", (unsigned)column, (unsigned)batch->width);
    const wm_field *field = &batch->fields[column];
    if (field->type != type && !(wm_varies(type) && wm_varies(field->type))) {
        wm_text is = wm_field_type_name(field), asked = wm_field_type_name(&(wm_field){ .type = type });
        wm_panic("column `%.*s` is %.*s, and the plugin reads it as %.*s", WM_ARG(field->name), WM_ARG(is), WM_ARG(asked));
    }
    return batch->columns[column].data.data;
}

const int64_t *wm_int64(const wm_batch *batch, uint32_t column) { return data(batch, column, WM_INT64); }
const double *wm_float64(const wm_batch *batch, uint32_t column) { return data(batch, column, WM_FLOAT64); }
const wm_decimal *wm_decimals(const wm_batch *batch, uint32_t column) { return data(batch, column, WM_DECIMAL); }
const wm_date *wm_dates(const wm_batch *batch, uint32_t column) { return data(batch, column, WM_DATE); }
const wm_timestamp *wm_timestamps(const wm_batch *batch, uint32_t column) { return data(batch, column, WM_TIMESTAMP); }
wm_bits wm_booleans(const wm_batch *batch, uint32_t column) { return (wm_bits){ data(batch, column, WM_BOOLEAN) }; }

wm_texts wm_utf8(const wm_batch *batch, uint32_t column)
{
    const char *texts = data(batch, column, WM_UTF8);
    return (wm_texts){ (const uint32_t *)(const void *)batch->columns[column].offsets.data, texts };
}

wm_binaries wm_binary(const wm_batch *batch, uint32_t column)
{
    return (wm_binaries){ wm_utf8(batch, column) };
}

void wm_read(const wm_batch *batch, uint32_t row, void *into)
{
    wm_read_as(batch, batch->record, row, into);
}

/* ---- Nulls where the record has no room for them ---- */

static bool must_have(const wm_batch *batch, uint32_t column)
{
    return column < batch->record->count && !batch->record->columns[column].nullable;
}

bool wm_has_nulls(const wm_batch *batch)
{
    for (uint32_t column = 0; column < batch->width; column++) {
        if (must_have(batch, column) && batch->columns[column].validity.length > 0) return true;
    }
    return false;
}

const wm_field *wm_null_in(const wm_batch *batch, uint32_t row)
{
    for (uint32_t column = 0; column < batch->width; column++) {
        if (must_have(batch, column) && wm_is_null(batch, column, row)) return &batch->fields[column];
    }
    return NULL;
}

static void pick(wm_builder *to, const wm_batch *from, uint32_t column, uint32_t row)
{
    if (wm_is_null(from, column, row)) {
        wm_push_null(to);
        return;
    }
    switch (to->field.type) {
    case WM_BOOLEAN: wm_push_boolean(to, wm_bit_at(wm_booleans(from, column), row)); break;
    case WM_INT64: wm_push_int64(to, wm_int64(from, column)[row]); break;
    case WM_FLOAT64: wm_push_float64(to, wm_float64(from, column)[row]); break;
    case WM_DECIMAL: wm_push_decimal(to, wm_decimals(from, column)[row]); break;
    case WM_DATE: wm_push_date(to, wm_dates(from, column)[row]); break;
    case WM_TIMESTAMP: wm_push_timestamp(to, wm_timestamps(from, column)[row]); break;
    case WM_UTF8: case WM_BINARY: case WM_JSON: wm_push_text(to, wm_text_at(wm_utf8(from, column), row)); break;
    }
}

/* The plugin then sees a batch without them, and `numbers` tells where its rows were. */
void wm_leave_out_nulls(wm_call *call, uint32_t input, wm_batch *batch)
{
    if (!wm_has_nulls(batch)) return;
    uint32_t *numbers = wm_take(batch->rows * sizeof *numbers), rows = 0;
    const wm_field *told = NULL;
    wm_text why = { 0 };
    for (uint32_t row = 0; row < batch->rows; row++) {
        const wm_field *null = wm_null_in(batch, row);
        if (null == NULL) {
            numbers[rows++] = row;
            continue;
        }
        if (null != told) why = wm_format("column `%.*s` is null", WM_ARG(null->name));
        told = null;
        wm_reject_with(call, input, row, why);
    }
    wm_builder *columns = wm_take(batch->width * sizeof *columns);
    for (uint32_t column = 0; column < batch->width; column++) {
        columns[column] = wm_builder_of(batch->fields[column], rows, batch->columns[column].data.length);
        for (uint32_t row = 0; row < rows; row++) pick(&columns[column], batch, column, numbers[row]);
    }
    batch->columns = wm_finish_all(columns, batch->width);
    batch->numbers = numbers;
    batch->rows = rows;
}
