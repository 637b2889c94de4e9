/* Transforms: every type, nulls, rejects, ports, whole columns, configuration, errors. */
#include <wasmill/testing.h>

/* ---- Every type survives a struct ---- */

struct all {
    bool a;
    int64_t b;
    double c;
    wm_decimal d;
    wm_date e;
    wm_timestamp f;
    wm_text g;
    wm_bytes h;
    wm_json i;
    wm_opt_bool oa;
    wm_opt_int64 ob;
    wm_opt_decimal od;
    wm_opt_text og;
};

#define ALL WM_RECORD(struct all, \
    WM_FIELD(struct all, a), WM_FIELD(struct all, b), WM_FIELD(struct all, c), WM_FIELD(struct all, d, .precision = 38, .scale = 3), \
    WM_FIELD(struct all, e), WM_FIELD(struct all, f), WM_FIELD(struct all, g), WM_FIELD(struct all, h), WM_FIELD(struct all, i), \
    WM_FIELD(struct all, oa), WM_FIELD(struct all, ob), WM_FIELD(struct all, od, .precision = 5, .scale = 1), WM_FIELD(struct all, og))

static bool copy(wm_call *call)
{
    for (uint32_t row = 0; row < call->input.rows; row++) {
        struct all all;
        wm_read(&call->input, row, &all);
        wm_emit_row(&call->ports[0], row, &all);
    }
    return true;
}

static const wm_transform copies = { .input = ALL, .output = ALL, .process = copy };

WM_TEST(every_type_is_read_and_written)
{
    const char *row = "{'a':true,'b':-9223372036854775808,'c':27.0,'d':-99999999999999999999999999999999999.999,'e':'1600-02-29',"
                      "'f':'1969-12-31T23:59:59.999999Z','g':'\u00e9 \\\\ \\u0001','h':'00ff','i':{'x': [1.50]},'oa':false,'ob':7,'od':-0.5,'og':''}";
    const char *nulls = "{'a':false,'b':0,'c':1e-7,'d':0.000,'e':'1970-01-01','f':'2024-02-29T12:34:56.789Z','g':'','h':'','i':null,"
                        "'oa':null,'ob':null,'od':null,'og':null}";
    wm_run *run = wm_run_transform((wm_test){
        .plugin = &copies,
        .schema = { { "a", "boolean" }, { "b", "int64" }, { "c", "float64" }, { "d", "decimal(38,3)" }, { "e", "date" }, { "f", "timestamp" },
                    { "g", "utf8" }, { "h", "binary" }, { "i", "json" }, { "oa", "boolean?" }, { "ob", "int64?" }, { "od", "decimal(5,1)?" },
                    { "og", "utf8?" } },
        .rows = { row, nulls },
    });
    WM_EXPECT_ROWS(run, "out", row, nulls);
}

static const wm_transform prices = { .input = WM_COLUMNS({ "price", WM_DECIMAL, .precision = 10, .scale = 2 }), .process = copy };

WM_TEST(a_decimal_of_other_digits_is_another_type)
{
    wm_run *run = wm_run_transform((wm_test){ .plugin = &prices, .schema = { { "price", "decimal(11,2)" } } });
    WM_EXPECT_ERROR(run, "fatal", "column `price` is decimal(11,2), and the plugin reads it as decimal(10,2)");
}

/* ---- Whole columns ---- */

static bool add(wm_call *call)
{
    const int64_t *a = wm_int64(&call->input, 0), *b = wm_int64(&call->input, 1);
    int64_t *sum = wm_fill_int64(&call->ports[0], 0);
    for (uint32_t row = 0; row < call->input.rows; row++) sum[row] = a[row] + b[row];
    wm_emit_all(&call->ports[0]);
    return true;
}

static const wm_transform sums = {
    .input = WM_COLUMNS({ "a", WM_INT64 }, { "b", WM_INT64 }), .output = WM_COLUMNS({ "sum", WM_INT64 }), .process = add,
};

WM_TEST(a_whole_column_is_written_at_once)
{
    wm_run *run = wm_run_transform((wm_test){
        .plugin = &sums, .schema = { { "a", "int64" }, { "b", "int64" } },
        .rows = { "{'a': 1, 'b': 2}", "{'a': 40, 'b': 2}" },
    });
    WM_EXPECT_ROWS(run, "out", "{'sum':3}", "{'sum':42}");
    WM_EXPECT_PARENTS(run, "out", 0, 1);
}

WM_TEST(rows_with_nulls_are_left_out_of_whole_columns)
{
    wm_run *run = wm_run_transform((wm_test){
        .plugin = &sums, .schema = { { "a", "int64?" }, { "b", "int64?" } },
        .rows = { "{'a': 1, 'b': null}", "{'a': 40, 'b': 2}", "{'a': null, 'b': 2}", "{'a': 1, 'b': 1}" },
    });
    WM_EXPECT_ROWS(run, "out", "{'sum':42}", "{'sum':2}");
    WM_EXPECT_PARENTS(run, "out", 1, 3);
    WM_EXPECT_REJECTED(run, 0, { 0, "column `b` is null" }, { 2, "column `a` is null" });
}

