/* The SDK's own interface: between its parts, the exports in worlds/ and testing.c. Plugins include wasmill.h alone. */
#ifndef WASMILL_SDK_H
#define WASMILL_SDK_H

#include <wasmill.h>

/* ---- The contract's records, as wit/types.wit has them ---- */

typedef struct { wm_text name, type; bool nullable; } wm_wire_field;
typedef struct { const wm_wire_field *fields; uint32_t count; } wm_wire_schema;

typedef enum { WM_ERROR_RETRYABLE, WM_ERROR_REJECTED, WM_ERROR_FATAL } wm_error_kind;
typedef struct {
    wm_error_kind kind;
    wm_text message;
    const uint32_t *rows;
    size_t row_count;
    uint32_t after_ms;              /* 0: not said */
} wm_error;
/* Why the last function of this header answered false; the message lives until the call ends. */
extern wm_error wm_last_error;

typedef enum { WM_ORIGIN_SAME, WM_ORIGIN_PARENTS } wm_origin;
typedef struct {
    uint32_t port, rows;
    wm_origin origin;
    const uint32_t *parents;
    const wm_buffers *columns;
    uint32_t width;
} wm_output;
typedef struct { const uint32_t *rows; uint32_t count; wm_buffers reasons; } wm_rejects;

typedef struct { wm_text name; wm_field *columns; uint32_t count; const wm_record *record; bool carry; } wm_plan_port;
typedef struct { wm_text *names; uint32_t count; } wm_names;

/* The plans of all four kinds; each uses what it needs. */
struct wm_plan {
    wm_names *inputs;               /* the columns wanted of each input */
    uint32_t input_count;
    wm_plan_port *ports;
    uint32_t port_count;
    wm_field *state;
    uint32_t state_count;
    bool named;                     /* a sink: whether `plan` wants columns of its own */
    wm_wire_schema input;           /* a sink: the columns there are */
};

typedef struct { wm_output *outputs; uint32_t output_count; wm_rejects *rejected; uint32_t rejected_count; } wm_produced;

typedef struct { uint32_t rows; wm_bytes status; const wm_buffers *keys, *state; const struct wm_group *inputs; } wm_key_batch;
struct wm_group { wm_bytes ends; const wm_buffers *columns; };

typedef struct {
    wm_bytes ops, timers;
    const wm_buffers *state;
    uint32_t state_width;
    wm_produced produced;
} wm_changes;

typedef struct { wm_field *fields; uint32_t count; } wm_schema;

/* ---- An open plugin ---- */

typedef struct wm_instance wm_instance;

/* Each answers false after an error; `open` gives an instance that wm_close ends. */
bool wm_transform_describe(const wm_transform *plugin, wm_text config, wm_wire_schema input, wm_plan *plan);
bool wm_transform_open(const wm_transform *plugin, wm_text config, wm_wire_schema input, wm_instance **instance);
bool wm_transform_process(wm_instance *instance, const wm_context *context, uint32_t rows, const wm_buffers *input, wm_produced *produced);

bool wm_reducer_describe(const wm_reducer *plugin, wm_text config, wm_wire_schema input, wm_plan *plan);
bool wm_reducer_open(const wm_reducer *plugin, wm_text config, wm_wire_schema input, wm_instance **instance);
bool wm_reducer_reduce(wm_instance *instance, wm_bytes ends, const wm_buffers *input, const wm_buffers **result);
bool wm_reducer_inverse(wm_instance *instance, uint32_t rows, const wm_buffers *total, const wm_buffers *gone, const wm_buffers **result);

bool wm_keyed_describe(const wm_keyed *plugin, wm_text config, wm_wire_schema keys, const wm_wire_schema *inputs, uint32_t count, wm_plan *plan);
bool wm_keyed_open(const wm_keyed *plugin, wm_text config, wm_wire_schema keys, const wm_wire_schema *inputs, uint32_t count, wm_instance **instance);
bool wm_keyed_process(wm_instance *instance, const wm_context *context, const wm_key_batch *batch, wm_changes *changes);
bool wm_keyed_migrate(const wm_keyed *plugin, uint32_t from, wm_wire_schema old, uint32_t rows, const wm_buffers *state, const wm_buffers **result);

bool wm_sink_describe(const wm_sink *plugin, wm_text config, wm_wire_schema input, wm_plan *plan);
bool wm_sink_open(const wm_sink *plugin, wm_text config, wm_wire_schema input, wm_instance **instance);
bool wm_sink_begin(wm_instance *instance, const wm_context *context, wm_text key);
bool wm_sink_write(wm_instance *instance, const wm_context *context, uint32_t rows, const wm_buffers *input, wm_rejects *rejects);
bool wm_sink_prepare(wm_instance *instance, const wm_context *context, wm_bytes *token);
bool wm_sink_commit(wm_instance *instance, uint64_t epoch, const wm_bytes *tokens, size_t count);
bool wm_sink_abort(wm_instance *instance, uint64_t epoch, const wm_bytes *tokens, size_t count);
bool wm_sink_last_epoch(wm_instance *instance, uint32_t partition, bool *known, uint64_t *epoch);

void wm_close(wm_instance *instance);
uint32_t wm_keyed_version(const wm_keyed *plugin);

/* ---- Memory ---- */

