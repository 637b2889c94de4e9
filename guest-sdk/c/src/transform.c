/* Transforms: the contract's three functions around the plugin's one. */
#include "sdk.h"

static bool make_plan(const wm_transform *plugin, wm_text config, void **state, wm_plan *plan)
{
    const wm_record *records[] = { &plugin->input };
    *plan = (wm_plan){ 0 };
    if (!wm_open_state(&plugin->config, plugin->defaults, plugin->open, config, records, 1, state)) return false;
    if (!wm_plan_ports(&plugin->output, &plugin->ports, plan)) return false;
    return plugin->plan == NULL || plugin->plan(*state, plan);
}

static bool describe(const wm_transform *plugin, wm_text config, wm_wire_schema input, wm_plan *plan)
{
    void *state;
    if (!make_plan(plugin, config, &state, plan)) return false;
    plan->inputs = wm_take(sizeof *plan->inputs);
    plan->input_count = 1;
    return wm_resolve(&plugin->input, config, input, plan->inputs);
}

bool wm_transform_describe(const wm_transform *plugin, wm_text config, wm_wire_schema input, wm_plan *plan)
{
    wm_arena keeper = { 0 };
    wm_begin_pure(&keeper);
    return wm_end_pure(&keeper, describe(plugin, config, input, plan));
}

bool wm_transform_open(const wm_transform *plugin, wm_text config, wm_wire_schema input, wm_instance **instance)
{
    wm_plan plan;
    wm_instance *opened = wm_instance_new(plugin);
    opened->inputs = wm_keep(sizeof *opened->inputs);
    if (!make_plan(plugin, config, &opened->state, &plan) || !wm_schema_of(input, opened->inputs)) return wm_open_failed(opened);
    wm_instance_ports(opened, &plan);
    *instance = opened;
    return true;
}

bool wm_transform_process(wm_instance *instance, const wm_context *context, uint32_t rows, const wm_buffers *input, wm_produced *produced)
{
    const wm_transform *plugin = instance->plugin;
    wm_call call = { .state = instance->state, .context = *context, .input_count = 1 };
    wm_keeper = &instance->keeper;
    call.input = wm_batch_of(&plugin->input, *instance->inputs, rows, input);
    call.inputs = &call.input;
    wm_leave_out_nulls(&call, 0, &call.input);
    wm_open_ports(instance, &call, call.input.rows, wm_batch_bytes(&call.input));
    if (!plugin->process(&call) || !wm_finish_ports(instance, &call, produced)) return false;
    produced->rejected = wm_take(sizeof *produced->rejected);
    *produced->rejected = wm_finish_rejects(&call, 0);
    produced->rejected_count = 1;
    return true;
}
