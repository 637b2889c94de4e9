/* The exports of world `transform-plugin`. */
#include "../bindings/transform_plugin.h"
#define WORLD transform
#include "world.h"
#include "fields.h"
#include "rejects.h"

extern const wm_transform wasmill_transform;
static wm_instance *instance;

POST_RETURN(describe, "describe")
POST_RETURN(open, "open")
POST_RETURN(process, "process")

bool EXPORT(describe)(STRING *config, FIELDS *input, EXPORT(plan_t) *answer, ERROR *error)
{
    wm_plan plan;
    if (!wm_transform_describe(&wasmill_transform, text(config), schema(input), &plan)) return failed(error);
    answer_names(&answer->columns, plan.inputs);
    answer_ports(&answer->ports, &plan);
    return true;
}

bool EXPORT(open)(STRING *config, FIELDS *input, ERROR *error)
{
    return wm_transform_open(&wasmill_transform, text(config), schema(input), &instance) || failed(error);
}

bool EXPORT(process)(EXPORT(context_t) *context, uint32_t rows, BUFFERS *input, EXPORT(produced_t) *answer, ERROR *error)
{
    wm_produced produced = { 0 };
    if (!wm_transform_process(instance, (const wm_context *)(const void *)context, rows, columns(input), &produced)) return failed(error);
    answer_outputs(&answer->outputs, &produced);
    answer->rejected = rejects_of(produced.rejected);
    return true;
}
