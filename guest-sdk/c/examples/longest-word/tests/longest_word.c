#include <wasmill/testing.h>

WM_TEST(the_first_of_the_longest_words_is_kept)
{
    /* Of five bytes, four bytes, four bytes: what counts are characters. */
    wm_run *run = wm_run_reducer((wm_test){
        .schema = { { "word", "utf8" } },
        .rows = { "{'word': '\u00e9t\u00e9'}", "{'word': 'four'}", "{'word': 'be'}", "{'word': 'five'}", "{'word': 'or'}", "{'word': ''}" },
        .groups = { 4, 1, 1 },
    });
    WM_EXPECT_ROWS(run, "", "{'word':'four'}", "{'word':'or'}", "{'word':''}");
}

WM_TEST(the_result_has_the_column_of_the_input)
{
    wm_run *run = wm_run_reducer((wm_test){
        .config = "{'column': 'name'}",
        .schema = { { "word", "utf8" }, { "name", "utf8" } },
        .rows = { "{'word': 'long', 'name': 'a'}", "{'word': 'x', 'name': 'bc'}" },
    });
    WM_EXPECT_ROWS(run, "", "{'name':'bc'}");
}
