/*
 * Wasmill plugins in C. docs/plugins/c.md is the guide, docs/plugins/abi.md the contract under it.
 *
 * A plugin is one macro at file scope, WASMILL_TRANSFORM, WASMILL_REDUCER, WASMILL_KEYED or WASMILL_SINK, that names its
 * columns and its functions. A function answers true, or false after wm_fatal, wm_retryable or wm_rejected.
 *
 * Memory: what the host sends, and what wm_alloc and wm_format give, lives until the call ends; nobody frees it. What wm_keep gives
 * lives as long as the instance.
 */
#ifndef WASMILL_H
#define WASMILL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define WM_PRINTF(message, first) __attribute__((format(printf, message, first)))
#define WM_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#else
#define WM_PRINTF(message, first)
#define WM_UNLIKELY(condition) (condition)
#endif

/* ---- Values -------------------------------------------------------------------------------------------------- */

/* UTF-8 without a NUL at its end; printf shows it with "%.*s" and WM_ARG(text). */
typedef struct { const char *data; size_t length; } wm_text;
typedef struct { const uint8_t *data; size_t length; } wm_bytes;
/* A text that is valid JSON. */
typedef struct { const char *data; size_t length; } wm_json;

#define WM_ARG(text) (int)(text).length, (text).data
/* Of a string literal, or of any string that ends with a NUL. */
static inline wm_text wm_text_of(const char *string) { return (wm_text){ string, strlen(string) }; }
static inline bool wm_text_equal(wm_text a, wm_text b) { return a.length == b.length && memcmp(a.data, b.data, a.length) == 0; }
static inline wm_bytes wm_bytes_of(wm_text text) { return (wm_bytes){ (const uint8_t *)text.data, text.length }; }
/* How many characters, not bytes. */
size_t wm_text_characters(wm_text text);

typedef __int128 wm_int128;
/* A fixed-point number without its point: 12.30 of a decimal(10,2) is 1230. */
typedef struct { wm_int128 unscaled; } wm_decimal;
/* Days since 1970-01-01. */
typedef struct { int32_t days; } wm_date;
/* Microseconds since 1970-01-01T00:00:00Z. */
typedef struct { int64_t micros; } wm_timestamp;
/* A setting written as "30s", "1h 30m" or "250ms". */
typedef struct { int64_t ms; } wm_duration;
/* Texts by their names: a setting that is a table of them, or the headers of a request. */
typedef struct { wm_text name, value; } wm_entry;
typedef struct { const wm_entry *entries; size_t count; } wm_entries;
#define WM_ENTRIES(...) { (const wm_entry[]){ __VA_ARGS__ }, WM_COUNT(wm_entry, __VA_ARGS__) }

/* Values that may be missing, as members of a row's struct. */
typedef struct { bool some; bool value; } wm_opt_bool;
typedef struct { bool some; int64_t value; } wm_opt_int64;
typedef struct { bool some; double value; } wm_opt_float64;
typedef struct { bool some; wm_decimal value; } wm_opt_decimal;
typedef struct { bool some; wm_date value; } wm_opt_date;
typedef struct { bool some; wm_timestamp value; } wm_opt_timestamp;
typedef struct { bool some; wm_text value; } wm_opt_text;
typedef struct { bool some; wm_bytes value; } wm_opt_bytes;
typedef struct { bool some; wm_json value; } wm_opt_json;

/* ---- Columns ------------------------------------------------------------------------------------------------- */

typedef enum {
    WM_BOOLEAN, WM_INT64, WM_FLOAT64, WM_DECIMAL, WM_DATE, WM_TIMESTAMP, WM_UTF8, WM_BINARY, WM_JSON,
} wm_type;

/* A column that a plugin reads, makes or remembers. */
typedef struct {
    const char *name;
    wm_type type;
    bool nullable;              /* a row with a null in a column that is read and is not nullable is rejected by the SDK */
    uint8_t precision, scale;   /* of a decimal */
    const char *setting;        /* read: the key of the configuration that may give the column's name */
    bool or_first;              /* read: the first column of the type will do if none has the name */
    uint32_t offset;            /* in the row's struct */
} wm_column;

