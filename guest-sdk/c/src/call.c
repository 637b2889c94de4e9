/* What comes out of a call: rows for ports, and rows turned away. */
#include "rows.h"

/* ---- Ports ---- */

static wm_field *fields_of(const wm_record *record)
{
    wm_field *fields = wm_take(record->count * sizeof *fields);
    for (uint32_t at = 0; at < record->count; at++) fields[at] = wm_field_of(&record->columns[at]);
    return fields;
}

bool wm_plan_ports(const wm_record *output, const wm_port_shapes *ports, wm_plan *plan)
{
    const wm_port_shape only = { "out", *output };
    if (ports->count > 0 && output->count > 0) return wm_fatal("a plugin has `output` or `ports`, not both");
    plan->port_count = ports->count > 0 ? ports->count : 1;
    plan->ports = wm_take(plan->port_count * sizeof *plan->ports);
    for (uint32_t at = 0; at < plan->port_count; at++) {
        const wm_port_shape *shape = ports->count > 0 ? &ports->ports[at] : &only;
        const wm_record *record = ports->count > 0 ? &shape->columns : output;
        plan->ports[at] = (wm_plan_port){ wm_text_of(shape->name), fields_of(record), record->count, record, false };
    }
    return true;
}

void wm_plan_carry(wm_plan *plan, bool carry)
{
    for (uint32_t at = 0; at < plan->port_count; at++) plan->ports[at].carry = carry;
}

void wm_plan_column(wm_plan *plan, uint32_t port, const wm_field *column)
{
    if (port >= plan->port_count) wm_panic("there is no port %u", (unsigned)port);
    wm_plan_port *to = &plan->ports[port];
    wm_field *columns = wm_take((to->count + 1) * sizeof *columns);
    if (to->count > 0) memcpy(columns, to->columns, to->count * sizeof *columns);
    columns[to->count] = *column;
    columns[to->count].name.data = wm_copy(column->name.data, column->name.length);
    to->columns = columns;
    to->count++;
}

/* Bytes that a row of a port needs at least. */
static size_t row_bytes(const wm_plan_port *port)
{
    size_t bytes = sizeof(uint32_t);
    for (uint32_t at = 0; at < port->count; at++) bytes += wm_varies(port->columns[at].type) ? sizeof(uint32_t) : wm_width(port->columns[at].type);
    return bytes;
}

#define BYTES_PER_ROW 4             /* of input text, that the first call makes room for; as most words are longer */
#define MOST_GUESSED (16u << 20)    /* bytes of rows: room that is not used counts against the memory limit */

/* Room for as many rows and bytes as the last call made, or else for a guess. The bytes are shared among the columns. */
void wm_open_ports(wm_instance *instance, wm_call *call, uint32_t rows, size_t bytes)
{
    const wm_plan *plan = &instance->plan;
    call->ports = wm_take(plan->port_count * sizeof *call->ports);
    call->port_count = plan->port_count;
    for (uint32_t at = 0; at < plan->port_count; at++) {
        const wm_plan_port *planned = &plan->ports[at];
        const uint32_t *last = instance->hints[at];
        size_t guess = rows + bytes / BYTES_PER_ROW;
        if (guess * row_bytes(planned) > MOST_GUESSED / plan->port_count) guess = rows;
        uint32_t room = last[0] > 0 ? last[0] : (uint32_t)guess;
        size_t each = (last[0] > 0 ? last[1] : bytes) / (planned->count > 0 ? planned->count : 1) + 1;
        wm_port *port = &call->ports[at];
        *port = (wm_port){ .width = planned->count, .record = planned->record, .input_rows = rows, .name = planned->name };
        port->columns = wm_take(planned->count * sizeof *port->columns);
        for (uint32_t column = 0; column < planned->count; column++) port->columns[column] = wm_builder_of(planned->columns[column], room, each);
        wm_grow_port(port, room);
    }
}

void wm_grow_port(wm_port *port, uint32_t rows)
{
    uint32_t room = port->room < 64 ? 64 : port->room * 2;
    if (room - port->rows < rows) room = port->rows + rows;
    uint32_t *parents = wm_take(room * sizeof *parents);
    if (port->rows > 0) memcpy(parents, port->parents, port->rows * sizeof *parents);
    port->parents = parents;
    port->room = room;
}

void wm_emit_row(wm_port *port, uint32_t parent, const void *row)
{
    wm_write(port->columns, WM_OUTPUT(port), row);
    wm_emit(port, parent);
}

static void *fill(wm_port *port, uint32_t column, wm_type type)
{
    if (column >= port->width) wm_panic("port `%.*s` has no column %u", WM_ARG(port->name), (unsigned)column);
    return wm_reserve(&port->columns[column], type, port->input_rows);
}

int64_t *wm_fill_int64(wm_port *port, uint32_t column) { return fill(port, column, WM_INT64); }
double *wm_fill_float64(wm_port *port, uint32_t column) { return fill(port, column, WM_FLOAT64); }
wm_decimal *wm_fill_decimals(wm_port *port, uint32_t column) { return fill(port, column, WM_DECIMAL); }
wm_date *wm_fill_dates(wm_port *port, uint32_t column) { return fill(port, column, WM_DATE); }
wm_timestamp *wm_fill_timestamps(wm_port *port, uint32_t column) { return fill(port, column, WM_TIMESTAMP); }

void wm_emit_all(wm_port *port)
{
    for (uint32_t row = 0; row < port->input_rows; row++) wm_emit(port, row);
}

