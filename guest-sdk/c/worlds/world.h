/* Between the bindings of a world and the SDK: a world's file includes its bindings' header, defines WORLD, and INTERFACE if what it exports
 * is called otherwise, and then includes this. What both call the same is laid out the same, so lists of it pass without a copy. */
#include "../src/sdk.h"

#ifndef INTERFACE
#define INTERFACE WORLD
#endif

#define PASTE(a, b, c) a##b##c
#define NAME(a, b, c) PASTE(a, b, c)
#define LOCAL(type) NAME(WORLD, _plugin_, type)             /* transform_plugin_list_u8_t */
#define EXPORT(name) NAME(exports_wasmill_plugin_, INTERFACE, _##name)  /* exports_wasmill_plugin_transform_open */
#define ERROR EXPORT(error_t)
#define STRING LOCAL(string_t)
#define FIELDS EXPORT(list_field_t)
#define BUFFERS EXPORT(list_buffers_t)

_Static_assert(sizeof(wasmill_plugin_types_field_t) == sizeof(wm_wire_field), "a field of a schema");
_Static_assert(offsetof(wasmill_plugin_types_field_t, nullable) == offsetof(wm_wire_field, nullable), "a field of a schema");
_Static_assert(sizeof(wasmill_plugin_types_buffers_t) == sizeof(wm_buffers), "the buffers of a column");
_Static_assert(offsetof(wasmill_plugin_types_buffers_t, data) == offsetof(wm_buffers, data), "the buffers of a column");
_Static_assert(sizeof(wasmill_plugin_types_context_t) == sizeof(wm_context), "a context");
_Static_assert(offsetof(wasmill_plugin_types_context_t, seed) == offsetof(wm_context, seed), "a context");

/* The memory of a call goes when the host has read the answer. */
#define STRINGIFY(x) #x
#define TEXT(x) STRINGIFY(x)
#define POST_RETURN(function, name) \
    __attribute__((export_name("cabi_post_wasmill:plugin/" TEXT(INTERFACE) "@0.1.0#" name))) \
    void NAME(__wasm_export_exports_wasmill_plugin_, INTERFACE, _##function##_post_return)(uint8_t *answer); \
    void NAME(__wasm_export_exports_wasmill_plugin_, INTERFACE, _##function##_post_return)(uint8_t *answer) \
    { \
        (void)answer; \
        wm_call_ends(); \
    }

void wm_host_log(wm_level level, const char *message, size_t length)
{
    wasmill_plugin_host_log((uint8_t)level, &(STRING){ (uint8_t *)message, length });
}

static inline wm_text text(const STRING *string) { return (wm_text){ (const char *)string->ptr, string->len }; }
static inline STRING string(wm_text text) { return (STRING){ (uint8_t *)text.data, text.length }; }

#define BYTES(bytes) { (void *)(bytes).data, (bytes).length }

static inline wm_wire_schema schema(const FIELDS *fields)
{
    return (wm_wire_schema){ (const wm_wire_field *)(const void *)fields->ptr, (uint32_t)fields->len };
}

static inline const wm_buffers *columns(const BUFFERS *buffers) { return (const wm_buffers *)(const void *)buffers->ptr; }

/* What a function answers that failed. */
static inline bool failed(ERROR *error)
{
    *error = (ERROR){
        .kind = wm_last_error.kind, .message = string(wm_last_error.message),
        .rows = { (uint32_t *)wm_last_error.rows, wm_last_error.row_count },
        .after_ms = { wm_last_error.after_ms > 0, wm_last_error.after_ms },
    };
    return false;
}

#define ANSWER_COLUMNS(answer, columns, count) do { \
    (answer)->ptr = (void *)(columns); \
    (answer)->len = (count); \
} while (0)

static inline void answer_names(LOCAL(list_string_t) *answer, const wm_names *names)
{
    answer->ptr = (STRING *)(void *)names->names;
    answer->len = names->count;
}