/* ---- Several ports, rejects, a filter ---- */

static bool sort(wm_call *call)
{
    wm_port *numbers = &call->ports[0], *words = &call->ports[1];
    wm_texts lines = wm_utf8(&call->input, 0);
    for (uint32_t row = 0; row < call->input.rows; row++) {
        for (wm_words line = wm_split(wm_text_at(lines, row)); wm_next_word(&line);) {
            wm_json json = { line.word.data, line.word.length };
            int64_t number;
            wm_port *port = wm_json_int64(json, &number) ? numbers : words;
            if (port == numbers) wm_push_int64(&numbers->columns[0], number);
            else wm_push_text(&words->columns[0], line.word);
            wm_emit(port, row);
            if (line.word.data[0] == '!') {
                wm_reject(call, row, "row %u has `%.*s`", (unsigned)row, WM_ARG(line.word));
                break;
            }
        }
    }
    return true;
}

static const wm_transform sorts = {
    .input = WM_COLUMNS({ "line", WM_UTF8 }),
    .ports = WM_PORTS({ "numbers", WM_COLUMNS({ "number", WM_INT64 }) }, { "words", WM_COLUMNS({ "word", WM_UTF8 }) }),
    .process = sort,
};

WM_TEST(a_rejected_row_leaves_nothing_in_any_port)
{
    wm_run *run = wm_run_transform((wm_test){
        .plugin = &sorts, .schema = { { "line", "utf8" } },
        .rows = { "{'line': '1 a'}", "{'line': '2 b !c 3'}", "{'line': '4'}" },
    });
    WM_EXPECT_ROWS(run, "numbers", "{'number':1}", "{'number':4}");
    WM_EXPECT_ROWS(run, "words", "{'word':'a'}");
    WM_EXPECT_PARENTS(run, "numbers", 0, 2);
    WM_EXPECT_REJECTED(run, 0, { 1, "row 1 has `!c`" });
}

static bool keep_even(wm_call *call)
{
    for (uint32_t row = 0; row < call->input.rows; row++) if (wm_int64(&call->input, 0)[row] % 2 == 0) wm_emit(&call->ports[0], row);
    return true;
}

static bool carry(const void *state, wm_plan *plan)
{
    (void)state;
    wm_plan_carry(plan, true);
    return true;
}

static const wm_transform evens = { .input = WM_COLUMNS({ "n", WM_INT64 }), .plan = carry, .process = keep_even };

WM_TEST(a_filter_carries_rows_whole)
{
    wm_run *run = wm_run_transform((wm_test){
        .plugin = &evens, .schema = { { "n", "int64" }, { "note", "utf8?" } },
        .rows = { "{'n': 1, 'note': 'x'}", "{'n': 2, 'note': null}", "{'n': 4, 'note': 'y'}" },
    });
    WM_EXPECT_ROWS(run, "out", "{'n':2,'note':null}", "{'n':4,'note':'y'}");
}

/* ---- Nulls among texts and bits, in more rows than a builder begins with ---- */

static bool twice(wm_call *call)
{
    wm_texts texts = wm_utf8(&call->input, 0);
    wm_port *out = &call->ports[0];
    for (int copy = 0; copy < 100; copy++) {
        for (uint32_t row = 0; row < call->input.rows; row++) {
            bool null = wm_is_null(&call->input, 0, row);
            if (null) wm_push_null(&out->columns[0]);
            else wm_push_text(&out->columns[0], wm_text_at(texts, row));
            wm_push_boolean(&out->columns[1], null);
            if (copy == 99) wm_emit(out, row);
            else if (row == 0) wm_emit(out, 1);
            else wm_emit(out, 0);
            if (copy < 99 && row == 1) wm_reject(call, 0, "once more");
            if (copy < 99 && row == 0) wm_reject(call, 1, "and again");
        }
    }
    return true;
}

static const wm_transform repeats = {
    .input = WM_COLUMNS({ "text", WM_UTF8, .nullable = true }),
    .output = WM_COLUMNS({ "text", WM_UTF8, .nullable = true }, { "null", WM_BOOLEAN }),
    .process = twice,
};

WM_TEST(what_is_taken_back_leaves_no_bit_behind)
{
    wm_run *run = wm_run_transform((wm_test){
        .plugin = &repeats, .schema = { { "text", "utf8?" } },
        .rows = { "{'text': 'a text of more than sixteen bytes'}", "{'text': null}" },
    });
    WM_EXPECT_ROWS(run, "out", "{'text':'a text of more than sixteen bytes','null':false}", "{'text':null,'null':true}");
    WM_EXPECT_REJECTED(run, 0, { 0, "once more" }, { 1, "and again" });
}

