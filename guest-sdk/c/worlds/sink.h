/* The exports of both worlds of sinks. */
#define INTERFACE sink
#include "world.h"
#include "rejects.h"

extern const wm_sink wasmill_sink;
static wm_instance *instance;

_Static_assert((int)WM_MARKER == EXPORTS_WASMILL_PLUGIN_SINK_DELIVERY_MARKER, "deliveries are numbered as in the contract");
_Static_assert((int)WM_TWO_PHASE == EXPORTS_WASMILL_PLUGIN_SINK_DELIVERY_TWO_PHASE, "deliveries are numbered as in the contract");

POST_RETURN(describe, "describe")
POST_RETURN(open, "open")
POST_RETURN(last_epoch, "last-epoch")
POST_RETURN(begin, "begin")
POST_RETURN(write, "write")
POST_RETURN(prepare, "prepare")
POST_RETURN(commit, "commit")
POST_RETURN(abort, "abort")

bool EXPORT(describe)(STRING *config, FIELDS *input, EXPORT(plan_t) *answer, ERROR *error)
{
    wm_plan plan;
    if (!wm_sink_describe(&wasmill_sink, text(config), schema(input), &plan)) return failed(error);
    answer_names(&answer->columns, plan.inputs);
    answer->delivery = (uint8_t)wasmill_sink.delivery;
    return true;
}

bool EXPORT(open)(STRING *config, FIELDS *input, ERROR *error)
{
    return wm_sink_open(&wasmill_sink, text(config), schema(input), &instance) || failed(error);
}

bool EXPORT(last_epoch)(uint32_t partition, LOCAL(option_u64_t) *answer, ERROR *error)
{
    return wm_sink_last_epoch(instance, partition, &answer->is_some, &answer->val) || failed(error);
}

bool EXPORT(begin)(EXPORT(context_t) *context, STRING *key, ERROR *error)
{
    return wm_sink_begin(instance, (const wm_context *)(const void *)context, text(key)) || failed(error);
}

bool EXPORT(write)(EXPORT(context_t) *context, uint32_t rows, BUFFERS *input, EXPORT(rejects_t) *answer, ERROR *error)
{
    wm_rejects rejects;
    if (!wm_sink_write(instance, (const wm_context *)(const void *)context, rows, columns(input), &rejects)) return failed(error);
    *answer = rejects_of(&rejects);
    return true;
}

bool EXPORT(prepare)(EXPORT(context_t) *context, LOCAL(list_u8_t) *answer, ERROR *error)
{
    wm_bytes token;
    if (!wm_sink_prepare(instance, (const wm_context *)(const void *)context, &token)) return failed(error);
    *answer = (LOCAL(list_u8_t))BYTES(token);
    return true;
}

bool EXPORT(commit)(uint64_t epoch, LOCAL(list_list_u8_t) *tokens, ERROR *error)
{
    return wm_sink_commit(instance, epoch, (const wm_bytes *)(const void *)tokens->ptr, tokens->len) || failed(error);
}

bool EXPORT(abort)(uint64_t epoch, LOCAL(list_list_u8_t) *tokens, ERROR *error)
{
    return wm_sink_abort(instance, epoch, (const wm_bytes *)(const void *)tokens->ptr, tokens->len) || failed(error);
}
