/*
 * Splits lines into words: one row in, any number of rows out.
 *
 *     [steps.words]
 *     input = "lines"
 *     plugin = "split-words"
 *     config = { column = "message", carry = true }   # both may be left out
 *
 * It reads the column that `column` names, else `line`, else the first text column, and gives the column `word`. With `carry` each
 * word keeps the other columns of its line.
 *
 * First lesson: columns in, a column out, and a loop between them. A word points into its line, the line into the batch that the
 * host wrote: nothing is copied until wm_push_text writes the word to its column.
 */
#include <wasmill.h>

struct config {
    bool carry;
};

static bool plan(const void *state, wm_plan *plan)
{
    const struct config *config = state;
    wm_plan_carry(plan, config->carry);
    return true;
}

static bool split(wm_call *call)
{
    wm_texts lines = wm_utf8(&call->input, 0);
    wm_port *out = &call->ports[0];

    for (uint32_t row = 0; row < call->input.rows; row++) {
        for (wm_words words = wm_split(wm_text_at(lines, row)); wm_next_word(&words);) {
            wm_push_text(&out->columns[0], words.word);
            wm_emit(out, row);
        }
    }
    return true;
}

WASMILL_TRANSFORM(
    .config = WM_CONFIG(struct config, WM_SETTING(struct config, carry)),
    .input = WM_COLUMNS({ "line", WM_UTF8, .setting = "column", .or_first = true }),
    .output = WM_COLUMNS({ "word", WM_UTF8 }),
    .plan = plan,
    .process = split,
);
