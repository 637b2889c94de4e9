/* The exports of world `reducer-plugin`. */
#include "../bindings/reducer_plugin.h"
#define WORLD reducer
#include "world.h"

extern const wm_reducer wasmill_reducer;
static wm_instance *instance;

POST_RETURN(describe, "describe")
POST_RETURN(open, "open")
POST_RETURN(reduce, "reduce")
POST_RETURN(inverse, "inverse")

bool EXPORT(describe)(STRING *config, FIELDS *input, EXPORT(plan_t) *answer, ERROR *error)
{
    wm_plan plan;
    if (!wm_reducer_describe(&wasmill_reducer, text(config), schema(input), &plan)) return failed(error);
    answer_names(&answer->columns, plan.inputs);
    answer->invertible = wasmill_reducer.inverse != NULL;
    return true;
}

bool EXPORT(open)(STRING *config, FIELDS *input, ERROR *error)
{
    return wm_reducer_open(&wasmill_reducer, text(config), schema(input), &instance) || failed(error);
}

bool EXPORT(reduce)(EXPORT(context_t) *context, LOCAL(list_u8_t) *ends, BUFFERS *input, BUFFERS *answer, ERROR *error)
{
    const wm_buffers *result;
    (void)context;
    if (!wm_reducer_reduce(instance, (wm_bytes){ ends->ptr, ends->len }, columns(input), &result)) return failed(error);
    ANSWER_COLUMNS(answer, result, wasmill_reducer.row.count);
    return true;
}

bool EXPORT(inverse)(EXPORT(context_t) *context, uint32_t rows, BUFFERS *total, BUFFERS *gone, BUFFERS *answer, ERROR *error)
{
    const wm_buffers *result;
    (void)context;
    if (!wm_reducer_inverse(instance, rows, columns(total), columns(gone), &result)) return failed(error);
    ANSWER_COLUMNS(answer, result, wasmill_reducer.row.count);
    return true;
}