/* Columns, and the struct that a row of them is, if there is one. */
typedef struct { const wm_column *columns; uint32_t count; uint32_t size; } wm_record;

#define WM_COUNT(type, ...) (sizeof((const type[]){ __VA_ARGS__ }) / sizeof(type))

/* Columns without a struct: WM_COLUMNS({ "line", WM_UTF8 }, { "n", WM_INT64, .nullable = true }). */
#define WM_COLUMNS(...) { (const wm_column[]){ __VA_ARGS__ }, WM_COUNT(wm_column, __VA_ARGS__), 0 }

/* Columns of a struct: WM_RECORD(struct word, WM_FIELD(struct word, word), ...). */
#define WM_RECORD(type, ...) { (const wm_column[]){ __VA_ARGS__ }, WM_COUNT(wm_column, __VA_ARGS__), sizeof(type) }

/* The column of a member, its type after the member's; an argument more sets members of wm_column, as .setting = "column". */
#define WM_FIELD(row, member, ...) { \
    .name = #member, .type = WM_TYPE_OF(((row *)0)->member), .nullable = WM_IS_OPT(((row *)0)->member), \
    .offset = offsetof(row, member), __VA_ARGS__ }

#define WM_TYPE_OF(value) _Generic((value), \
    bool: WM_BOOLEAN, int64_t: WM_INT64, double: WM_FLOAT64, wm_decimal: WM_DECIMAL, wm_date: WM_DATE, \
    wm_timestamp: WM_TIMESTAMP, wm_text: WM_UTF8, wm_bytes: WM_BINARY, wm_json: WM_JSON, \
    wm_opt_bool: WM_BOOLEAN, wm_opt_int64: WM_INT64, wm_opt_float64: WM_FLOAT64, wm_opt_decimal: WM_DECIMAL, \
    wm_opt_date: WM_DATE, wm_opt_timestamp: WM_TIMESTAMP, wm_opt_text: WM_UTF8, wm_opt_bytes: WM_BINARY, \
    wm_opt_json: WM_JSON)
#define WM_IS_OPT(value) _Generic((value), \
    wm_opt_bool: true, wm_opt_int64: true, wm_opt_float64: true, wm_opt_decimal: true, wm_opt_date: true, \
    wm_opt_timestamp: true, wm_opt_text: true, wm_opt_bytes: true, wm_opt_json: true, default: false)

/* A column of a schema that is known when the plugin runs. */
typedef struct {
    wm_text name;
    wm_type type;
    bool nullable;
    uint8_t precision, scale;
} wm_field;

/* Reads "decimal(10,2)" into type, precision and scale; false, with the error set, if there is no such type. */
bool wm_field_type(wm_field *field, wm_text type);
/* The type as the contract spells it. */
wm_text wm_field_type_name(const wm_field *field);

/* ---- Reading a batch ------------------------------------------------------------------------------------------ */

/* The three byte buffers of a column, as abi.md tells; aligned for any number. */
typedef struct { wm_bytes validity, offsets, data; } wm_buffers;

/* The rows of a call. Its columns are those that the plugin reads, in the order declared. */
typedef struct {
    uint32_t rows;
    uint32_t width;
    const wm_field *fields;
    const wm_buffers *columns;
    const wm_record *record;
    const uint32_t *numbers;    /* the SDK's: where each row was before rows with nulls were left out; NULL if none was */
} wm_batch;

/* A column as an array of its values; wm_int64(batch, 0)[row]. Those of nulls mean nothing. */
const int64_t *wm_int64(const wm_batch *batch, uint32_t column);
const double *wm_float64(const wm_batch *batch, uint32_t column);
const wm_decimal *wm_decimals(const wm_batch *batch, uint32_t column);
const wm_date *wm_dates(const wm_batch *batch, uint32_t column);
const wm_timestamp *wm_timestamps(const wm_batch *batch, uint32_t column);

