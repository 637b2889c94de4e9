/* Sinks: rows to the outside, one partition of one epoch at a time. */
#include "sdk.h"

static bool open_state(const wm_sink *plugin, wm_text config, void **state)
{
    const wm_record *records[] = { &plugin->input };
    return wm_open_state(&plugin->config, plugin->defaults, plugin->open, config, records, 1, state);
}

void wm_plan_want(wm_plan *plan, const char *column)
{
    wm_names *wanted = plan->inputs;
    wm_text *names = wm_take((wanted->count + 1) * sizeof *names);
    if (!plan->named) wanted->count = 0;
    plan->named = true;
    if (wanted->count > 0) memcpy(names, wanted->names, wanted->count * sizeof *names);
    names[wanted->count] = (wm_text){ wm_copy(column, strlen(column)), strlen(column) };
    *wanted = (wm_names){ names, wanted->count + 1 };
}

static bool check_names(const wm_names *wanted, const wm_text *there, uint32_t count)
{
    for (uint32_t at = 0; at < wanted->count; at++) {
        uint32_t found = 0;
        while (found < count && !wm_text_equal(there[found], wanted->names[at])) found++;
        if (found < count) continue;
        wm_text near = wm_suggestion(wanted->names[at], there, count);
        return wm_fatal("the input has no column `%.*s`%.*s", WM_ARG(wanted->names[at]), WM_ARG(near));
    }
    return true;
}

static bool describe(const wm_sink *plugin, wm_text config, wm_wire_schema input, wm_plan *plan)
{
    void *state;
    wm_text *all = wm_take(input.count * sizeof *all);
    for (uint32_t at = 0; at < input.count; at++) all[at] = input.fields[at].name;
    *plan = (wm_plan){ .inputs = wm_take(sizeof *plan->inputs), .input_count = 1 };
    *plan->inputs = (wm_names){ all, input.count };
    if (!open_state(plugin, config, &state)) return false;
    if (plugin->input.count > 0) return wm_resolve(&plugin->input, config, input, plan->inputs);
    if (plugin->plan != NULL && !plugin->plan(state, plan)) return false;
    return check_names(plan->inputs, all, input.count);
}

bool wm_sink_describe(const wm_sink *plugin, wm_text config, wm_wire_schema input, wm_plan *plan)
{
    wm_arena keeper = { 0 };
    wm_begin_pure(&keeper);
    return wm_end_pure(&keeper, describe(plugin, config, input, plan));
}

bool wm_sink_open(const wm_sink *plugin, wm_text config, wm_wire_schema input, wm_instance **instance)
{
    wm_instance *opened = wm_instance_new(plugin);
    opened->inputs = wm_keep(sizeof *opened->inputs);
    if (!open_state(plugin, config, &opened->state) || !wm_schema_of(input, opened->inputs)) return wm_open_failed(opened);
    *instance = opened;
    return true;
}

static wm_call call_of(wm_instance *instance, const wm_context *context)
{
    wm_keeper = &instance->keeper;
    return (wm_call){ .state = instance->state, .context = *context };
}

bool wm_sink_begin(wm_instance *instance, const wm_context *context, wm_text key)
{
    const wm_sink *plugin = instance->plugin;
    wm_call call = call_of(instance, context);
    return plugin->begin == NULL || plugin->begin(&call, key);
}

bool wm_sink_write(wm_instance *instance, const wm_context *context, uint32_t rows, const wm_buffers *input, wm_rejects *rejects)
{
    const wm_sink *plugin = instance->plugin;
    wm_call call = call_of(instance, context);
    call.input = wm_batch_of(&plugin->input, *instance->inputs, rows, input);
    call.inputs = &call.input;
    call.input_count = 1;
    wm_leave_out_nulls(&call, 0, &call.input);
    if (!plugin->write(&call)) return false;
    *rejects = wm_finish_rejects(&call, 0);
    return true;
}

bool wm_sink_prepare(wm_instance *instance, const wm_context *context, wm_bytes *token)
{
    const wm_sink *plugin = instance->plugin;
    wm_call call = call_of(instance, context);
    *token = (wm_bytes){ 0 };
    return plugin->prepare == NULL || plugin->prepare(&call, token);
}

bool wm_sink_commit(wm_instance *instance, uint64_t epoch, const wm_bytes *tokens, size_t count)
{
    const wm_sink *plugin = instance->plugin;
    wm_keeper = &instance->keeper;
    return plugin->commit == NULL || plugin->commit(instance->state, epoch, tokens, count);
}

bool wm_sink_abort(wm_instance *instance, uint64_t epoch, const wm_bytes *tokens, size_t count)
{
    const wm_sink *plugin = instance->plugin;
    wm_keeper = &instance->keeper;
    return plugin->abort == NULL || plugin->abort(instance->state, epoch, tokens, count);
}

bool wm_sink_last_epoch(wm_instance *instance, uint32_t partition, bool *known, uint64_t *epoch)
{
    const wm_sink *plugin = instance->plugin;
    wm_keeper = &instance->keeper;
    *known = false;
    return plugin->last_epoch == NULL || plugin->last_epoch(instance->state, partition, known, epoch);
}
