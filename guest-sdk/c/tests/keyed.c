/* Keyed plugins: state, timers, parts, several inputs, rejects, other versions. */
#include <wasmill/testing.h>

struct customer { wm_text customer; };
struct order { int64_t amount; wm_opt_text note; };
struct account { int64_t spent; wm_opt_text last; };

#define CUSTOMER WM_RECORD(struct customer, WM_FIELD(struct customer, customer))
#define ORDER WM_RECORD(struct order, WM_FIELD(struct order, amount), WM_FIELD(struct order, note))
#define ACCOUNT WM_RECORD(struct account, WM_FIELD(struct account, spent), WM_FIELD(struct account, last))

static bool update(wm_call *call, wm_key *key)
{
    const struct account *before = key->state;
    struct account account = before == NULL ? (struct account){ 0 } : *before;
    if (key->timed_out) {
        wm_emit_row(&call->ports[0], key->number, &account);
        wm_set_timer(key, 5); /* goes with the state */
        wm_remove(key);
        return true;
    }
    for (uint32_t row = key->rows[0].start; row < key->rows[0].end; row++) {
        struct order order;
        wm_read(&call->input, row, &order);
        if (order.amount == 0) wm_reject_row(key, 0, row, "the amount is 0");
        if (order.amount < 0) wm_reject_key(key, "the amount is %lld", (long long)order.amount);
        account.spent += order.amount;
        account.last = order.note;
    }
    wm_put(key, &(struct account){ -1 }); /* the last one counts */
    wm_put(key, &account);
    wm_timeout_after(key, 1000);
    if (key->last_part) wm_emit_row(&call->ports[0], key->number, &account);
    return true;
}

static bool carry(const void *state, wm_plan *plan)
{
    (void)state;
    wm_plan_carry(plan, true);
    return true;
}

static const wm_keyed accounts = { .key = CUSTOMER, .input = ORDER, .state = ACCOUNT, .output = ACCOUNT, .plan = carry, .update = update };

static const wm_keyed_test test = {
    .plugin = &accounts, .key = { "customer" },
    .inputs = { { { "amount", "int64?" }, { "note", "utf8?" }, { "customer", "utf8?" } } },
};

#define EPOCH(run, time, ...) wm_run_epoch(run, time, (wm_epoch_rows){ { { __VA_ARGS__ } } })

WM_TEST(a_key_is_remembered_until_its_time_is_over)
{
    wm_keyed_run *run = wm_start_keyed(test, NULL);
    wm_run *first = EPOCH(run, 0, "{'customer': 'bob', 'amount': 1}", "{'customer': 'ann', 'amount': 5, 'note': 'x'}", "{'customer': 'ann', 'amount': 2, 'note': 'y'}");
    WM_EXPECT_ROWS(first, "out", "{'customer':'ann','spent':7,'last':'y'}", "{'customer':'bob','spent':1,'last':null}");
    WM_EXPECT_TIMERS(run, "{'customer':'ann'} at 1000", "{'customer':'bob'} at 1000");
    EPOCH(run, 500, "{'customer': 'bob', 'amount': 1}");
    wm_run *second = EPOCH(run, 1000);
    WM_EXPECT_ROWS(second, "out", "{'customer':'ann','spent':7,'last':'y'}");
    WM_EXPECT_STATE(run, "{'customer':'bob','spent':2,'last':null}");
    WM_EXPECT_TIMERS(run, "{'customer':'bob'} at 1500");
}

WM_TEST(a_key_that_is_rejected_keeps_its_state_and_its_timer)
{
    wm_keyed_run *run = wm_start_keyed(test, NULL);
    EPOCH(run, 0, "{'customer': 'ann', 'amount': 5}");
    wm_run *epoch = EPOCH(run, 10, "{'customer': 'ann', 'amount': 1}", "{'customer': 'bob', 'amount': 3}", "{'customer': 'ann', 'amount': -4}");
    WM_EXPECT_ROWS(epoch, "out", "{'customer':'bob','spent':3,'last':null}");
    WM_EXPECT_REJECTED(epoch, 0, { 0, "the amount is -4" }, { 2, "the amount is -4" });
    WM_EXPECT_STATE(run, "{'customer':'ann','spent':5,'last':null}", "{'customer':'bob','spent':3,'last':null}");
    WM_EXPECT_TIMERS(run, "{'customer':'ann'} at 1000", "{'customer':'bob'} at 1010");
}

WM_TEST(single_rows_are_rejected)
{
    wm_keyed_run *run = wm_start_keyed(test, NULL);
    wm_run *epoch = EPOCH(run, 0, "{'customer': 'ann', 'amount': null}", "{'customer': 'ann', 'amount': 4}", "{'customer': 'ann', 'amount': 0}",
                          "{'customer': 'bob', 'amount': null}", "{'customer': null, 'amount': 1}");
    WM_EXPECT_ROWS(epoch, "out", "{'customer':'ann','spent':4,'last':null}", "{'customer':'bob','spent':0,'last':null}");
    WM_EXPECT_REJECTED(epoch, 0, { 0, "column `amount` is null" }, { 2, "the amount is 0" }, { 3, "column `amount` is null" }, { 4, "column `customer` is null" });
}

WM_TEST(a_key_in_parts_emits_in_the_last)
{
    wm_keyed_test parts = test;
    parts.part = 1;
    wm_keyed_run *run = wm_start_keyed(parts, NULL);
    wm_run *epoch = EPOCH(run, 0, "{'customer': 'ann', 'amount': 1}", "{'customer': 'ann', 'amount': 2}", "{'customer': 'bob', 'amount': 3}");
    WM_EXPECT_ROWS(epoch, "out", "{'customer':'bob','spent':3,'last':null}", "{'customer':'ann','spent':3,'last':null}");
}

