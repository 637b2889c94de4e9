/* Sinks: the two phases, rejects, columns of their own, marker. */
#include <stdio.h>
#include <stdlib.h>

#include <wasmill/testing.h>

struct config { wm_text folder; bool only_id; };
struct state { wm_text folder; char *written; size_t length; bool only_id; };

static bool open(const void *config_, void **state_)
{
    const struct config *config = config_;
    struct state *state = *state_ = wm_keep(sizeof *state);
    state->folder = config->folder;
    state->only_id = config->only_id;
    return true;
}

static bool plan(const void *state_, wm_plan *plan)
{
    const struct state *state = state_;
    if (state->only_id) wm_plan_want(plan, "id");
    return true;
}

static bool begin(wm_call *call, wm_text key)
{
    struct state *state = call->state;
    wm_info("begin %.*s", WM_ARG(key));
    free(state->written);
    state->written = NULL;
    state->length = 0;
    return true;
}

static bool write(wm_call *call)
{
    struct state *state = call->state;
    for (uint32_t row = 0; row < call->input.rows; row++) {
        wm_text text = wm_row_json(&call->input, row);
        if (wm_int64(&call->input, 0)[row] < 0) {
            wm_reject(call, row, "the id is negative");
            continue;
        }
        state->written = realloc(state->written, state->length + text.length);
        memcpy(state->written + state->length, text.data, text.length);
        state->length += text.length;
    }
    return true;
}

static bool prepare(wm_call *call, wm_bytes *token)
{
    const struct state *state = call->state;
    wm_text text = wm_format("%.*s/%d:%.*s", WM_ARG(state->folder), (int)call->context.partition, (int)state->length, state->written);
    *token = (wm_bytes){ (const uint8_t *)text.data, text.length };
    return true;
}

static bool commit(void *state, uint64_t epoch, const wm_bytes *tokens, size_t count)
{
    (void)state;
    for (size_t at = 0; at < count; at++) wm_info("commit %d %.*s", (int)epoch, (int)tokens[at].length, (const char *)tokens[at].data);
    return true;
}

static bool abort_(void *state, uint64_t epoch, const wm_bytes *tokens, size_t count)
{
    (void)state, (void)tokens;
    return wm_retryable(0, "cannot abort %d tokens of epoch %d", (int)count, (int)epoch);
}

static const wm_sink sink = {
    .config = WM_CONFIG(struct config, WM_SETTING(struct config, folder, .required = true), WM_SETTING(struct config, only_id)),
    .delivery = WM_TWO_PHASE,
    .open = open, .plan = plan, .begin = begin, .write = write, .prepare = prepare, .commit = commit, .abort = abort_,
};

WM_TEST(a_token_is_all_that_commit_needs)
{
    wm_run *run = wm_run_sink((wm_test){
        .plugin = &sink, .config = "{'folder': 'f'}", .key = "k", .context = { .partition = 3 },
        .schema = { { "id", "int64" }, { "note", "utf8?" } },
        .rows = { "{'id': 1}", "{'id': -1}", "{'id': 2, 'note': 'x'}" },
    });
    WM_EXPECT_REJECTED(run, 0, { 1, "the id is negative" });
    WM_EXPECT_TOKEN(run, "f/3:{\"id\":1,\"note\":null}{\"id\":2,\"note\":\"x\"}");
    wm_run_commit(run, 7);
    WM_EXPECT_LOG("begin k", "commit 7 f/3:{\"id\":1,\"note\":null}{\"id\":2,\"note\":\"x\"}");
    WM_EXPECT_ERROR(wm_run_abort(run, 8), "retryable", "cannot abort 1 tokens of epoch 8");
}

WM_TEST(a_sink_may_want_some_columns)
{
    wm_test test = {
        .plugin = &sink, .config = "{'folder': 'f', 'only_id': true}", .schema = { { "note", "utf8?" }, { "id", "int64" } }, .rows = { "{'id': 1}" },
    };
    WM_EXPECT_TOKEN(wm_run_sink(test), "f/0:{\"id\":1}");
    test.schema[1].name = "ids";
    test.rows[0] = NULL;
    WM_EXPECT_ERROR(wm_run_sink(test), "fatal", "the input has no column `id`; did you mean `ids`?");
}