/* A column of booleans. */
typedef struct { const uint8_t *bits; } wm_bits;
wm_bits wm_booleans(const wm_batch *batch, uint32_t column);
static inline bool wm_bit_at(wm_bits bits, uint32_t row) { return bits.bits[row >> 3] >> (row & 7) & 1; }

/* A column of texts, of JSON or of byte strings, read in place. */
typedef struct { const uint32_t *offsets; const char *data; } wm_texts;
wm_texts wm_utf8(const wm_batch *batch, uint32_t column);
static inline wm_text wm_text_at(wm_texts texts, uint32_t row)
{
    uint32_t start = texts.offsets[row];
    return (wm_text){ texts.data + start, texts.offsets[row + 1] - start };
}
typedef struct { wm_texts texts; } wm_binaries;
wm_binaries wm_binary(const wm_batch *batch, uint32_t column);
static inline wm_bytes wm_bytes_at(wm_binaries binaries, uint32_t row)
{
    return wm_bytes_of(wm_text_at(binaries.texts, row));
}

static inline bool wm_is_null(const wm_batch *batch, uint32_t column, uint32_t row)
{
    wm_bytes validity = batch->columns[column].validity;
    return validity.length != 0 && !(validity.data[row >> 3] >> (row & 7) & 1);
}

/* A row as the batch's struct. */
void wm_read(const wm_batch *batch, uint32_t row, void *into);

/* A row as a JSON object, {"word":"a","n":1}, as the host's own sinks write it. */
wm_text wm_row_json(const wm_batch *batch, uint32_t row);
/* The rows from `start` to before `end`, as a JSON array of such objects. */
wm_text wm_rows_json(const wm_batch *batch, uint32_t start, uint32_t end);

/* ---- Words ---------------------------------------------------------------------------------------------------- */

/* The longest pieces of a text without ASCII white space:
 *     for (wm_words words = wm_split(text); wm_next_word(&words);) use(words.word); */
typedef struct {
    wm_text word;
    const char *block, *end;    /* the 64 bytes looked at, and where the text ends */
    uint64_t ahead;             /* a bit for each of them that is of a word not yet given */
} wm_words;

wm_words wm_split(wm_text text);
bool wm_next_word_slow(wm_words *words);

static inline bool wm_next_word(wm_words *words)
{
    if (WM_UNLIKELY(words->ahead == 0)) return wm_next_word_slow(words);
    uint32_t start = (uint32_t)__builtin_ctzll(words->ahead);
    uint64_t after = ~(words->ahead >> start);
    if (WM_UNLIKELY(after << start == 0)) return wm_next_word_slow(words); /* the word reaches the end of the 64 bytes */
    uint32_t length = (uint32_t)__builtin_ctzll(after);
    words->ahead &= ~(uint64_t)0 << start << length;
    words->word = (wm_text){ words->block + start, length };
    return true;
}

/* ---- Building output ------------------------------------------------------------------------------------------ */

/* An output column in the making. */
typedef struct {
    uint8_t *data;
    uint32_t *offsets;          /* of texts: where each ends, after a 0 */
    uint8_t *validity;          /* NULL until the first null */
    size_t bytes, byte_room;    /* of texts */
    uint32_t rows, room;
    uint32_t nulls;
    wm_field field;
} wm_builder;

/* The rows of one output port. */
typedef struct {
    wm_builder *columns;
    uint32_t width;
    uint32_t rows, room;
    uint32_t *parents;
    const wm_record *record;
    uint32_t input_rows;
    wm_text name;
} wm_port;

/* The SDK's: room for one more value, after a look at whether the column is of that type. */
void wm_grow(wm_builder *column, wm_type type, size_t bytes);
void wm_grow_port(wm_port *port, uint32_t rows);
/* The SDK's: the memory of the calls, in which 64 bytes may be read and written past the end of anything. */
extern struct wm_span { uintptr_t start; size_t length; } wm_call_memory;

