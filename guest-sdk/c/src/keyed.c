/* Keyed plugins: the rows of a key with what is remembered of it. */
#include "ends.h"
#include "rows.h"

enum { HAS_STATE = 1, TIMED_OUT = 2, FIRST_PART = 4, LAST_PART = 8 };
enum { KEEP, PUT, REMOVE };
#define SAME_TIMER INT64_MIN
#define NO_TIMER INT64_MAX

/* What becomes of the keys of a call. */
struct wm_keyed_call {
    const wm_keyed *plugin;
    wm_builder *states;             /* those put, of all keys so far */
    uint32_t puts;                  /* how many they are, without that of the key at hand */
    uint8_t *ops;
    int64_t *timers;                /* none at all before the first that is not the same */
    bool op_said;                   /* of any key */
};

/* ---- Plan ---- */

static const wm_record *input_records(const wm_keyed *plugin, uint32_t *count)
{
    *count = plugin->inputs.count > 0 ? plugin->inputs.count : 1;
    return plugin->inputs.count > 0 ? plugin->inputs.records : &plugin->input;
}

static bool make_plan(const wm_keyed *plugin, wm_text config, void **state, wm_plan *plan)
{
    uint32_t count;
    const wm_record *inputs = input_records(plugin, &count);
    const wm_record **records = wm_take((count + 1) * sizeof *records);
    records[0] = &plugin->key;
    for (uint32_t at = 0; at < count; at++) records[at + 1] = &inputs[at];
    *plan = (wm_plan){ 0 };
    if (!wm_open_state(&plugin->config, plugin->defaults, plugin->open, config, records, count + 1, state)) return false;
    if (!wm_plan_ports(&plugin->output, &plugin->ports, plan)) return false;
    return plugin->plan == NULL || plugin->plan(*state, plan);
}

static bool within(const char *place, uint32_t number)
{
    wm_text message = wm_last_error.message;
    if (number == 0) return wm_fatal("%s: %.*s", place, WM_ARG(message));
    return wm_fatal("%s %u: %.*s", place, (unsigned)number, WM_ARG(message));
}

static bool describe(const wm_keyed *plugin, wm_text config, wm_wire_schema keys, const wm_wire_schema *inputs, uint32_t count, wm_plan *plan)
{
    void *state;
    wm_names names;
    uint32_t wanted_count;
    const wm_record *wanted = input_records(plugin, &wanted_count);
    if (!make_plan(plugin, config, &state, plan)) return false;
    if (!wm_resolve(&plugin->key, config, keys, &names)) return within("key", 0);
    if (count != wanted_count) {
        return wm_fatal("the step has %u inputs, and the plugin reads %u", (unsigned)count, (unsigned)wanted_count);
    }
    plan->inputs = wm_take(count * sizeof *plan->inputs);
    plan->input_count = count;
    for (uint32_t at = 0; at < count; at++) {
        if (!wm_resolve(&wanted[at], config, inputs[at], &plan->inputs[at])) return count > 1 && within("input", at + 1);
    }
    plan->state = wm_take(plugin->state.count * sizeof *plan->state);
    plan->state_count = plugin->state.count;
    for (uint32_t at = 0; at < plugin->state.count; at++) plan->state[at] = wm_field_of(&plugin->state.columns[at]);
    return true;
}

bool wm_keyed_describe(const wm_keyed *plugin, wm_text config, wm_wire_schema keys, const wm_wire_schema *inputs, uint32_t count, wm_plan *plan)
{
    wm_arena keeper = { 0 };
    wm_begin_pure(&keeper);
    return wm_end_pure(&keeper, describe(plugin, config, keys, inputs, count, plan));
}

uint32_t wm_keyed_version(const wm_keyed *plugin)
{
    return plugin->version == 0 ? 1 : plugin->version;
}

/* ---- Open ---- */

