/* Output columns: values are written once, straight into the buffers that the host reads. */
#include "sdk.h"

#define SLACK 16            /* bytes past the end that wm_append writes */
#define LEAST_ROWS 64
#define LEAST_BYTES 256

static void *moved(const void *from, size_t used, size_t size)
{
    void *to = wm_take(size);
    if (used > 0) memcpy(to, from, used);
    return to;
}

static size_t bits(uint32_t rows)
{
    return ((size_t)rows + 7) / 8;
}

/* Bits up to the room: what was there, then `rest`. */
static uint8_t *moved_bits(const uint8_t *from, uint32_t rows, uint32_t room, uint8_t rest)
{
    uint8_t *to = moved(from, bits(rows), bits(room));
    memset(to + bits(rows), rest, bits(room) - bits(rows));
    return to;
}

static void make_rows(wm_builder *column, uint32_t room)
{
    uint32_t width = wm_width(column->field.type);
    if (width > 0) {
        column->data = moved(column->data, (size_t)column->rows * width, (size_t)room * width);
    } else if (column->field.type == WM_BOOLEAN) {
        column->data = moved_bits(column->data, column->rows, room, 0);
    } else {
        bool first = column->offsets == NULL;
        column->offsets = moved(column->offsets, first ? 0 : (column->rows + (size_t)1) * 4, (room + (size_t)1) * 4);
        column->offsets[0] = 0;
    }
    if (column->validity != NULL) column->validity = moved_bits(column->validity, column->rows, room, 0xff);
    column->room = room;
}

static void make_bytes(wm_builder *column, size_t room)
{
    if (room > UINT32_MAX - SLACK) wm_panic("column `%.*s` grows beyond 4 GiB", WM_ARG(column->field.name));
    column->data = moved(column->data, column->bytes, room + SLACK);
    column->byte_room = room;
}

wm_builder wm_builder_of(wm_field field, uint32_t rows, size_t bytes)
{
    wm_builder column = { .field = field };
    if (rows > 0) make_rows(&column, rows);
    if (bytes > 0 && wm_varies(field.type)) make_bytes(&column, bytes);
    return column;
}

static void check_type(const wm_builder *column, wm_type type)
{
    if (column->field.type == type || (wm_varies(type) && wm_varies(column->field.type))) return;
    wm_text is = wm_field_type_name(&column->field), pushed = wm_field_type_name(&(wm_field){ .type = type });
    wm_panic("column `%.*s` is %.*s, and the plugin writes %.*s to it", WM_ARG(column->field.name), WM_ARG(is), WM_ARG(pushed));
}

void wm_grow(wm_builder *column, wm_type type, size_t bytes)
{
    check_type(column, type);
    if (column->rows == column->room) make_rows(column, column->room < LEAST_ROWS ? LEAST_ROWS : column->room * 2);
    size_t wanted = column->bytes + bytes;
    if (wm_varies(type) && wanted >= column->byte_room) {
        size_t room = column->byte_room < LEAST_BYTES ? LEAST_BYTES : column->byte_room * 2;
        make_bytes(column, room > wanted ? room : wanted);
    }
}

void *wm_reserve(wm_builder *column, wm_type type, uint32_t rows)
{
    check_type(column, type);
    if (column->room - column->rows < rows) make_rows(column, column->rows + rows);
    uint8_t *start = column->data + (size_t)column->rows * wm_width(type);
    column->rows += rows;
    return start;
}

void wm_push_null(wm_builder *column)
{
    if (column->rows == column->room) wm_grow(column, column->field.type, 0);
    if (column->validity == NULL) column->validity = moved_bits(NULL, 0, column->room, 0xff);
    uint32_t row = column->rows++, width = wm_width(column->field.type);
    column->validity[row >> 3] &= (uint8_t)~(1 << (row & 7));
    column->nulls++;
    if (width > 0) memset(column->data + (size_t)row * width, 0, width);
    else if (wm_varies(column->field.type)) column->offsets[column->rows] = (uint32_t)column->bytes;
}

void wm_builder_truncate(wm_builder *column, uint32_t rows)
{
    for (uint32_t row = rows; row < column->rows; row++) {
        uint8_t bit = (uint8_t)(1 << (row & 7));
        if (column->field.type == WM_BOOLEAN) column->data[row >> 3] &= (uint8_t)~bit;
        if (column->validity == NULL || column->validity[row >> 3] & bit) continue;
        column->validity[row >> 3] |= bit;
        column->nulls--;
    }
    if (rows >= column->rows) return;
    column->rows = rows;
    if (wm_varies(column->field.type)) column->bytes = column->offsets[rows];
}

wm_buffers wm_builder_finish(wm_builder *column)
{
    wm_buffers buffers = { 0 };
    uint32_t rows = column->rows, width = wm_width(column->field.type);
    if (rows == 0) return buffers;
    if (column->nulls > 0) buffers.validity = (wm_bytes){ column->validity, bits(rows) };
    if (wm_varies(column->field.type)) {
        buffers.offsets = (wm_bytes){ (const uint8_t *)column->offsets, (rows + (size_t)1) * 4 };
        buffers.data = (wm_bytes){ column->data, column->bytes };
    } else {
        buffers.data = (wm_bytes){ column->data, width == 0 ? bits(rows) : (size_t)rows * width };
    }
    return buffers;
}

wm_builder *wm_builders(const wm_record *record, uint32_t rows, size_t bytes)
{
    wm_builder *columns = wm_take(record->count * sizeof *columns);
    for (uint32_t at = 0; at < record->count; at++) columns[at] = wm_builder_of(wm_field_of(&record->columns[at]), rows, bytes);
    return columns;
}

const wm_buffers *wm_finish_all(wm_builder *columns, uint32_t count)
{
    wm_buffers *buffers = wm_take(count * sizeof *buffers);
    for (uint32_t at = 0; at < count; at++) buffers[at] = wm_builder_finish(&columns[at]);
    return buffers;
}
