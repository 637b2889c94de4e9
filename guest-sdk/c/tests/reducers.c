/* Reducers: several columns, an inverse, errors, and what the test itself finds. */
#include <wasmill/testing.h>

struct stats { int64_t total; double largest; wm_opt_text last; };
#define STATS WM_RECORD(struct stats, WM_FIELD(struct stats, total), WM_FIELD(struct stats, largest), WM_FIELD(struct stats, last))

static bool add(void *state, void *total_, const void *next_)
{
    struct stats *total = total_;
    const struct stats *next = next_;
    (void)state;
    if (__builtin_add_overflow(total->total, next->total, &total->total)) return wm_fatal("the total is too large");
    total->largest = total->largest > next->largest ? total->largest : next->largest;
    total->last = next->last;
    return true;
}

static const wm_reducer adds = { .row = STATS, .reduce = add };
static const wm_test stats = {
    .plugin = &adds, .schema = { { "last", "utf8?" }, { "total", "int64?" }, { "largest", "float64" } },
    .rows = { "{'total': 1, 'largest': 0.5, 'last': 'a'}", "{'total': 2, 'largest': 2.5}", "{'total': 3, 'largest': 1.0, 'last': ''}" },
};

WM_TEST(rows_are_reduced_column_by_column)
{
    wm_test test = stats;
    WM_EXPECT_ROWS(wm_run_reducer(test), "", "{'total':6,'largest':2.5,'last':''}");
    test.groups[0] = 2, test.groups[1] = 1;
    WM_EXPECT_ROWS(wm_run_reducer(test), "", "{'total':3,'largest':2.5,'last':null}", "{'total':3,'largest':1.0,'last':''}");
}

WM_TEST(a_null_fails_the_call)
{
    wm_test test = stats;
    test.rows[1] = "{'largest': 2.5}";
    WM_EXPECT_ERROR(wm_run_reducer(test), "rejected", "column `total` is null");
}

WM_TEST(an_error_fails_the_call)
{
    wm_test test = stats;
    test.rows[1] = "{'total': 9223372036854775807, 'largest': 0.0}";
    WM_EXPECT_ERROR(wm_run_reducer(test), "fatal", "the total is too large");
}

struct sum { double sum; };
#define SUM WM_RECORD(struct sum, WM_FIELD(struct sum, sum))

static bool plus(void *state, void *total, const void *next)
{
    (void)state;
    ((struct sum *)total)->sum += ((const struct sum *)next)->sum;
    return true;
}

static bool minus(void *state, void *total, const void *gone)
{
    (void)state;
    ((struct sum *)total)->sum -= ((const struct sum *)gone)->sum;
    return true;
}

static const wm_reducer sums = { .row = SUM, .reduce = plus, .inverse = minus };

WM_TEST(an_inverse_takes_the_oldest_part_out)
{
    wm_run *run = wm_run_reducer((wm_test){ .plugin = &sums, .schema = { { "sum", "float64" } }, .rows = { "{'sum': 0.1}", "{'sum': 0.2}", "{'sum': 1e6}" } });
    WM_EXPECT_ROWS(run, "", "{'sum':1000000.3}");
}
