#include <wasmill/testing.h>

WM_TEST(each_row_is_a_line_of_the_log)
{
    wm_run *run = wm_run_sink((wm_test){
        .schema = { { "word", "utf8?" }, { "n", "int64" }, { "share", "float64" }, { "day", "date" }, { "raw", "binary" } },
        .rows = {
            "{'word': 'to \\n be', 'n': 2, 'share': 0.5, 'day': '2024-02-29', 'raw': '00FF'}",
            "{'word': null, 'n': -1, 'share': 1e20, 'day': '1969-12-31', 'raw': ''}",
        },
    });
    WM_EXPECT_LOG("{'word':'to \\n be','n':2,'share':0.5,'day':'2024-02-29','raw':'00ff'}",
                  "{'word':null,'n':-1,'share':1e20,'day':'1969-12-31','raw':''}");
    WM_EXPECT_REJECTED(run, 0);
    WM_EXPECT_TOKEN(run, "");
}

WM_TEST(it_has_no_settings)
{
    wm_run *run = wm_run_sink((wm_test){ .config = "{'level': 'warn'}", .schema = { { "word", "utf8" } } });
    WM_EXPECT_ERROR(run, "fatal", "the configuration is wrong: there is no setting `level`; this plugin has none");
}