/* Parents as the host counts rows, and `same` if each row is its own. */
static bool finish_parents(const wm_call *call, wm_port *port, wm_origin *origin)
{
    const uint32_t *numbers = call->keyed == NULL ? call->input.numbers : NULL;
    uint32_t most = 0, differs = port->rows ^ port->input_rows;
    /* Nothing that would end it early: so it is done for several rows at once. */
    for (uint32_t row = 0; row < port->rows; row++) {
        uint32_t parent = port->parents[row];
        most = parent > most ? parent : most;
        differs |= parent ^ row;
    }
    if (port->rows > 0 && most >= port->input_rows) return wm_fatal("the plugin emitted a row of row %u of %u", (unsigned)most, (unsigned)port->input_rows);
    for (uint32_t row = 0; numbers != NULL && row < port->rows; row++) port->parents[row] = numbers[port->parents[row]];
    *origin = numbers == NULL && differs == 0 ? WM_ORIGIN_SAME : WM_ORIGIN_PARENTS;
    return true;
}

bool wm_finish_ports(wm_instance *instance, wm_call *call, wm_produced *produced)
{
    produced->output_count = call->port_count;
    produced->outputs = wm_take(call->port_count * sizeof *produced->outputs);
    for (uint32_t at = 0; at < call->port_count; at++) {
        wm_port *port = &call->ports[at];
        size_t bytes = 0;
        for (uint32_t column = 0; column < port->width; column++) {
            const wm_builder *made = &port->columns[column];
            bytes += made->bytes;
            if (made->rows != port->rows) {
                return wm_fatal("the plugin emitted %u rows to port `%.*s` and wrote %u values to its column `%.*s`",
                                (unsigned)port->rows, WM_ARG(port->name), (unsigned)made->rows, WM_ARG(made->field.name));
            }
        }
        wm_origin origin;
        if (!finish_parents(call, port, &origin)) return false;
        instance->hints[at][0] = port->rows;
        instance->hints[at][1] = (uint32_t)bytes;
        produced->outputs[at] = (wm_output){
            .port = at, .rows = port->rows, .origin = origin, .parents = port->parents,
            .columns = wm_finish_all(port->columns, port->width), .width = port->width,
        };
    }
    return true;
}

/* ---- Rejected rows ---- */

void wm_reject_with(wm_call *call, uint32_t input, uint32_t row, wm_text reason)
{
    if (call->reject_count == call->reject_room) {
        call->reject_room = call->reject_room < 16 ? 16 : call->reject_room * 2;
        struct wm_reject *more = wm_take(call->reject_room * sizeof *more);
        if (call->reject_count > 0) memcpy(more, call->rejects, call->reject_count * sizeof *more);
        call->rejects = more;
    }
    call->rejects[call->reject_count++] = (struct wm_reject){ input, row, reason };
}

static uint32_t number_of(const wm_batch *batch, uint32_t row)
{
    if (row >= batch->rows) wm_panic("the plugin rejects row %u of %u", (unsigned)row, (unsigned)batch->rows);
    return batch->numbers == NULL ? row : batch->numbers[row];
}

void wm_take_back(wm_call *call, uint32_t parent)
{
    for (uint32_t at = 0; at < call->port_count; at++) {
        wm_port *port = &call->ports[at];
        while (port->rows > 0 && port->parents[port->rows - 1] == parent) port->rows--;
        for (uint32_t column = 0; column < port->width; column++) wm_builder_truncate(&port->columns[column], port->rows);
    }
}

#define REASON(reason) \
    va_list arguments; \
    va_start(arguments, reason); \
    wm_text why = wm_vformat(reason, arguments); \
    va_end(arguments)

void wm_reject(wm_call *call, uint32_t row, const char *reason, ...)
{
    REASON(reason);
    if (call->keyed != NULL) wm_panic("a keyed plugin rejects with wm_reject_row or wm_reject_key");
    wm_reject_with(call, 0, number_of(&call->input, row), why);
    wm_take_back(call, row);
}

void wm_reject_row(wm_key *key, uint32_t input, uint32_t row, const char *reason, ...)
{
    REASON(reason);
    wm_reject_with(key->call, input, number_of(&key->call->inputs[input], row), why);
}

void wm_reject_key(wm_key *key, const char *reason, ...)
{
    REASON(reason);
    if (key->rejected) return;
    key->rejected = true;
    key->reason = why;
}

/* Each row once, with its first reason, in ascending order. */
wm_rejects wm_finish_rejects(wm_call *call, uint32_t input)
{
    uint32_t end = 0, count = 0, kept = 0;
    size_t bytes = 0;
    for (uint32_t at = 0; at < call->reject_count; at++) {
        const struct wm_reject *reject = &call->rejects[at];
        if (reject->input == input && reject->row >= end) end = reject->row + 1;
    }
    if (end == 0) return (wm_rejects){ 0 };
    const struct wm_reject **first = wm_alloc(end * sizeof *first);
    for (uint32_t at = 0; at < call->reject_count; at++) {
        const struct wm_reject *reject = &call->rejects[at];
        if (reject->input != input || first[reject->row] != NULL) continue;
        first[reject->row] = reject;
        count++;
        bytes += reject->reason.length;
    }
    uint32_t *rows = wm_take(count * sizeof *rows);
    wm_builder reasons = wm_builder_of((wm_field){ .name = wm_text_of("reason"), .type = WM_UTF8 }, count, bytes);
    for (uint32_t row = 0; row < end; row++) {
        if (first[row] == NULL) continue;
        rows[kept++] = row;
        wm_push_text(&reasons, first[row]->reason);
    }
    return (wm_rejects){ rows, kept, wm_builder_finish(&reasons) };
}
