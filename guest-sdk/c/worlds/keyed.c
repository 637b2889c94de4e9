/* The exports of world `keyed-plugin`. */
#include "../bindings/keyed_plugin.h"
#define WORLD keyed
#include "world.h"
#include "fields.h"
#include "rejects.h"

extern const wm_keyed wasmill_keyed;
static wm_instance *instance;

POST_RETURN(describe, "describe")
POST_RETURN(open, "open")
POST_RETURN(process, "process")
POST_RETURN(migrate, "migrate")

static const wm_wire_schema *schemas(const EXPORT(list_list_field_t) *lists)
{
    wm_wire_schema *schemas = wm_take(lists->len * sizeof *schemas);
    for (size_t at = 0; at < lists->len; at++) schemas[at] = schema(&lists->ptr[at]);
    return schemas;
}

bool EXPORT(describe)(STRING *config, FIELDS *keys, EXPORT(list_list_field_t) *inputs, EXPORT(plan_t) *answer, ERROR *error)
{
    wm_plan plan;
    uint32_t *from = wm_take(wasmill_keyed.migrations.count * sizeof *from);
    for (uint32_t at = 0; at < wasmill_keyed.migrations.count; at++) from[at] = wasmill_keyed.migrations.steps[at].from;
    if (!wm_keyed_describe(&wasmill_keyed, text(config), schema(keys), schemas(inputs), (uint32_t)inputs->len, &plan)) return failed(error);
    *answer = (EXPORT(plan_t)){
        .state_version = wm_keyed_version(&wasmill_keyed), .migrates_from = { from, wasmill_keyed.migrations.count },
        .whole_groups = wasmill_keyed.whole_groups,
    };
    answer->inputs.ptr = wm_take(plan.input_count * sizeof *answer->inputs.ptr);
    answer->inputs.len = plan.input_count;
    for (uint32_t at = 0; at < plan.input_count; at++) answer_names(&answer->inputs.ptr[at], &plan.inputs[at]);
    wasmill_plugin_types_list_field_t state;
    answer_fields(&state, plan.state, plan.state_count);
    ANSWER_COLUMNS(&answer->state, state.ptr, state.len);
    answer_ports(&answer->ports, &plan);
    return true;
}

bool EXPORT(open)(STRING *config, FIELDS *keys, EXPORT(list_list_field_t) *inputs, ERROR *error)
{
    return wm_keyed_open(&wasmill_keyed, text(config), schema(keys), schemas(inputs), (uint32_t)inputs->len, &instance) || failed(error);
}

bool EXPORT(process)(EXPORT(context_t) *context, EXPORT(batch_t) *batch, EXPORT(changes_t) *answer, ERROR *error)
{
    wm_changes changes;
    struct wm_group *groups = wm_take(batch->inputs.len * sizeof *groups);
    for (size_t at = 0; at < batch->inputs.len; at++) {
        const EXPORT(group_t) *group = &batch->inputs.ptr[at];
        groups[at] = (struct wm_group){ { group->ends.ptr, group->ends.len }, columns(&group->columns) };
    }
    wm_key_batch keys = {
        .rows = batch->rows, .status = { batch->status.ptr, batch->status.len },
        .keys = columns(&batch->keys), .state = columns(&batch->state), .inputs = groups,
    };
    if (!wm_keyed_process(instance, (const wm_context *)(const void *)context, &keys, &changes)) return failed(error);
    *answer = (EXPORT(changes_t)){ .ops = BYTES(changes.ops), .timers = BYTES(changes.timers) };
    ANSWER_COLUMNS(&answer->state, changes.state, changes.state_width);
    answer_outputs(&answer->outputs, &changes.produced);
    answer->rejected.ptr = wm_take(changes.produced.rejected_count * sizeof *answer->rejected.ptr);
    answer->rejected.len = changes.produced.rejected_count;
    for (uint32_t at = 0; at < changes.produced.rejected_count; at++) answer->rejected.ptr[at] = rejects_of(&changes.produced.rejected[at]);
    return true;
}

bool EXPORT(migrate)(uint32_t from, FIELDS *old, uint32_t rows, BUFFERS *state, BUFFERS *answer, ERROR *error)
{
    const wm_buffers *result;
    if (!wm_keyed_migrate(&wasmill_keyed, from, schema(old), rows, columns(state), &result)) return failed(error);
    ANSWER_COLUMNS(answer, result, wasmill_keyed.state.count);
    return true;
}