/* ---- Several inputs, and a plugin that remembers nothing ---- */

static bool meet(wm_call *call, wm_key *key)
{
    for (uint32_t row = key->rows[1].start; row < key->rows[1].end; row++) {
        if (key->rows[0].start == key->rows[0].end) wm_reject_row(key, 1, row, "nobody saw it");
    }
    wm_push_int64(&call->ports[0].columns[0], key->rows[0].end - key->rows[0].start);
    wm_push_int64(&call->ports[0].columns[1], key->rows[1].end - key->rows[1].start);
    wm_emit(&call->ports[0], key->number);
    return true;
}

static const wm_keyed meets = {
    .inputs = WM_INPUTS(WM_COLUMNS({ "at", WM_TIMESTAMP }), { 0 }),
    .output = WM_COLUMNS({ "views", WM_INT64 }, { "clicks", WM_INT64 }),
    .whole_groups = true,
    .plan = carry,
    .update = meet,
};

static const wm_keyed_test two = {
    .plugin = &meets, .key = { "ad" }, .part = 1,
    .inputs = { { { "ad", "int64" }, { "at", "timestamp" } }, { { "ad", "int64" } } },
};

WM_TEST(keys_meet_in_several_inputs)
{
    wm_keyed_run *run = wm_start_keyed(two, NULL);
    wm_run *epoch = wm_run_epoch(run, 0, (wm_epoch_rows){ {
        { "{'ad': 1, 'at': '2026-01-01T00:00:00Z'}" },
        { "{'ad': 2}", "{'ad': 1}", "{'ad': 1}" },
    } });
    WM_EXPECT_ROWS(epoch, "out", "{'ad':1,'views':1,'clicks':2}", "{'ad':2,'views':0,'clicks':1}");
    WM_EXPECT_REJECTED(epoch, 0);
    WM_EXPECT_REJECTED(epoch, 1, { 0, "nobody saw it" });
}

WM_TEST(what_is_wrong_is_told_with_its_place)
{
    wm_keyed_test one = two;
    memset(one.inputs[1], 0, sizeof one.inputs[1]);
    WM_EXPECT(strcmp(wm_start_error(one, NULL), "the step has 1 inputs, and the plugin reads 2") == 0);
    wm_keyed_test typo = two;
    typo.inputs[0][1].name = "ad_at";
    WM_EXPECT(strcmp(wm_start_error(typo, NULL),
        "input 1: the plugin reads column `at` of type timestamp, which the input does not have; did you mean `ad`?") == 0);
    wm_keyed_test key = test;
    key.key[0] = "note";
    WM_EXPECT(strcmp(wm_start_error(key, NULL), "key: the plugin reads column `customer` of type utf8, which the input does not have; it has `note` utf8") == 0);
}

/* ---- Mistakes ---- */

static bool set_timer_alone(wm_call *call, wm_key *key)
{
    (void)call;
    wm_set_timer(key, 5);
    return true;
}

static const wm_keyed timers = { .state = ACCOUNT, .update = set_timer_alone };

WM_TEST(a_key_without_state_has_no_timer)
{
    wm_keyed_test alone = test;
    alone.plugin = &timers;
    WM_EXPECT_ERROR(EPOCH(wm_start_keyed(alone, NULL), 0, "{'customer': 'ann', 'amount': 1}"), "fatal",
                    "the plugin set a timer for a key of which nothing is remembered");
}

/* ---- Another version ---- */

struct total { double total; wm_text currency; };

static bool widen(const void *old, void *state)
{
    const struct account *account = old;
    if (account->spent > 100) return wm_fatal("%lld is too much", (long long)account->spent);
    *(struct total *)state = (struct total){ (double)account->spent, { "EUR", 3 } };
    return true;
}

static bool keep(wm_call *call, wm_key *key)
{
    (void)call, (void)key;
    return true;
}

static const wm_keyed totals = {
    .state = WM_RECORD(struct total, WM_FIELD(struct total, total), WM_FIELD(struct total, currency)),
    .version = 2, .migrations = WM_MIGRATIONS({ 1, ACCOUNT, widen }), .update = keep,
};
static const wm_keyed latest = {
    .state = WM_RECORD(struct total, WM_FIELD(struct total, total)), .version = 3, .migrations = WM_MIGRATIONS({ 2, ACCOUNT, widen }), .update = keep,
};

WM_TEST(states_of_an_older_version_are_taken_over)
{
    wm_keyed_test newer = test;
    wm_keyed_run *run = wm_start_keyed(test, NULL);
    EPOCH(run, 0, "{'customer': 'ann', 'amount': 7}");
    newer.plugin = &totals;
    wm_keyed_run *after = wm_start_keyed(newer, run);
    WM_EXPECT_STATE(after, "{'customer':'ann','total':7.0,'currency':'EUR'}");
    WM_EXPECT_TIMERS(after, "{'customer':'ann'} at 1000");
    newer.plugin = &latest;
    WM_EXPECT(strcmp(wm_start_error(newer, run), "the plugin cannot take over state of version 1") == 0);
    EPOCH(run, 0, "{'customer': 'ann', 'amount': 100}");
    newer.plugin = &totals;
    WM_EXPECT(strcmp(wm_start_error(newer, run), "107 is too much") == 0);
}