#define WM_PUSH(column, tag, type, value) do { \
    if (WM_UNLIKELY((column)->rows == (column)->room)) wm_grow(column, tag, 0); \
    ((type *)(column)->data)[(column)->rows++] = (value); \
} while (0)

static inline void wm_push_int64(wm_builder *column, int64_t value) { WM_PUSH(column, WM_INT64, int64_t, value); }
static inline void wm_push_float64(wm_builder *column, double value) { WM_PUSH(column, WM_FLOAT64, double, value); }
static inline void wm_push_decimal(wm_builder *column, wm_decimal value) { WM_PUSH(column, WM_DECIMAL, wm_decimal, value); }
static inline void wm_push_date(wm_builder *column, wm_date value) { WM_PUSH(column, WM_DATE, wm_date, value); }
static inline void wm_push_timestamp(wm_builder *column, wm_timestamp value) { WM_PUSH(column, WM_TIMESTAMP, wm_timestamp, value); }

static inline void wm_push_boolean(wm_builder *column, bool value)
{
    if (WM_UNLIKELY(column->rows == column->room)) wm_grow(column, WM_BOOLEAN, 0);
    column->data[column->rows >> 3] |= (uint8_t)(value << (column->rows & 7));
    column->rows++;
}

/* Appends mostly short bytes. Up to 16 go as one load and one store where the bytes after them may be read: in WebAssembly
 * a copy of a length not known before is a call into the host's runtime, which costs more than a word is long. */
static inline void wm_append(wm_builder *column, wm_type type, const void *from, size_t length)
{
    if (WM_UNLIKELY(column->rows == column->room || column->byte_room - column->bytes < length)) wm_grow(column, type, length);
    uint8_t *to = column->data + column->bytes;
    if (length <= 16 && (uintptr_t)from - wm_call_memory.start < wm_call_memory.length) {
        memcpy(to, from, 16);
    } else {
        memcpy(to, from, length);
    }
    column->bytes += length;
    column->offsets[++column->rows] = (uint32_t)column->bytes;
}

static inline void wm_push_text(wm_builder *column, wm_text value) { wm_append(column, WM_UTF8, value.data, value.length); }
static inline void wm_push_json(wm_builder *column, wm_json value) { wm_append(column, WM_JSON, value.data, value.length); }
static inline void wm_push_bytes(wm_builder *column, wm_bytes value) { wm_append(column, WM_BINARY, value.data, value.length); }

/* A null, in a nullable column of any type. */
void wm_push_null(wm_builder *column);

/* Ends an output row, after a value for each column: it comes from this input row, or in a keyed plugin from this key. */
static inline void wm_emit(wm_port *port, uint32_t parent)
{
    if (WM_UNLIKELY(port->rows == port->room)) wm_grow_port(port, 1);
    port->parents[port->rows++] = parent;
}

/* An output row of the port's struct. */
void wm_emit_row(wm_port *port, uint32_t parent, const void *row);

/* Whole columns at once: room for a value for each input row, to be filled in, and then an output row for each. */
int64_t *wm_fill_int64(wm_port *port, uint32_t column);
double *wm_fill_float64(wm_port *port, uint32_t column);
wm_decimal *wm_fill_decimals(wm_port *port, uint32_t column);
wm_date *wm_fill_dates(wm_port *port, uint32_t column);
wm_timestamp *wm_fill_timestamps(wm_port *port, uint32_t column);
void wm_emit_all(wm_port *port);

/* ---- Calls ---------------------------------------------------------------------------------------------------- */

/* batch_time and watermark are milliseconds since 1970. Time and seed are the same when an epoch is run again: a plugin has
 * no other clock and no other randomness. */
typedef struct {
    uint64_t epoch;
    int64_t batch_time;
    uint32_t partition, call;
    int64_t watermark;
    uint64_t seed;
} wm_context;

