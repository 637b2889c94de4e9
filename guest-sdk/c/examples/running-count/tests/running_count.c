#include <wasmill/testing.h>

#define LINE { { "{'line': 1, 'word': 'to'}", "{'line': 1, 'word': 'be'}", "{'line': 1, 'word': 'to'}", "{'line': 1, 'word': null}" } }

static wm_keyed_run *start(uint32_t part)
{
    return wm_start_keyed((wm_keyed_test){ .key = { "word" }, .inputs = { { { "line", "int64" }, { "word", "utf8?" } } }, .part = part }, NULL);
}

WM_TEST(counts_go_on_from_epoch_to_epoch)
{
    wm_keyed_run *run = start(0);
    wm_run *first = wm_run_epoch(run, 0, (wm_epoch_rows){ LINE });
    WM_EXPECT_ROWS(first, "out", "{'word':'be','n':1}", "{'word':'to','n':2}", "{'word':null,'n':1}");
    wm_run *second = wm_run_epoch(run, 1, (wm_epoch_rows){ { { "{'line': 2, 'word': 'to'}" } } });
    WM_EXPECT_ROWS(second, "out", "{'word':'to','n':3}");
    WM_EXPECT_STATE(run, "{'word':'be','n':1}", "{'word':'to','n':3}", "{'word':null,'n':1}");
}

WM_TEST(a_key_in_several_parts_is_told_once)
{
    wm_run *epoch = wm_run_epoch(start(1), 0, (wm_epoch_rows){ LINE });
    WM_EXPECT_ROWS(epoch, "out", "{'word':'be','n':1}", "{'word':null,'n':1}", "{'word':'to','n':2}");
}
