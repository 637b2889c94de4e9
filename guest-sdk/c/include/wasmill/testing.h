/*
 * Runs a plugin natively: the same functions over the same buffers as in WebAssembly, with the host's part played by testing.c, which
 * has the program's main. What comes back is checked as the host checks it.
 *
 *     WM_TEST(words_know_their_line)
 *     {
 *         wm_run *run = wm_run_transform((wm_test){
 *             .schema = { { "line", "utf8" } },
 *             .rows = { "{'line': 'to be'}", "{'line': 'or'}" },
 *         });
 *         WM_EXPECT_ROWS(run, "out", "{'word':'to'}", "{'word':'be'}", "{'word':'or'}");
 *         WM_EXPECT_PARENTS(run, "out", 0, 0, 1);
 *     }
 *
 * JSON, given or expected, may be written with single quotes if it has no double ones. Each test runs in a process of its own.
 */
#ifndef WASMILL_TESTING_H
#define WASMILL_TESTING_H

#include <wasmill.h>

#define WM_MOST_COLUMNS 16
#define WM_MOST_ROWS 64
#define WM_MOST_INPUTS 4

/* A column by its name and type; "utf8?" allows nulls. */
typedef struct { const char *name, *type; } wm_test_column;

/* Rows for a plugin, as JSON objects under a schema. */
typedef struct {
    const char *config;                             /* JSON; nothing is an empty table */
    wm_test_column schema[WM_MOST_COLUMNS];
    const char *rows[WM_MOST_ROWS];
    uint32_t groups[WM_MOST_ROWS];                  /* a reducer: the rows of each group; nothing is one of all */
    const char *key;                                /* a sink: the idempotency key */
    uint32_t retries;                               /* a sink: how often the partition is given again after a retryable error */
    wm_context context;
    const void *plugin;                             /* the program's own, unless given */
} wm_test;

typedef struct { uint32_t row; const char *reason; } wm_test_reject;

/* What came out; of a function that failed the error alone. */
typedef struct wm_run wm_run;

/* Describes, opens, and processes all rows in one call. */
wm_run *wm_run_transform(wm_test test);
/* Reduces each group, and fails if a cut makes a difference or the inverse is none. */
wm_run *wm_run_reducer(wm_test test);
/* Writes all rows as one chunk of one partition, and prepares it. */
wm_run *wm_run_sink(wm_test test);
/* Give the token of a sink's run to a fresh instance, as after a crash. */
wm_run *wm_run_commit(const wm_run *sink, uint64_t epoch);
wm_run *wm_run_abort(const wm_run *sink, uint64_t epoch);

typedef struct {
    const char *config;
    const char *key[WM_MOST_COLUMNS];               /* the columns by which rows are grouped; every input has them */
    wm_test_column inputs[WM_MOST_INPUTS][WM_MOST_COLUMNS];
    uint32_t part;                                  /* keys of more rows of an input come in several calls; 0 for one call */
    const wm_keyed *plugin;                         /* the program's own, unless given */
} wm_keyed_test;

/* A keyed plugin at work, with the states and timers that the host would keep. */
typedef struct wm_keyed_run wm_keyed_run;
typedef struct { const char *rows[WM_MOST_INPUTS][WM_MOST_ROWS]; } wm_epoch_rows;

/* Opens it; fails the test if that fails. With what another version remembered, if `before` is given: it is migrated. */
wm_keyed_run *wm_start_keyed(wm_keyed_test test, const wm_keyed_run *before);
/* The error of `describe`, `open` or `migrate`; NULL if there is none. */
const char *wm_start_error(wm_keyed_test test, const wm_keyed_run *before);
/* Rows of each input, and the keys whose timers are due at the batch time. */
wm_run *wm_run_epoch(wm_keyed_run *run, int64_t batch_time, wm_epoch_rows rows);