/* ---- Configuration ---- */

struct config { int64_t limit; double share; wm_text mark; wm_duration pause; bool loud; wm_json rest; };

static bool check(const void *config_, void **state)
{
    const struct config *config = config_;
    (void)state;
    if (config->limit < 0) return wm_fatal("`limit` is %lld", (long long)config->limit);
    return true;
}

static bool tell(wm_call *call)
{
    const struct config *config = call->state;
    for (uint32_t row = 0; row < call->input.rows; row++) {
        wm_push_text(&call->ports[0].columns[0], wm_format("%lld %g %.*s %lld %d %.*s", (long long)config->limit, config->share,
            WM_ARG(config->mark), (long long)config->pause.ms, config->loud, WM_ARG(config->rest)));
        wm_emit(&call->ports[0], row);
    }
    return true;
}

static const wm_transform tells = {
    .config = WM_CONFIG(struct config, WM_SETTING(struct config, limit, .required = true), WM_SETTING(struct config, share),
                        WM_SETTING(struct config, mark), WM_SETTING(struct config, pause), WM_SETTING(struct config, loud),
                        WM_SETTING(struct config, rest)),
    .defaults = &(const struct config){ .share = 0.5, .mark = { "-", 1 }, .rest = { "null", 4 } },
    .open = check,
    .input = WM_COLUMNS({ "n", WM_INT64, .setting = "column" }),
    .output = WM_COLUMNS({ "text", WM_UTF8 }),
    .process = tell,
};

static wm_run *told(const char *config)
{
    return wm_run_transform((wm_test){ .plugin = &tells, .config = config, .schema = { { "n", "int64" } }, .rows = { "{'n': 1}" } });
}

WM_TEST(settings_are_read_into_the_struct)
{
    WM_EXPECT_ROWS(told("{'limit': 3}"), "out", "{'text':'3 0.5 - 0 0 null'}");
}

WM_TEST(settings_of_every_type)
{
    WM_EXPECT_ROWS(told("{'limit': 9, 'share': 2, 'mark': 'x\\ty', 'pause': '1h 30m', 'loud': true, 'rest': [1]}"), "out",
                   "{'text':'9 2 x\\ty 5400000 1 [1]'}");
}

#define WRONG(config, message) WM_EXPECT_ERROR(told(config), "fatal", message)

WM_TEST(what_is_wrong_with_a_setting_is_told)
{
    WRONG("{}", "the configuration is wrong: missing field `limit`");
    WRONG("{'limit': 1, 'laud': true}", "the configuration is wrong: there is no setting `laud`; did you mean `loud`?");
    WRONG("{'limit': 1, 'banana': true}",
          "the configuration is wrong: there is no setting `banana`; there are `limit`, `share`, `mark`, `pause`, `loud`, `rest`, `column`");
    WRONG("{'limit': '1'}", "the configuration is wrong: `limit`: invalid type: string \"1\", expected i64");
    WRONG("{'limit': 1.5}", "the configuration is wrong: `limit`: invalid type: floating point `1.5`, expected i64");
    WRONG("{'limit': 1, 'loud': null}", "the configuration is wrong: `loud`: invalid type: null, expected a boolean");
    WRONG("{'limit': 1, 'pause': '10'}", "the configuration is wrong: `pause`: `10` is not a duration as `30s`, `1h 30m` or `250ms`");
    WRONG("{'limit': -4}", "`limit` is -4");
    WRONG("[]", "the configuration must be a table");
    WRONG("{'limit': 1, 'column': 3}", "`column` must be the name of a column, as a text");
    WRONG("{'limit': 1, 'column': 'm'}", "`column` names column `m`, which the input does not have; did you mean `n`?");
}

/* ---- Errors ---- */

static bool refuse(wm_call *call)
{
    uint32_t row = 0;
    switch (wm_int64(&call->input, 0)[0]) {
    case 0: return wm_retryable(500, "try again");
    case 1: return wm_rejected(&row, 1, "row %d is at fault", 0);
    default: wm_push_int64(&call->ports[0].columns[0], 1); return true;
    }
}

static const wm_transform refuses = { .input = WM_COLUMNS({ "n", WM_INT64 }), .output = WM_COLUMNS({ "m", WM_INT64 }), .process = refuse };

WM_TEST(errors_of_the_whole_call)
{
    wm_test test = { .plugin = &refuses, .schema = { { "n", "int64" } }, .rows = { "{'n': 0}" } };
    WM_EXPECT_ERROR(wm_run_transform(test), "retryable", "try again");
    test.rows[0] = "{'n': 1}";
    WM_EXPECT_ERROR(wm_run_transform(test), "rejected", "row 0 is at fault");
    test.rows[0] = "{'n': 2}";
    WM_EXPECT_ERROR(wm_run_transform(test), "fatal", "the plugin emitted 0 rows to port `out` and wrote 1 values to its column `m`");
}