/* The columns of a record among those there are, in its order. */
static bool select_columns(const wm_record *record, wm_text config, wm_wire_schema from, wm_schema *schema, uint32_t **positions)
{
    wm_names names;
    if (!wm_resolve(record, config, from, &names)) return false;
    wm_wire_field *fields = wm_take(names.count * sizeof *fields);
    *positions = wm_keep(names.count * sizeof **positions);
    for (uint32_t at = 0; at < names.count; at++) {
        uint32_t position = 0;
        while (!wm_text_equal(from.fields[position].name, names.names[at])) position++;
        (*positions)[at] = position;
        fields[at] = from.fields[position];
    }
    return wm_schema_of((wm_wire_schema){ fields, names.count }, schema);
}

static const wm_buffers *selected(const wm_buffers *columns, const uint32_t *positions, uint32_t count)
{
    wm_buffers *picked = wm_take(count * sizeof *picked);
    for (uint32_t at = 0; at < count; at++) picked[at] = columns[positions[at]];
    return picked;
}

static wm_schema kept_schema(const wm_record *record)
{
    wm_schema schema = { wm_keep(record->count * sizeof(wm_field)), record->count };
    for (uint32_t at = 0; at < record->count; at++) schema.fields[at] = wm_field_of(&record->columns[at]);
    return schema;
}

static bool open_all(wm_instance *opened, wm_text config, wm_wire_schema keys, const wm_wire_schema *inputs, uint32_t count)
{
    const wm_keyed *plugin = opened->plugin;
    wm_plan plan;
    if (!make_plan(plugin, config, &opened->state, &plan)) return false;
    if (!select_columns(&plugin->key, config, keys, &opened->keys, &opened->key_positions)) return false;
    opened->inputs = wm_keep(count * sizeof *opened->inputs);
    for (uint32_t at = 0; at < count; at++) {
        if (!wm_schema_of(inputs[at], &opened->inputs[at])) return false;
    }
    opened->remembered = kept_schema(&plugin->state);
    wm_instance_ports(opened, &plan);
    return true;
}

bool wm_keyed_open(const wm_keyed *plugin, wm_text config, wm_wire_schema keys, const wm_wire_schema *inputs, uint32_t count, wm_instance **instance)
{
    wm_instance *opened = wm_instance_new(plugin);
    if (!open_all(opened, config, keys, inputs, count)) return wm_open_failed(opened);
    *instance = opened;
    return true;
}

/* ---- What the plugin's function says of its key ---- */

static const wm_record *remembered(const struct wm_keyed_call *keyed)
{
    return &WM_PLUGIN(keyed, keyed)->state;
}

/* Takes back the state that was put for the key. */
static void forget(wm_key *key)
{
    struct wm_keyed_call *keyed = key->call->keyed;
    if (key->op != PUT) return;
    for (uint32_t at = 0; at < remembered(keyed)->count; at++) wm_builder_truncate(&keyed->states[at], keyed->puts);
}

void wm_put(wm_key *key, const void *state)
{
    struct wm_keyed_call *keyed = key->call->keyed;
    forget(key);
    wm_write(keyed->states, remembered(keyed), state);
    key->op = PUT;
}

void wm_remove(wm_key *key)
{
    forget(key);
    key->op = REMOVE;
    key->timer = NO_TIMER;
}

void wm_set_timer(wm_key *key, int64_t batch_time)
{
    key->timer = batch_time == SAME_TIMER ? SAME_TIMER + 1 : batch_time == NO_TIMER ? NO_TIMER - 1 : batch_time;
}

void wm_timeout_after(wm_key *key, int64_t ms)
{
    int64_t time;
    if (__builtin_add_overflow(key->call->context.batch_time, ms, &time)) time = ms < 0 ? INT64_MIN : INT64_MAX;
    wm_set_timer(key, time);
}

void wm_clear_timer(wm_key *key)
{
    key->timer = NO_TIMER;
}

/* ---- Process ---- */

/* The rows of the keys in one input: as the host numbers them, and as they are once rows with nulls are left out. */
struct group { wm_ends sent, seen; };

