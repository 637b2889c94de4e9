/*
 * Counts the rows of each key since the beginning of the run.
 *
 *     [steps.totals]
 *     input = "words"
 *     plugin = "running-count"
 *     group_by = ["word"]
 *
 * It gives, for each key with rows in an epoch, a row of the key's columns and `n`, how many rows there were up to now.
 *
 * First lesson on keyed plugins: what is remembered of a key is a struct, and the function sees it as it was after the epoch before.
 * It reads neither the key nor a column of the rows, so any will do. A key with very many rows comes in several calls; the count is
 * emitted in the last.
 */
#include <wasmill.h>

struct count {
    int64_t n;
};

static bool carry(const void *state, wm_plan *plan)
{
    (void)state;
    wm_plan_carry(plan, true);
    return true;
}

static bool count(wm_call *call, wm_key *key)
{
    const struct count *before = key->state;
    struct count now = { (before == NULL ? 0 : before->n) + (key->rows[0].end - key->rows[0].start) };

    if (key->last_part) wm_emit_row(&call->ports[0], key->number, &now);
    wm_put(key, &now);
    return true;
}

WASMILL_KEYED(
    .state = WM_RECORD(struct count, WM_FIELD(struct count, n)),
    .output = WM_RECORD(struct count, WM_FIELD(struct count, n)),
    .plan = carry,
    .update = count,
);
