/* Reducers: many rows into one, by the plugin's function of two. */
#include "ends.h"
#include "rows.h"

static bool describe(const wm_reducer *plugin, wm_text config, wm_wire_schema input, wm_plan *plan)
{
    const wm_record *records[] = { &plugin->row };
    void *state;
    *plan = (wm_plan){ .inputs = wm_take(sizeof *plan->inputs), .input_count = 1 };
    return wm_open_state(&plugin->config, plugin->defaults, plugin->open, config, records, 1, &state)
        && wm_resolve(&plugin->row, config, input, plan->inputs);
}

bool wm_reducer_describe(const wm_reducer *plugin, wm_text config, wm_wire_schema input, wm_plan *plan)
{
    wm_arena keeper = { 0 };
    wm_begin_pure(&keeper);
    return wm_end_pure(&keeper, describe(plugin, config, input, plan));
}

bool wm_reducer_open(const wm_reducer *plugin, wm_text config, wm_wire_schema input, wm_instance **instance)
{
    const wm_record *records[] = { &plugin->row };
    wm_instance *opened = wm_instance_new(plugin);
    opened->inputs = wm_keep(sizeof *opened->inputs);
    if (!wm_open_state(&plugin->config, plugin->defaults, plugin->open, config, records, 1, &opened->state)
        || !wm_schema_of(input, opened->inputs)) return wm_open_failed(opened);
    *instance = opened;
    return true;
}

/* Rows with a null cannot be left out: a group of nothing else has no result. */
static bool check_nulls(const wm_batch *batch)
{
    if (!wm_has_nulls(batch)) return true;
    uint32_t *rows = wm_take(batch->rows * sizeof *rows), count = 0;
    for (uint32_t row = 0; row < batch->rows; row++) {
        if (wm_null_in(batch, row) != NULL) rows[count++] = row;
    }
    if (count == 0) return true;
    return wm_rejected(rows, count, "column `%.*s` is null", WM_ARG(wm_null_in(batch, rows[0])->name));
}

/* Room for so many results, each with as much text as a row of the input. */
static wm_builder *results(const wm_reducer *plugin, const wm_batch *input, uint32_t count)
{
    size_t each = input->rows == 0 ? 0 : wm_batch_bytes(input) / input->rows;
    return wm_builders(&plugin->row, count, each * count + 1);
}

bool wm_reducer_reduce(wm_instance *instance, wm_bytes ends_bytes, const wm_buffers *input, const wm_buffers **result)
{
    const wm_reducer *plugin = WM_PLUGIN(reducer, instance);
    const wm_record *record = &plugin->row;
    wm_ends ends = wm_ends_of(ends_bytes);
    wm_keeper = &instance->keeper;
    wm_batch batch = wm_batch_of(record, *instance->inputs, wm_end_of_all(ends), input);
    if (!check_nulls(&batch)) return false;
    wm_builder *columns = results(plugin, &batch, ends.count);
    void *total = wm_alloc(record->size), *next = wm_alloc(record->size);
    for (uint32_t group = 0; group < ends.count; group++) {
        struct wm_range rows = wm_group_at(ends, group);
        wm_read_as(&batch, record, rows.start, total);
        for (uint32_t row = rows.start + 1; row < rows.end; row++) {
            wm_read_as(&batch, record, row, next);
            if (!plugin->reduce(instance->state, total, next)) return false;
        }
        wm_write(columns, record, total);
    }
    *result = wm_finish_all(columns, record->count);
    return true;
}

bool wm_reducer_inverse(wm_instance *instance, uint32_t rows, const wm_buffers *totals, const wm_buffers *gones, const wm_buffers **result)
{
    const wm_reducer *plugin = WM_PLUGIN(reducer, instance);
    const wm_record *record = &plugin->row;
    if (plugin->inverse == NULL) return wm_fatal("this reducer has no inverse");
    wm_keeper = &instance->keeper;
    wm_batch total_rows = wm_batch_of(record, *instance->inputs, rows, totals);
    wm_batch gone_rows = wm_batch_of(record, *instance->inputs, rows, gones);
    wm_builder *columns = results(plugin, &total_rows, rows);
    void *total = wm_alloc(record->size), *gone = wm_alloc(record->size);
    for (uint32_t row = 0; row < rows; row++) {
        const wm_field *null = wm_null_in(&total_rows, row);
        if (null == NULL) null = wm_null_in(&gone_rows, row);
        if (null != NULL) return wm_fatal("column `%.*s` is null", WM_ARG(null->name));
        wm_read_as(&total_rows, record, row, total);
        wm_read_as(&gone_rows, record, row, gone);
        if (!plugin->inverse(instance->state, total, gone)) return false;
        wm_write(columns, record, total);
    }
    *result = wm_finish_all(columns, record->count);
    return true;
}
