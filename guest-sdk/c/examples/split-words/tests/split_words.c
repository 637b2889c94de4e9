#include <wasmill/testing.h>

WM_TEST(every_word_knows_its_line)
{
    wm_run *run = wm_run_transform((wm_test){
        .schema = { { "line", "utf8" } },
        .rows = { "{'line': 'to be or'}", "{'line': ''}", "{'line': '  not\\tto be '}" },
    });
    WM_EXPECT_ROWS(run, "out", "{'word':'to'}", "{'word':'be'}", "{'word':'or'}", "{'word':'not'}", "{'word':'to'}", "{'word':'be'}");
    WM_EXPECT_PARENTS(run, "out", 0, 0, 0, 2, 2, 2);
}

WM_TEST(words_keep_the_other_columns_when_asked)
{
    wm_run *run = wm_run_transform((wm_test){
        .config = "{'column': 'message', 'carry': true}",
        .schema = { { "id", "int64" }, { "message", "utf8?" } },
        .rows = { "{'id': 7, 'message': 'a b'}" },
    });
    WM_EXPECT_ROWS(run, "out", "{'id':7,'message':'a b','word':'a'}", "{'id':7,'message':'a b','word':'b'}");
}

WM_TEST(a_line_that_is_null_is_rejected)
{
    wm_run *run = wm_run_transform((wm_test){
        .schema = { { "line", "utf8?" } },
        .rows = { "{'line': null}", "{'line': 'a'}" },
    });
    WM_EXPECT_REJECTED(run, 0, { 0, "column `line` is null" });
    WM_EXPECT_PARENTS(run, "out", 1);
}

WM_TEST(a_column_that_is_not_there_is_named)
{
    wm_run *typo = wm_run_transform((wm_test){ .config = "{'column': 'mesage'}", .schema = { { "message", "utf8" } } });
    WM_EXPECT_ERROR(typo, "fatal", "`column` names column `mesage`, which the input does not have; did you mean `message`?");
    wm_run *no_text = wm_run_transform((wm_test){ .schema = { { "n", "int64" } } });
    WM_EXPECT_ERROR(no_text, "fatal", "the plugin reads a column of type utf8, and the input has none: `n` int64");
}