/* A server on loopback, for sinks that send requests: it gives each of its answers to one request, and ends. An answer is "200 OK", or with
 * headers and a body "503 Busy\r\nRetry-After: 7\r\n\r\nbecause". */
typedef struct {
    char url[32];                                   /* "http://127.0.0.1:41234" */
    int process;                                    /* the server's, from here on */
    void *seen;
} wm_server;

#define WM_SERVE(...) wm_serve(WM_STRINGS(__VA_ARGS__))
wm_server *wm_serve(const char *const *answers);
/* Waits for its end. The requests as they came, from "POST / HTTP/1.0" to the end of the body, and a NULL. */
const char *const *wm_requests(wm_server *server);

/* ---- What is expected ---- */

#define WM_TEST(name) \
    static void name(void); \
    __attribute__((constructor)) static void name##_is_a_test(void) { wm_add_test(#name, name); } \
    static void name(void)

#define WM_HERE __FILE__, __LINE__
#define WM_STRINGS(...) (const char *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL }

#define WM_EXPECT(condition) wm_expect(WM_HERE, #condition, condition)
/* The rows of a port as the next step sees them: the carried columns, then what the plugin made. A reducer's port is "". */
#define WM_EXPECT_ROWS(run, port, ...) wm_expect_rows(WM_HERE, run, port, WM_STRINGS(__VA_ARGS__))
#define WM_EXPECT_PARENTS(run, port, ...) wm_expect_parents(WM_HERE, run, port, (const uint32_t[]){ __VA_ARGS__ }, WM_COUNT(uint32_t, __VA_ARGS__))
/* Of an input: pairs of row and reason. No pairs say that nothing was rejected. */
#define WM_EXPECT_REJECTED(run, input, ...) wm_expect_rejected(WM_HERE, run, input, (const wm_test_reject[]){ __VA_ARGS__ __VA_OPT__(,) { 0, NULL } })
#define WM_EXPECT_ERROR(run, kind, message) wm_expect_error(WM_HERE, run, kind, message)
/* When the failed function said that it may be called again; 0 if it said nothing. */
#define WM_EXPECT_AFTER(run, ms) wm_expect_after(WM_HERE, run, ms)
#define WM_EXPECT_TOKEN(run, token) wm_expect_token(WM_HERE, run, token)
/* Lines of the log since the test began. */
#define WM_EXPECT_LOG(...) wm_expect_log(WM_HERE, WM_STRINGS(__VA_ARGS__))
/* What is remembered, as JSON objects of the key's columns and the state's, in the order of the keys as JSON. */
#define WM_EXPECT_STATE(run, ...) wm_expect_state(WM_HERE, run, WM_STRINGS(__VA_ARGS__))
/* The timers that are set, as "key at time". */
#define WM_EXPECT_TIMERS(run, ...) wm_expect_timers(WM_HERE, run, WM_STRINGS(__VA_ARGS__))

void wm_add_test(const char *name, void (*test)(void));
void wm_expect(const char *file, int line, const char *what, bool holds);
void wm_expect_rows(const char *file, int line, const wm_run *run, const char *port, const char *const *rows);
void wm_expect_parents(const char *file, int line, const wm_run *run, const char *port, const uint32_t *parents, size_t count);
void wm_expect_rejected(const char *file, int line, const wm_run *run, uint32_t input, const wm_test_reject *rejects);
/* The kind is "retryable", "rejected" or "fatal"; the message is a whole one. */
void wm_expect_error(const char *file, int line, const wm_run *run, const char *kind, const char *message);
void wm_expect_after(const char *file, int line, const wm_run *run, uint32_t ms);
void wm_expect_token(const char *file, int line, const wm_run *run, const char *token);
void wm_expect_log(const char *file, int line, const char *const *lines);
void wm_expect_state(const char *file, int line, const wm_keyed_run *run, const char *const *states);
void wm_expect_timers(const char *file, int line, const wm_keyed_run *run, const char *const *timers);

#endif