struct wm_reject { uint32_t input, row; wm_text reason; };

typedef struct {
    void *state;                /* what `open` answered; without it, the configuration */
    wm_context context;
    wm_batch input;             /* the only input, or the first */
    wm_batch *inputs;
    uint32_t input_count;
    wm_batch keys;              /* keyed plugins: the columns of the key, a row for each */
    wm_port *ports;             /* in the order declared; the only one is ports[0] */
    uint32_t port_count;
    struct wm_keyed_call *keyed;    /* the SDK's, from here on */
    struct wm_reject *rejects;
    uint32_t reject_count, reject_room;
} wm_call;

/* Turns a row of the input away, whatever was emitted for it; the others go on. */
void wm_reject(wm_call *call, uint32_t row, const char *reason, ...) WM_PRINTF(3, 4);

/* Why a function answers false. The message is one sentence without a full stop. */
bool wm_fatal(const char *message, ...) WM_PRINTF(1, 2);                     /* there is no use in going on */
bool wm_retryable(uint32_t after_ms, const char *message, ...) WM_PRINTF(2, 3); /* it may succeed later; 0 says nothing of when */
bool wm_rejected(const uint32_t *rows, size_t count, const char *message, ...) WM_PRINTF(3, 4); /* these rows are at fault */

/* Lines for the pipeline's log. printf and assert write to it too: standard output at level info, standard error at error. */
typedef enum { WM_TRACE, WM_DEBUG, WM_INFO, WM_WARN, WM_ERROR } wm_level;
void wm_log(wm_level level, const char *message, ...) WM_PRINTF(2, 3);
void wm_log_text(wm_level level, wm_text text);
#define wm_info(...) wm_log(WM_INFO, __VA_ARGS__)
#define wm_warn(...) wm_log(WM_WARN, __VA_ARGS__)

/* Memory until the call ends, and memory until the instance does; zeroed, never NULL. */
void *wm_alloc(size_t size);
void *wm_keep(size_t size);
wm_text wm_format(const char *format, ...) WM_PRINTF(1, 2);
wm_text wm_vformat(const char *format, va_list arguments) WM_PRINTF(1, 0);
wm_text wm_keep_text(wm_text text);

/* ---- Configuration -------------------------------------------------------------------------------------------- */

typedef enum { WM_SET_BOOL, WM_SET_INT64, WM_SET_FLOAT64, WM_SET_TEXT, WM_SET_DURATION, WM_SET_ENTRIES, WM_SET_JSON } wm_setting_type;

/* A setting, read into a member of the configuration's struct. */
typedef struct {
    const char *name;
    wm_setting_type type;
    uint32_t offset;
    bool required;
} wm_setting;

typedef struct { const wm_setting *settings; uint32_t count; uint32_t size; } wm_config;

/* The struct's settings: WM_CONFIG(struct config, WM_SETTING(struct config, limit, .required = true), ...). A key that is none of them is
 * an error that names the nearest. A member of type wm_entries takes a table of texts, in the order of their names; one of type wm_json any
 * value, for wm_json_members and its like to read. */
#define WM_CONFIG(type, ...) { (const wm_setting[]){ __VA_ARGS__ }, WM_COUNT(wm_setting, __VA_ARGS__), sizeof(type) }
#define WM_SETTING(config, member, ...) { \
    .name = #member, .type = _Generic(((config *)0)->member, bool: WM_SET_BOOL, int64_t: WM_SET_INT64, double: WM_SET_FLOAT64, \
        wm_text: WM_SET_TEXT, wm_duration: WM_SET_DURATION, wm_entries: WM_SET_ENTRIES, wm_json: WM_SET_JSON), \
    .offset = offsetof(config, member), __VA_ARGS__ }

/* What `plan` may add to what the plugin's tables say. */
typedef struct wm_plan wm_plan;
void wm_plan_carry(wm_plan *plan, bool carry);                              /* of all ports */
void wm_plan_column(wm_plan *plan, uint32_t port, const wm_field *column);  /* one more that the plugin makes */
void wm_plan_want(wm_plan *plan, const char *column);                       /* a sink: this column; once called, no others */