static struct group read_group(wm_call *call, uint32_t input, wm_bytes bytes)
{
    wm_batch *batch = &call->inputs[input];
    wm_ends sent = wm_ends_of(bytes);
    wm_leave_out_nulls(call, input, batch);
    if (batch->numbers == NULL) return (struct group){ sent, sent };
    uint32_t *ends = wm_take(sent.count * sizeof *ends), row = 0;
    for (uint32_t key = 0; key < sent.count; key++) {
        while (row < batch->rows && batch->numbers[row] < sent.ends[key]) row++;
        ends[key] = row;
    }
    return (struct group){ sent, { ends, sent.count } };
}

static bool reject_rows(wm_key *key, const struct group *groups)
{
    bool any = false;
    for (uint32_t input = 0; input < key->call->input_count; input++) {
        struct wm_range rows = wm_group_at(groups[input].sent, key->number);
        for (uint32_t row = rows.start; row < rows.end; row++, any = true) wm_reject_with(key->call, input, row, key->reason);
    }
    return any || wm_fatal("%.*s", WM_ARG(key->reason)); /* the reason must not be lost */
}

static void note_timer(struct wm_keyed_call *keyed, const wm_key *key)
{
    uint32_t keys = key->call->keys.rows;
    if (keyed->timers == NULL) {
        keyed->timers = wm_take(keys * sizeof *keyed->timers);
        for (uint32_t at = 0; at < keys; at++) keyed->timers[at] = SAME_TIMER;
    }
    keyed->timers[key->number] = key->timer;
}

static bool end_key(wm_key *key)
{
    struct wm_keyed_call *keyed = key->call->keyed;
    if (key->rejected) {
        wm_take_back(key->call, key->number);
        forget(key);
        key->op = KEEP;
        key->timer = SAME_TIMER;
    }
    if (key->op == PUT && remembered(keyed)->count == 0) return wm_fatal("the plugin put a state, and its states have no columns");
    bool has_state = key->op == KEEP ? key->state != NULL : key->op == PUT;
    bool timer = key->timer != SAME_TIMER && key->timer != NO_TIMER;
    if (timer && !has_state) return wm_fatal("the plugin set a timer for a key of which nothing is remembered");
    keyed->puts += key->op == PUT;
    keyed->ops[key->number] = key->op;
    keyed->op_said |= key->op != KEEP;
    if (key->timer != SAME_TIMER) note_timer(keyed, key);
    return true;
}

static bool update_all(const wm_keyed *plugin, wm_call *call, const wm_key_batch *batch, const wm_batch *states, const struct group *groups)
{
    struct wm_range *rows = wm_take(call->input_count * sizeof *rows);
    void *state = wm_alloc(plugin->state.size);
    bool nulls = wm_has_nulls(&call->keys);
    uint32_t state_row = 0;
    wm_key key = { .rows = rows, .call = call };
    for (uint32_t number = 0; number < batch->rows; number++) {
        uint8_t status = batch->status.data[number];
        for (uint32_t input = 0; input < call->input_count; input++) rows[input] = wm_group_at(groups[input].seen, number);
        key.number = number;
        key.timed_out = status & TIMED_OUT;
        key.first_part = status & FIRST_PART;
        key.last_part = status & LAST_PART;
        key.timer = SAME_TIMER;
        key.state = NULL;
        key.op = KEEP;
        key.rejected = false;
        if (status & HAS_STATE) {
            wm_read_as(states, remembered(call->keyed), state_row++, state);
            key.state = state;
        }
        const wm_field *null = nulls ? wm_null_in(&call->keys, number) : NULL;
        if (null != NULL) wm_reject_key(&key, "column `%.*s` is null", WM_ARG(null->name));
        else if (!plugin->update(call, &key)) return false;
        if (key.rejected && !reject_rows(&key, groups)) return false;
        if (!end_key(&key)) return false;
    }
    return true;
}

static void finish_changes(wm_call *call, wm_changes *changes)
{
    struct wm_keyed_call *keyed = call->keyed;
    wm_produced *produced = &changes->produced;
    changes->ops = (wm_bytes){ keyed->ops, keyed->op_said ? call->keys.rows : 0 };
    changes->timers = (wm_bytes){ (const uint8_t *)keyed->timers, keyed->timers != NULL ? call->keys.rows * sizeof *keyed->timers : 0 };
    changes->state = wm_finish_all(keyed->states, remembered(keyed)->count);
    changes->state_width = remembered(keyed)->count;
    if (call->reject_count == 0) return;
    produced->rejected = wm_take(call->input_count * sizeof *produced->rejected);
    produced->rejected_count = call->input_count;
    for (uint32_t input = 0; input < call->input_count; input++) produced->rejected[input] = wm_finish_rejects(call, input);
}

