#include <wasmill/testing.h>

static const wm_test lines = { .schema = { { "line", "utf8" } } };

WM_TEST(every_type_is_parsed_exactly)
{
    wm_test test = lines;
    test.config = "{'schema': {'a': 'boolean', 'b': 'int64', 'c': 'float64', 'd': 'decimal(20,2)', 'e': 'date', 'f': 'timestamp',"
                  "            'g': 'utf8', 'h': 'binary', 'i': 'json'}}";
    test.rows[0] = "{\"line\": \"{\\\"a\\\":true,\\\"b\\\":9007199254740993,\\\"c\\\":0.5,\\\"d\\\":123456789012345678.90,\\\"e\\\":\\\"2024-02-29\\\","
                   "\\\"f\\\":\\\"2024-02-29T01:02:03Z\\\",\\\"g\\\":\\\"\\\\u00e9\\\",\\\"h\\\":\\\"00ff\\\",\\\"i\\\":{\\\"x\\\":[1.0]}}\"}";
    WM_EXPECT_ROWS(wm_run_transform(test), "out",
                   "{'a':true,'b':9007199254740993,'c':0.5,'d':123456789012345678.90,'e':'2024-02-29','f':'2024-02-29T01:02:03Z',"
                   "'g':'\u00e9','h':'00ff','i':{'x':[1.0]}}");
}

WM_TEST(bad_rows_are_rejected_and_the_others_go_on)
{
    wm_run *run = wm_run_transform((wm_test){
        .config = "{'schema': {'n': 'int64', 'note': 'utf8?'}}",
        .schema = { { "line", "utf8" } },
        .rows = {
            "{\"line\": \"{\\\"n\\\": 1, \\\"other\\\": [1, 2]}\"}",
            "{\"line\": \"{\\\"n\\\": 1\"}",
            "{\"line\": \"{\\\"n\\\": \\\"1\\\"}\"}",
            "{\"line\": \"{\\\"note\\\": \\\"x\\\"}\"}",
            "{\"line\": \"[1]\"}",
            "{\"line\": \"{\\\"n\\\": 2, \\\"note\\\": \\\"x\\\"}\"}",
        },
    });
    WM_EXPECT_ROWS(run, "out", "{'n':1,'note':null}", "{'n':2,'note':'x'}");
    WM_EXPECT_PARENTS(run, "out", 0, 5);
    WM_EXPECT_REJECTED(run, 0,
                       { 1, "not a JSON object: EOF while parsing a value" }, { 2, "`n`: \"1\" is not int64" }, { 3, "`n` is missing" },
                       { 4, "not a JSON object: invalid type: sequence, expected a map" });
}

WM_TEST(what_is_wrong_with_the_schema_is_told)
{
    wm_test test = lines;
    test.config = "{'schema': {'n': 'integer'}}";
    WM_EXPECT_ERROR(wm_run_transform(test), "fatal",
                    "`integer` is not a type; there are boolean, int64, float64, decimal(p,s), date, timestamp, utf8, binary and json");
    test.config = "{'schema': {'n': 1}}";
    WM_EXPECT_ERROR(wm_run_transform(test), "fatal", "the configuration is wrong: `schema`: invalid type: integer `1`, expected a string");
    test.config = "{}";
    WM_EXPECT_ERROR(wm_run_transform(test), "fatal", "the configuration is wrong: missing field `schema`");
}