/* ---- JSON ----------------------------------------------------------------------------------------------------- */

/* Members of a JSON object. */
typedef struct { wm_text name; wm_json value; } wm_member;
typedef struct { const wm_member *members; size_t count; } wm_members;

/* The members as written. False if the text is not a JSON object: `why` says what it is instead. */
bool wm_json_members(wm_text text, wm_members *members, wm_text *why);
/* The last member of that name; NULL if there is none. */
const wm_member *wm_json_member(wm_members members, wm_text name);
/* In the order of their names, the last of each name. */
wm_members wm_json_sorted(wm_members members);
bool wm_json_is_null(wm_json json);
/* The number, exactly; false if it is none, or has a fraction or an exponent, or does not fit. */
bool wm_json_int64(wm_json json, int64_t *value);
/* The nearest number; false if it is none, or too large. */
bool wm_json_float64(wm_json json, double *value);
/* The text of a JSON string; false if it is no string. */
bool wm_json_text(wm_json json, wm_text *text);
/* The text as a JSON string, in quotes. */
wm_json wm_json_quote(wm_text text);
/* "a string", "integer `3`": what a value is, for messages as "invalid type: .., expected a string". */
wm_text wm_json_kind(wm_json json);
/* Adds JSON to a column as a value of its type, exactly or not at all: no number is rounded but to a float, no text is read as a number.
 * Dates and timestamps are ISO 8601 texts, bytes are hexadecimal digits. False, with the reason, if it is something else. */
bool wm_push_from_json(wm_builder *column, wm_json json, wm_text *why);

/* The texts of dates and timestamps; false if it is none. */
bool wm_date_parse(wm_text text, wm_date *date);
bool wm_timestamp_parse(wm_text text, wm_timestamp *timestamp);
bool wm_date_from_ymd(int32_t year, uint32_t month, uint32_t day, wm_date *date);
wm_text wm_date_text(wm_date date);
wm_text wm_timestamp_text(wm_timestamp timestamp);
wm_text wm_decimal_text(wm_decimal decimal, uint8_t scale);

/* ---- The four kinds of plugin --------------------------------------------------------------------------------- */

typedef struct { const char *name; wm_record columns; } wm_port_shape;
typedef struct { const wm_port_shape *ports; uint32_t count; } wm_port_shapes;
/* Several outputs: .ports = WM_PORTS({ "numbers", WM_COLUMNS({ "number", WM_INT64 }) }, { "words", WM_COLUMNS(..) }). */
#define WM_PORTS(...) { (const wm_port_shape[]){ __VA_ARGS__ }, WM_COUNT(wm_port_shape, __VA_ARGS__) }

/* What all kinds have. */
#define WM_COMMON \
    wm_config config; \
    const void *defaults;                               /* a configuration's struct: what settings are unless given */ \
    bool (*open)(const void *config, void **state);     /* makes what the calls work with; runs when a pipeline is checked too */

typedef struct {
    WM_COMMON
    wm_record input;                                    /* the columns that it reads */
    wm_record output;                                   /* the columns of the only port, `out`; or else */
    wm_port_shapes ports;
    bool (*plan)(const void *state, wm_plan *plan);
    bool (*process)(wm_call *call);                     /* a chunk of rows */
} wm_transform;

/* Rows and result are the same struct. */
typedef struct {
    WM_COMMON
    wm_record row;
    bool (*reduce)(void *state, void *total, const void *next);     /* total becomes total and next; total is the earlier one */
    bool (*inverse)(void *state, void *total, const void *gone);    /* total becomes what is left without gone, its oldest part */
} wm_reducer;