typedef struct wm_arena { struct wm_chunk *chunks; } wm_arena;
/* Not zeroed, aligned for any number. */
void *wm_arena_take(wm_arena *arena, size_t size);
void wm_arena_free(wm_arena *arena);
/* Memory of the call. The first taken after wm_call_ends gives back that of the call before. */
void *wm_take(size_t size);
void *wm_copy(const void *from, size_t size);
void wm_call_ends(void);
/* What is taken between these two goes when the next request begins, for a call may send thousands; but for the error, if it failed. */
void wm_begin_request(void);
bool wm_end_request(bool ok);
/* What wm_keep takes from. */
extern wm_arena *wm_keeper;

/* ---- Parts ---- */

struct wm_instance {
    wm_arena keeper;
    const void *plugin;
    void *state;
    wm_plan plan;                   /* its ports */
    wm_schema *inputs;
    wm_schema keys;                 /* keyed: the key columns that are read, and where they are among all */
    uint32_t *key_positions;
    wm_schema remembered;           /* keyed: the columns of the state */
    uint32_t (*hints)[2];           /* of each port: rows and bytes that the last call made; 0 before the first */
};

/* The plugin of an instance or a call. A component has one, which the linker's optimiser sees: it unrolls the loops over its columns.
 * A native test has many. */
#ifdef __wasm__
extern const wm_reducer wasmill_reducer;
extern const wm_keyed wasmill_keyed;
extern const wm_record *const wasmill_output;
#define WM_PLUGIN(kind, of) ((void)(of), &wasmill_##kind)
#define WM_OUTPUT(port) (wasmill_output->count > 0 ? wasmill_output : (port)->record)
#else
#define WM_PLUGIN(kind, of) ((const wm_##kind *)(of)->plugin)
#define WM_OUTPUT(port) ((port)->record)
#endif

/* A fresh instance whose keeper is the one in use; and what it is to be told of the plan's ports. */
wm_instance *wm_instance_new(const void *plugin);
void wm_instance_ports(wm_instance *instance, const wm_plan *plan);
/* Between these two runs what needs a keeper and no instance. */
void wm_begin_pure(wm_arena *keeper);
bool wm_end_pure(wm_arena *keeper, bool ok);
bool wm_open_failed(wm_instance *instance);

_Noreturn void wm_panic(const char *message, ...) WM_PRINTF(1, 2);
extern bool wm_silent;              /* while `describe` runs, which may call no import */
void wm_host_log(wm_level level, const char *message, size_t length);

wm_text wm_first_characters(wm_text text, size_t most);
wm_text wm_nearest(wm_text word, const wm_text *known, size_t count);       /* NULL data if none is near */
wm_text wm_suggestion(wm_text word, const wm_text *known, size_t count);    /* "; did you mean `x`?", or nothing */

/* Reads and opens: `state` is what the calls work with. */
bool wm_open_state(const wm_config *config, const void *defaults, bool (*open)(const void *, void **), wm_text text,
                   const wm_record *const *records, uint32_t record_count, void **state);
/* The settings that name columns. */
bool wm_resolve(const wm_record *record, wm_text config, wm_wire_schema input, wm_names *names);
bool wm_schema_of(wm_wire_schema input, wm_schema *schema);     /* kept */
wm_field wm_field_of(const wm_column *column);
uint32_t wm_width(wm_type type);    /* bytes of a value; 0 if it varies, or is a bit */
bool wm_varies(wm_type type);

bool wm_plan_ports(const wm_record *output, const wm_port_shapes *ports, wm_plan *plan);
void wm_open_ports(wm_instance *instance, wm_call *call, uint32_t rows, size_t bytes);
bool wm_finish_ports(wm_instance *instance, wm_call *call, wm_produced *produced);

wm_batch wm_batch_of(const wm_record *record, wm_schema schema, uint32_t rows, const wm_buffers *columns);
size_t wm_batch_bytes(const wm_batch *batch);
/* Leaves out rows with a null in a column that is not nullable in the record, and rejects them. */
void wm_leave_out_nulls(wm_call *call, uint32_t input, wm_batch *batch);
/* The first column with a null at a row that the record has no room for; NULL if there is none. */
const wm_field *wm_null_in(const wm_batch *batch, uint32_t row);
bool wm_has_nulls(const wm_batch *batch);
void wm_reject_with(wm_call *call, uint32_t input, uint32_t row, wm_text reason);
/* What was emitted last for this parent, and values of a row that was not emitted yet. */
void wm_take_back(wm_call *call, uint32_t parent);
wm_rejects wm_finish_rejects(wm_call *call, uint32_t input);

wm_builder wm_builder_of(wm_field field, uint32_t rows, size_t bytes);
/* Room for so many more values of fixed width, counted as written; where they begin. */
void *wm_reserve(wm_builder *column, wm_type type, uint32_t rows);
void wm_builder_truncate(wm_builder *column, uint32_t rows);
wm_buffers wm_builder_finish(wm_builder *column);
/* Builders of a record's columns. */
wm_builder *wm_builders(const wm_record *record, uint32_t rows, size_t bytes);
const wm_buffers *wm_finish_all(wm_builder *columns, uint32_t count);

wm_json wm_cell_json(const wm_batch *batch, uint32_t column, uint32_t row);

#endif