bool wm_keyed_process(wm_instance *instance, const wm_context *context, const wm_key_batch *batch, wm_changes *changes)
{
    const wm_keyed *plugin = WM_PLUGIN(keyed, instance);
    struct wm_keyed_call keyed = { .plugin = plugin };
    wm_call call = { .state = instance->state, .context = *context, .keyed = &keyed };
    const wm_record *records = input_records(plugin, &call.input_count);
    wm_keeper = &instance->keeper;
    *changes = (wm_changes){ 0 };
    call.keys = wm_batch_of(&plugin->key, instance->keys, batch->rows, selected(batch->keys, instance->key_positions, instance->keys.count));
    call.inputs = wm_take(call.input_count * sizeof *call.inputs);
    struct group *groups = wm_take(call.input_count * sizeof *groups);
    for (uint32_t at = 0; at < call.input_count; at++) {
        uint32_t rows = wm_end_of_all(wm_ends_of(batch->inputs[at].ends));
        call.inputs[at] = wm_batch_of(&records[at], instance->inputs[at], rows, batch->inputs[at].columns);
        groups[at] = read_group(&call, at, batch->inputs[at].ends);
    }
    call.input = call.inputs[0];
    uint32_t known = 0;
    for (uint32_t key = 0; key < batch->rows; key++) known += batch->status.data[key] & HAS_STATE;
    wm_batch states = wm_batch_of(&plugin->state, instance->remembered, known, batch->state);
    keyed.states = wm_builders(&plugin->state, batch->rows, wm_batch_bytes(&states) + 1);
    keyed.ops = wm_alloc(batch->rows);
    wm_open_ports(instance, &call, batch->rows, wm_batch_bytes(&call.keys) + wm_batch_bytes(&states));
    if (!update_all(plugin, &call, batch, &states, groups) || !wm_finish_ports(instance, &call, &changes->produced)) return false;
    finish_changes(&call, changes);
    return true;
}

/* ---- Another version ---- */

static bool migrate(const wm_keyed *plugin, uint32_t from, wm_wire_schema old, uint32_t rows, const wm_buffers *state, const wm_buffers **result)
{
    const wm_migration *step = plugin->migrations.steps, *end = step + plugin->migrations.count;
    wm_schema schema;
    uint32_t *positions;
    while (step < end && step->from != from) step++;
    if (step == end) return wm_fatal("the plugin cannot take over state of version %u", (unsigned)from);
    if (!select_columns(&step->old, wm_text_of(""), old, &schema, &positions)) return false;
    wm_batch batch = wm_batch_of(&step->old, schema, rows, selected(state, positions, schema.count));
    wm_builder *columns = wm_builders(&plugin->state, rows, wm_batch_bytes(&batch) + 1);
    void *before = wm_alloc(step->old.size), *after = wm_alloc(plugin->state.size);
    for (uint32_t row = 0; row < rows; row++) {
        const wm_field *null = wm_null_in(&batch, row);
        if (null != NULL) return wm_fatal("column `%.*s` is null", WM_ARG(null->name));
        wm_read(&batch, row, before);
        memset(after, 0, plugin->state.size);
        if (!step->migrate(before, after)) return false;
        wm_write(columns, &plugin->state, after);
    }
    *result = wm_finish_all(columns, plugin->state.count);
    return true;
}

bool wm_keyed_migrate(const wm_keyed *plugin, uint32_t from, wm_wire_schema old, uint32_t rows, const wm_buffers *state, const wm_buffers **result)
{
    wm_arena keeper = { 0 };
    wm_keeper = &keeper;
    bool ok = migrate(plugin, from, old, rows, state, result);
    wm_keeper = NULL;
    wm_arena_free(&keeper);
    return ok;
}