/* The key that a keyed plugin is called for. */
typedef struct {
    uint32_t number;                                    /* its row in call->keys, and the parent of what is emitted */
    const struct wm_range { uint32_t start, end; } *rows;   /* its rows in each of call->inputs */
    const void *state;                                  /* what was remembered, as the state's struct; NULL if nothing was */
    bool timed_out;                                     /* called because its timer is due; the timer is spent */
    bool first_part, last_part;                         /* of its rows in this epoch */
    bool rejected;                                      /* the SDK's, from here on */
    wm_text reason;
    uint8_t op;
    int64_t timer;
    wm_call *call;
} wm_key;

void wm_put(wm_key *key, const void *state);            /* remembers this from now on */
void wm_remove(wm_key *key);                            /* forgets the key: its state and its timer */
/* Has the key called even without rows, in the first epoch whose batch time is not before this. Only a key with state has a timer. */
void wm_set_timer(wm_key *key, int64_t batch_time);
void wm_timeout_after(wm_key *key, int64_t ms);         /* the same, so long after this epoch's batch time */
void wm_clear_timer(wm_key *key);
/* Turns all rows of the key away: nothing is emitted for it, its state and its timer stay. */
void wm_reject_key(wm_key *key, const char *reason, ...) WM_PRINTF(2, 3);
/* Turns one row of an input away. */
void wm_reject_row(wm_key *key, uint32_t input, uint32_t row, const char *reason, ...) WM_PRINTF(4, 5);

typedef struct {
    uint32_t from;                                      /* the version */
    wm_record old;                                      /* the columns of its states that are read */
    bool (*migrate)(const void *old, void *state);
} wm_migration;

typedef struct {
    WM_COMMON
    wm_record key;                                      /* the columns of the key that it reads; none if any will do */
    wm_record input;                                    /* the columns of the rows; none only counts them; or for several inputs */
    struct { const wm_record *records; uint32_t count; } inputs;
    wm_record state;                                    /* what is remembered of a key; none remembers nothing */
    wm_record output;
    wm_port_shapes ports;
    uint32_t version;                                   /* what the state means; 1 unless given */
    struct { const wm_migration *steps; uint32_t count; } migrations;
    bool whole_groups;                                  /* all rows of a key in one call */
    bool (*plan)(const void *state, wm_plan *plan);
    bool (*update)(wm_call *call, wm_key *key);
} wm_keyed;

#define WM_INPUTS(...) { (const wm_record[]){ __VA_ARGS__ }, WM_COUNT(wm_record, __VA_ARGS__) }
#define WM_MIGRATIONS(...) { (const wm_migration[]){ __VA_ARGS__ }, WM_COUNT(wm_migration, __VA_ARGS__) }

typedef enum { WM_AT_LEAST_ONCE, WM_MARKER, WM_TWO_PHASE } wm_delivery;

/* Only `write` is needed. It gets all columns of the input unless `input` names some, or `plan`. */
typedef struct {
    WM_COMMON
    wm_record input;
    wm_delivery delivery;
    bool (*plan)(const void *state, wm_plan *plan);
    bool (*begin)(wm_call *call, wm_text idempotency_key);
    bool (*write)(wm_call *call);
    bool (*prepare)(wm_call *call, wm_bytes *token);
    bool (*commit)(void *state, uint64_t epoch, const wm_bytes *tokens, size_t count);
    bool (*abort)(void *state, uint64_t epoch, const wm_bytes *tokens, size_t count);
    bool (*last_epoch)(void *state, uint32_t partition, bool *known, uint64_t *epoch);
} wm_sink;

#define WASMILL_TRANSFORM(...) const wm_transform wasmill_transform = { __VA_ARGS__ }; const wm_record *const wasmill_output = &wasmill_transform.output
#define WASMILL_REDUCER(...) const wm_reducer wasmill_reducer = { __VA_ARGS__ }
#define WASMILL_KEYED(...) const wm_keyed wasmill_keyed = { __VA_ARGS__ }; const wm_record *const wasmill_output = &wasmill_keyed.output
#define WASMILL_SINK(...) const wm_sink wasmill_sink = { __VA_ARGS__ }

#endif
