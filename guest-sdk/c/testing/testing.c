/* The host's part in a native test. */
#include <wasmill/testing.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/sdk.h"

/* The plugins of the program; a program has one of them, or none. */
extern const wm_transform wasmill_transform __attribute__((weak));
extern const wm_reducer wasmill_reducer __attribute__((weak));
extern const wm_keyed wasmill_keyed __attribute__((weak));
extern const wm_sink wasmill_sink __attribute__((weak));

/* ---- Running tests ---- */

static struct test { const char *name; void (*run)(void); struct test *next; } *tests, **last_test = &tests;

void wm_add_test(const char *name, void (*run)(void))
{
    struct test *test = malloc(sizeof *test);
    *test = (struct test){ name, run, NULL };
    *last_test = test;
    last_test = &test->next;
}

int main(void)
{
    int failed = 0, all = 0;
    for (const struct test *test = tests; test != NULL; test = test->next, all++) {
        int status;
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            test->run();
            fflush(NULL);
            _exit(0);
        }
        waitpid(child, &status, 0);
        bool ok = status == 0;
        printf("%s %s\n", ok ? "ok    " : "FAILED", test->name);
        failed += !ok;
    }
    printf("%d of %d tests passed\n", all - failed, all);
    return failed > 0 || all == 0;
}

_Noreturn static void fail(const char *file, int line, const char *message, ...) WM_PRINTF(3, 4);
static void fail(const char *file, int line, const char *message, ...)
{
    va_list arguments;
    va_start(arguments, message);
    if (file != NULL) fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, message, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    fflush(NULL);
    _exit(1);
}

#define BROKEN(...) fail(NULL, 0, "the plugin broke the contract: " __VA_ARGS__)

/* ---- Lists of strings that outlive the calls; a test's process ends soon ---- */

typedef struct { char **items; size_t count; } strings;

static char *kept(wm_text text)
{
    char *copy = malloc(text.length + 1);
    if (text.length > 0) memcpy(copy, text.data, text.length);
    copy[text.length] = 0;
    return copy;
}

static void add(strings *list, char *item)
{
    list->items = realloc(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = item;
}

static strings log_lines;

void wm_host_log(wm_level level, const char *message, size_t length)
{
    static const char *const names[] = { "trace", "debug", "info", "warn", "error" };
    add(&log_lines, kept((wm_text){ message, length }));
    fprintf(stderr, "%s: %.*s\n", names[level], (int)length, message);
}

/* With double quotes, if it has none. */
static char *quoted(const char *json)
{
    char *copy = kept(wm_text_of(json));
    if (strchr(copy, '"') == NULL) {
        for (char *at = copy; *at != 0; at++) if (*at == '\'') *at = '"';
    }
    return copy;
}

static wm_text config_of(const char *config)
{
    return wm_text_of(config == NULL ? "{}" : quoted(config));
}

/* ---- Rows in ---- */

typedef struct { wm_field *fields; uint32_t width; } table;

static table table_of(const wm_test_column *columns)
{
    table table = { calloc(WM_MOST_COLUMNS, sizeof *table.fields), 0 };
    for (; table.width < WM_MOST_COLUMNS && columns[table.width].name != NULL; table.width++) {
        wm_field *field = &table.fields[table.width];
        wm_text type = wm_text_of(columns[table.width].type);
        field->name = wm_text_of(columns[table.width].name);
        field->nullable = type.length > 0 && type.data[type.length - 1] == '?';
        type.length -= field->nullable;
        if (!wm_field_type(field, type)) fail(NULL, 0, "the test: %.*s", WM_ARG(wm_last_error.message));
    }
    return table;
}

static wm_wire_schema wire(table table)
{
    wm_wire_field *fields = wm_take(table.width * sizeof *fields);
    for (uint32_t at = 0; at < table.width; at++) {
        fields[at] = (wm_wire_field){ table.fields[at].name, wm_field_type_name(&table.fields[at]), table.fields[at].nullable };
    }
    return (wm_wire_schema){ fields, table.width };
}

static uint32_t position(table table, wm_text name)
{
    for (uint32_t at = 0; at < table.width; at++) if (wm_text_equal(table.fields[at].name, name)) return at;
    BROKEN("it asks for column `%.*s`, which the input does not have", WM_ARG(name));
}

static table picked(table from, const wm_text *names, uint32_t count)
{
    table table = { calloc(count + 1, sizeof *table.fields), count };
    for (uint32_t at = 0; at < count; at++) table.fields[at] = from.fields[position(from, names[at])];
    return table;
}

/* The columns of JSON rows; a member that is missing is null. */
static const wm_buffers *buffers_of(table table, char *const *rows, size_t count)
{
    wm_builder *columns = wm_take(table.width * sizeof *columns);
    for (uint32_t at = 0; at < table.width; at++) columns[at] = wm_builder_of(table.fields[at], 0, 0);
    for (size_t row = 0; row < count; row++) {
        wm_members members;
        wm_text why;
        if (!wm_json_members(wm_text_of(rows[row]), &members, &why)) fail(NULL, 0, "the test: %s: %.*s", rows[row], WM_ARG(why));
        for (uint32_t at = 0; at < table.width; at++) {
            const wm_member *member = wm_json_member(members, table.fields[at].name);
            wm_json value = member == NULL ? (wm_json){ "null", 4 } : member->value;
            if (!wm_push_from_json(&columns[at], value, &why)) {
                fail(NULL, 0, "the test: %s: `%.*s`: %.*s", rows[row], WM_ARG(table.fields[at].name), WM_ARG(why));
            }
        }
    }
    return wm_finish_all(columns, table.width);
}

static strings rows_of(const char *const *rows)
{
    strings list = { 0 };
    for (size_t at = 0; at < WM_MOST_ROWS && rows[at] != NULL; at++) add(&list, quoted(rows[at]));
    return list;
}

/* ---- Rows out, checked as the host checks them ---- */

static bool is_utf8(wm_bytes bytes)
{
    for (size_t at = 0; at < bytes.length;) {
        uint8_t lead = bytes.data[at];
        int more = lead < 0x80 ? 0 : lead >= 0xc2 && lead < 0xe0 ? 1 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xf0 && lead < 0xf5 ? 3 : -1;
        if (more < 0 || bytes.length - at <= (size_t)more) return false;
        for (int byte = 1; byte <= more; byte++) if ((bytes.data[at + (size_t)byte] & 0xc0) != 0x80) return false;
        if (lead == 0xe0 && bytes.data[at + 1] < 0xa0) return false;
        if (lead == 0xed && bytes.data[at + 1] >= 0xa0) return false;
        if (lead == 0xf0 && bytes.data[at + 1] < 0x90) return false;
        if (lead == 0xf4 && bytes.data[at + 1] >= 0x90) return false;
        at += 1 + (size_t)more;
    }
    return true;
}

static void check_texts(const wm_field *field, const wm_buffers *buffers, uint32_t rows)
{
    const uint32_t *offsets = (const uint32_t *)(const void *)buffers->offsets.data;
    if (rows == 0 && buffers->offsets.length == 0 && buffers->data.length == 0) return;
    if (buffers->offsets.length != (rows + (size_t)1) * 4) BROKEN("`%.*s` has %zu bytes of offsets for %u rows", WM_ARG(field->name), buffers->offsets.length, (unsigned)rows);
    if (offsets[0] != 0 || offsets[rows] != buffers->data.length) BROKEN("the offsets of `%.*s` do not span its data", WM_ARG(field->name));
    for (uint32_t row = 0; row < rows; row++) {
        if (offsets[row] > offsets[row + 1]) BROKEN("the offsets of `%.*s` go backwards", WM_ARG(field->name));
        wm_bytes value = { buffers->data.data + offsets[row], offsets[row + 1] - offsets[row] };
        if (field->type != WM_BINARY && !is_utf8(value)) BROKEN("`%.*s` is not UTF-8 at row %u", WM_ARG(field->name), (unsigned)row);
    }
}

static void check_column(const wm_field *field, const wm_buffers *buffers, uint32_t rows)
{
    size_t bits = (rows + (size_t)7) / 8, width = wm_width(field->type);
    wm_batch batch = { .rows = rows, .width = 1, .fields = field, .columns = buffers };
    if (buffers->validity.length != 0 && buffers->validity.length != bits) BROKEN("`%.*s` has %zu bytes of validity for %u rows", WM_ARG(field->name), buffers->validity.length, (unsigned)rows);
    for (uint32_t row = 0; row < rows; row++) {
        if (!field->nullable && wm_is_null(&batch, 0, row)) BROKEN("`%.*s` has a null at row %u and declares none", WM_ARG(field->name), (unsigned)row);
    }
    if (wm_varies(field->type)) {
        check_texts(field, buffers, rows);
        return;
    }
    if (buffers->offsets.length != 0) BROKEN("`%.*s` is of fixed width and has offsets", WM_ARG(field->name));
    if (buffers->data.length != (field->type == WM_BOOLEAN ? bits : rows * width)) BROKEN("`%.*s` has %zu bytes for %u rows", WM_ARG(field->name), buffers->data.length, (unsigned)rows);
    for (uint32_t row = 0; field->type == WM_DECIMAL && row < rows; row++) {
        wm_text digits = wm_decimal_text(((const wm_decimal *)(const void *)buffers->data.data)[row], 0);
        if (!wm_is_null(&batch, 0, row) && digits.length - (digits.data[0] == '-') > field->precision) BROKEN("`%.*s` has more than %d digits at row %u", WM_ARG(field->name), field->precision, (unsigned)row);
    }
}

/* A row's members without the braces. */
static wm_text members_of(const wm_batch *batch, uint32_t row)
{
    wm_text object = wm_row_json(batch, row);
    return (wm_text){ object.data + 1, object.length - 2 };
}

static strings json_of(table table, const wm_buffers *buffers, uint32_t rows)
{
    strings list = { 0 };
    wm_batch batch = { .rows = rows, .width = table.width, .fields = table.fields, .columns = buffers };
    for (uint32_t at = 0; at < table.width; at++) check_column(&table.fields[at], &buffers[at], rows);
    for (uint32_t row = 0; row < rows; row++) add(&list, kept(wm_row_json(&batch, row)));
    return list;
}

struct port_rows { wm_text name; strings rows; uint32_t *parents; };
struct rejected { uint32_t row; char *reason; };

struct wm_run {
    wm_error error;                     /* with a message: nothing else */
    struct port_rows ports[WM_MOST_COLUMNS];
    uint32_t port_count;
    struct { struct rejected *rows; size_t count; } rejected[WM_MOST_INPUTS];
    wm_bytes token;
    wm_test test;                       /* of a sink */
    table planned;
};

static const wm_error *error_now(wm_error *error)
{
    *error = wm_last_error;
    error->message = wm_text_of(kept(wm_last_error.message));
    wm_call_ends();
    return error;
}

static wm_run *failed(wm_run *run)
{
    error_now(&run->error);
    return run;
}

static void take_rejects(wm_run *run, uint32_t input, const wm_rejects *rejects, const uint32_t *numbers, uint32_t rows)
{
    wm_field reason = { .name = wm_text_of("reason"), .type = WM_UTF8 };
    wm_batch reasons = { .rows = rejects->count, .width = 1, .fields = &reason, .columns = &rejects->reasons };
    check_column(&reason, &rejects->reasons, rejects->count);
    for (uint32_t at = 0; at < rejects->count; at++) {
        if (rejects->rows[at] >= rows) BROKEN("it rejects row %u of %u", (unsigned)rejects->rows[at], (unsigned)rows);
        if (at > 0 && rejects->rows[at] <= rejects->rows[at - 1]) BROKEN("rejected rows are not in ascending order");
        size_t count = run->rejected[input].count++;
        run->rejected[input].rows = realloc(run->rejected[input].rows, (count + 1) * sizeof(struct rejected));
        run->rejected[input].rows[count] = (struct rejected){
            numbers == NULL ? rejects->rows[at] : numbers[rejects->rows[at]], kept(wm_text_at(wm_utf8(&reasons, 0), at)),
        };
    }
}

/* A row of a port as the next step sees it. */
static char *seen_row(const wm_batch *parents, uint32_t parent, bool carry, const wm_batch *made, uint32_t row)
{
    wm_text text = { 0 };
    for (uint32_t at = 0; carry && at < parents->width; at++) {
        bool replaced = false;
        for (uint32_t column = 0; column < made->width; column++) replaced |= wm_text_equal(made->fields[column].name, parents->fields[at].name);
        if (replaced) continue;
        wm_batch one = { .rows = parents->rows, .width = 1, .fields = &parents->fields[at], .columns = &parents->columns[at] };
        wm_text member = members_of(&one, parent);
        text = wm_format("%.*s%s%.*s", WM_ARG(text), text.length > 0 ? "," : "", WM_ARG(member));
    }
    wm_text members = members_of(made, row);
    return kept(wm_format("{%.*s%s%.*s}", WM_ARG(text), text.length > 0 && members.length > 0 ? "," : "", WM_ARG(members)));
}

static void take_outputs(wm_run *run, const wm_plan *plan, const wm_produced *produced, const wm_batch *parents)
{
    run->port_count = plan->port_count;
    for (uint32_t at = 0; at < plan->port_count; at++) run->ports[at].name = wm_text_of(kept(plan->ports[at].name));
    for (uint32_t at = 0; at < produced->output_count; at++) {
        const wm_output *output = &produced->outputs[at];
        const wm_plan_port *port = &plan->ports[output->port];
        struct port_rows *to = &run->ports[output->port];
        wm_batch made = { .rows = output->rows, .width = port->count, .fields = port->columns, .columns = output->columns };
        for (uint32_t column = 0; column < port->count; column++) check_column(&port->columns[column], &output->columns[column], output->rows);
        if (output->origin == WM_ORIGIN_SAME && output->rows != parents->rows) BROKEN("%u rows of the same origin as %u", (unsigned)output->rows, (unsigned)parents->rows);
        to->parents = realloc(to->parents, (to->rows.count + output->rows) * sizeof *to->parents);
        for (uint32_t row = 0; row < output->rows; row++) {
            uint32_t parent = output->origin == WM_ORIGIN_SAME ? row : output->parents[row];
            if (parent >= parents->rows) BROKEN("a parent is row %u of %u", (unsigned)parent, (unsigned)parents->rows);
            to->parents[to->rows.count] = parent;
            add(&to->rows, seen_row(parents, parent, port->carry, &made, row));
        }
    }
}

/* ---- Transforms ---- */

static const void *plugin_of(const void *given, const void *own)
{
    if (given == NULL && own == NULL) fail(NULL, 0, "the program has no plugin of this kind");
    return given == NULL ? own : given;
}

wm_run *wm_run_transform(wm_test test)
{
    const wm_transform *plugin = plugin_of(test.plugin, &wasmill_transform);
    wm_run *run = calloc(1, sizeof *run);
    table input = table_of(test.schema);
    strings rows = rows_of(test.rows);
    wm_plan plan;
    wm_instance *instance;
    wm_produced produced = { 0 };
    if (!wm_transform_describe(plugin, config_of(test.config), wire(input), &plan)) return failed(run);
    table planned = picked(input, plan.inputs->names, plan.inputs->count);
    if (!wm_transform_open(plugin, config_of(test.config), wire(planned), &instance)) return failed(run);
    wm_call_ends();
    wm_batch parents = { .rows = (uint32_t)rows.count, .width = input.width, .fields = input.fields, .columns = buffers_of(input, rows.items, rows.count) };
    const wm_buffers *columns = buffers_of(planned, rows.items, rows.count);
    if (!wm_transform_process(instance, &test.context, parents.rows, columns, &produced)) return failed(run);
    take_outputs(run, &instance->plan, &produced, &parents);
    take_rejects(run, 0, produced.rejected, NULL, parents.rows);
    wm_call_ends();
    wm_close(instance);
    return run;
}

/* ---- Reducers ---- */

struct reducing { const wm_reducer *plugin; wm_instance *instance; table table; };

/* False, after an error. */
static bool reduce(const struct reducing *reducing, char *const *rows, const uint32_t *lengths, uint32_t groups, strings *result)
{
    uint32_t *ends = wm_take(groups * sizeof *ends), end = 0;
    for (uint32_t at = 0; at < groups; at++) ends[at] = end += lengths[at];
    const wm_buffers *columns;
    wm_bytes bytes = { (const uint8_t *)ends, groups * sizeof *ends };
    if (!wm_reducer_reduce(reducing->instance, bytes, buffers_of(reducing->table, rows, end), &columns)) return false;
    *result = json_of(reducing->table, columns, groups);
    wm_call_ends();
    return true;
}

/* The same but for the last digits of a float, in which sums depend on their order. */
static bool nearly_same(const char *a, const char *b)
{
    wm_members left, right;
    wm_text why;
    if (strcmp(a, b) == 0) return true;
    if (!wm_json_members(wm_text_of(a), &left, &why) || !wm_json_members(wm_text_of(b), &right, &why)) return false;
    for (size_t at = 0; at < left.count; at++) {
        wm_json one = left.members[at].value, other = right.members[at].value;
        double x, y;
        if (wm_text_equal((wm_text){ one.data, one.length }, (wm_text){ other.data, other.length })) continue;
        if (memchr(one.data, '.', one.length) == NULL || !wm_json_float64(one, &x) || !wm_json_float64(other, &y)) return false;
        double most = 1, difference = x > y ? x - y : y - x;
        most = x > most ? x : -x > most ? -x : most;
        if (difference > 1e-9 * most) return false;
    }
    return true;
}

static bool check_group(const struct reducing *reducing, char *const *rows, uint32_t count, const char *total)
{
    for (uint32_t cut = 1; cut < count; cut++) {
        strings parts, again;
        uint32_t lengths[] = { cut, count - cut }, two = 2;
        if (!reduce(reducing, rows, lengths, 2, &parts) || !reduce(reducing, parts.items, &two, 1, &again)) return false;
        if (!nearly_same(again.items[0], total)) {
            BROKEN("reduced in parts of %u and %u rows, and the parts again, %s comes out instead of %s", (unsigned)cut, (unsigned)(count - cut), again.items[0], total);
        }
        if (reducing->plugin->inverse == NULL) continue;
        const wm_buffers *left;
        char *all[] = { (char *)total };
        if (!wm_reducer_inverse(reducing->instance, 1, buffers_of(reducing->table, all, 1), buffers_of(reducing->table, parts.items, 1), &left)) return false;
        strings rest = json_of(reducing->table, left, 1);
        wm_call_ends();
        if (!nearly_same(rest.items[0], parts.items[1])) {
            BROKEN("%s without its first %u rows, %s, is %s instead of %s", total, (unsigned)cut, parts.items[0], rest.items[0], parts.items[1]);
        }
    }
    return true;
}

wm_run *wm_run_reducer(wm_test test)
{
    const wm_reducer *plugin = plugin_of(test.plugin, &wasmill_reducer);
    wm_run *run = calloc(1, sizeof *run);
    table input = table_of(test.schema);
    strings rows = rows_of(test.rows);
    wm_plan plan;
    struct reducing reducing = { .plugin = plugin };
    if (!wm_reducer_describe(plugin, config_of(test.config), wire(input), &plan)) return failed(run);
    reducing.table = picked(input, plan.inputs->names, plan.inputs->count);
    if (!wm_reducer_open(plugin, config_of(test.config), wire(reducing.table), &reducing.instance)) return failed(run);
    wm_call_ends();
    uint32_t groups = 0, sum = 0;
    if (test.groups[0] == 0) test.groups[0] = (uint32_t)rows.count;
    for (; groups < WM_MOST_ROWS && test.groups[groups] != 0; groups++) sum += test.groups[groups];
    if (sum != rows.count) fail(NULL, 0, "the test: groups of %u rows, and %zu rows", (unsigned)sum, rows.count);
    run->port_count = 1;
    run->ports[0].name = wm_text_of("");
    if (!reduce(&reducing, rows.items, test.groups, groups, &run->ports[0].rows)) return failed(run);
    char *const *group = rows.items;
    for (uint32_t at = 0; at < groups; group += test.groups[at++]) {
        if (!check_group(&reducing, group, test.groups[at], run->ports[0].rows.items[at])) return failed(run);
    }
    wm_close(reducing.instance);
    return run;
}

/* ---- Sinks ---- */

static bool write_partition(const wm_run *run, wm_instance *instance, const strings *rows, wm_rejects *rejects)
{
    const wm_test *test = &run->test;
    if (!wm_sink_begin(instance, &test->context, wm_text_of(test->key == NULL ? "test-0-0" : test->key))) return false;
    wm_call_ends();
    const wm_buffers *columns = buffers_of(run->planned, rows->items, rows->count);
    return wm_sink_write(instance, &test->context, (uint32_t)rows->count, columns, rejects);
}

wm_run *wm_run_sink(wm_test test)
{
    const wm_sink *plugin = plugin_of(test.plugin, &wasmill_sink);
    wm_run *run = calloc(1, sizeof *run);
    table input = table_of(test.schema);
    strings rows = rows_of(test.rows);
    wm_plan plan;
    wm_instance *instance;
    wm_rejects rejects;
    if (!wm_sink_describe(plugin, config_of(test.config), wire(input), &plan)) return failed(run);
    run->test = test;
    run->planned = picked(input, plan.inputs->names, plan.inputs->count);
    if (!wm_sink_open(plugin, config_of(test.config), wire(run->planned), &instance)) return failed(run);
    wm_call_ends();
    while (!write_partition(run, instance, &rows, &rejects)) {
        if (wm_last_error.kind != WM_ERROR_RETRYABLE || test.retries-- == 0) return failed(run);
        wm_call_ends();
    }
    take_rejects(run, 0, &rejects, NULL, (uint32_t)rows.count);
    wm_call_ends();
    if (!wm_sink_prepare(instance, &test.context, &run->token)) return failed(run);
    run->token.data = (const uint8_t *)kept((wm_text){ (const char *)run->token.data, run->token.length });
    wm_call_ends();
    wm_close(instance);
    return run;
}

static wm_run *with_token(const wm_run *sink, uint64_t epoch, bool (*call)(wm_instance *, uint64_t, const wm_bytes *, size_t))
{
    const wm_sink *plugin = plugin_of(sink->test.plugin, &wasmill_sink);
    wm_run *run = calloc(1, sizeof *run);
    wm_instance *instance;
    if (!wm_sink_open(plugin, config_of(sink->test.config), wire(sink->planned), &instance)) return failed(run);
    wm_call_ends();
    if (!call(instance, epoch, &sink->token, 1)) return failed(run);
    wm_call_ends();
    wm_close(instance);
    return run;
}

wm_run *wm_run_commit(const wm_run *sink, uint64_t epoch)
{
    return with_token(sink, epoch, wm_sink_commit);
}

wm_run *wm_run_abort(const wm_run *sink, uint64_t epoch)
{
    return with_token(sink, epoch, wm_sink_abort);
}

/* ---- Keyed plugins ---- */

struct known { char *key, *state; int64_t timer; bool has_timer; };

struct wm_keyed_run {
    const wm_keyed *plugin;
    wm_instance *instance;
    table keys, state, inputs[WM_MOST_INPUTS], planned[WM_MOST_INPUTS];
    uint32_t input_count, part;
    uint64_t epochs;
    struct known *known;                /* in the order of the keys */
    size_t known_count;
    uint32_t version;
};

static int by_key(const void *left, const void *right)
{
    return strcmp(((const struct known *)left)->key, ((const struct known *)right)->key);
}

static struct known *find(const wm_keyed_run *run, const char *key)
{
    return run->known_count == 0 ? NULL : bsearch(&(struct known){ .key = (char *)key }, run->known, run->known_count, sizeof *run->known, by_key);
}

static bool migrate(wm_keyed_run *run, const wm_keyed_run *before)
{
    run->known = calloc(before->known_count + 1, sizeof *run->known);
    run->known_count = before->known_count;
    strings states = { 0 };
    for (size_t at = 0; at < before->known_count; at++) {
        run->known[at] = before->known[at];
        add(&states, run->known[at].state);
    }
    bool same = run->version == before->version && run->state.width == before->state.width;
    for (uint32_t at = 0; same && at < run->state.width; at++) {
        const wm_field *a = &run->state.fields[at], *b = &before->state.fields[at];
        same = wm_text_equal(a->name, b->name) && a->type == b->type && a->nullable == b->nullable;
    }
    if (same) return true;
    const wm_buffers *columns;
    const wm_buffers *old = buffers_of(before->state, states.items, states.count);
    if (!wm_keyed_migrate(run->plugin, before->version, wire(before->state), (uint32_t)states.count, old, &columns)) return false;
    states = json_of(run->state, columns, (uint32_t)states.count);
    for (size_t at = 0; at < run->known_count; at++) run->known[at].state = states.items[at];
    wm_call_ends();
    return true;
}

static bool start(wm_keyed_test test, const wm_keyed_run *before, wm_keyed_run *run)
{
    wm_plan plan;
    wm_text names[WM_MOST_COLUMNS];
    uint32_t count = 0;
    run->plugin = plugin_of(test.plugin, &wasmill_keyed);
    run->part = test.part == 0 ? UINT32_MAX : test.part;
    if (run->plugin->whole_groups) run->part = UINT32_MAX;
    while (run->input_count < WM_MOST_INPUTS && test.inputs[run->input_count][0].name != NULL) {
        run->inputs[run->input_count] = table_of(test.inputs[run->input_count]);
        run->input_count++;
    }
    for (; count < WM_MOST_COLUMNS && test.key[count] != NULL; count++) names[count] = wm_text_of(test.key[count]);
    run->keys = picked(run->inputs[0], names, count);
    wm_wire_schema schemas[WM_MOST_INPUTS];
    for (uint32_t at = 0; at < run->input_count; at++) schemas[at] = wire(run->inputs[at]);
    if (!wm_keyed_describe(run->plugin, config_of(test.config), wire(run->keys), schemas, run->input_count, &plan)) return false;
    for (uint32_t at = 0; at < run->input_count; at++) {
        run->planned[at] = picked(run->inputs[at], plan.inputs[at].names, plan.inputs[at].count);
        schemas[at] = wire(run->planned[at]);
    }
    run->state = (table){ calloc(plan.state_count + 1, sizeof(wm_field)), plan.state_count };
    if (plan.state_count > 0) memcpy(run->state.fields, plan.state, plan.state_count * sizeof(wm_field));
    run->version = wm_keyed_version(run->plugin);
    if (!wm_keyed_open(run->plugin, config_of(test.config), wire(run->keys), schemas, run->input_count, &run->instance)) return false;
    wm_call_ends();
    return before == NULL || migrate(run, before);
}

wm_keyed_run *wm_start_keyed(wm_keyed_test test, const wm_keyed_run *before)
{
    wm_keyed_run *run = calloc(1, sizeof *run);
    if (!start(test, before, run)) fail(NULL, 0, "the plugin does not start: %.*s", WM_ARG(wm_last_error.message));
    return run;
}

const char *wm_start_error(wm_keyed_test test, const wm_keyed_run *before)
{
    wm_keyed_run *run = calloc(1, sizeof *run);
    wm_error error;
    return start(test, before, run) ? NULL : error_now(&error)->message.data;
}

/* A key that is called, with the numbers of its rows in each input. */
struct called { char *key; bool due; uint32_t *rows[WM_MOST_INPUTS], counts[WM_MOST_INPUTS]; };

static struct called *call_key(struct called **all, size_t *count, char *key, bool due)
{
    for (size_t at = 0; at < *count; at++) if (strcmp((*all)[at].key, key) == 0) return &(*all)[at];
    *all = realloc(*all, (*count + 1) * sizeof **all);
    (*all)[*count] = (struct called){ .key = key, .due = due };
    return &(*all)[(*count)++];
}

static int called_by_key(const void *left, const void *right)
{
    return strcmp(((const struct called *)left)->key, ((const struct called *)right)->key);
}

static uint32_t parts(const wm_keyed_run *run, const struct called *called)
{
    uint32_t longest = 1;
    for (uint32_t at = 0; at < run->input_count; at++) if (called->counts[at] > longest) longest = called->counts[at];
    return (longest - 1) / run->part + 1;
}

static void remember(wm_keyed_run *run, const char *key, const char *state, int64_t timer, bool has_timer)
{
    struct known *known = find(run, key);
    if (known == NULL) {
        run->known = realloc(run->known, (run->known_count + 1) * sizeof *run->known);
        run->known[run->known_count++] = (struct known){ (char *)key, (char *)state, timer, has_timer };
        qsort(run->known, run->known_count, sizeof *run->known, by_key);
        return;
    }
    *known = (struct known){ known->key, (char *)state, timer, has_timer };
}

static void forget(wm_keyed_run *run, const char *key)
{
    struct known *known = find(run, key);
    if (known == NULL) return;
    memmove(known, known + 1, (size_t)(run->known + run->known_count - (known + 1)) * sizeof *known);
    run->known_count--;
}

/* What the host makes of ops, states and timers. */
static void apply(wm_keyed_run *run, struct called **keys, const uint8_t *status, uint32_t count, const wm_changes *changes)
{
    uint32_t puts = 0, put = 0;
    if (changes->ops.length != 0 && changes->ops.length != count) BROKEN("%zu ops for %u keys", changes->ops.length, (unsigned)count);
    if (changes->timers.length != 0 && changes->timers.length != count * 8) BROKEN("%zu bytes of timers for %u keys", changes->timers.length, (unsigned)count);
    for (size_t at = 0; at < changes->ops.length; at++) puts += changes->ops.data[at] == 1;
    if (puts > 0 && run->state.width == 0) BROKEN("a state is put, and the plan has no columns for it");
    strings states = json_of(run->state, changes->state, puts);
    for (uint32_t at = 0; at < count; at++) {
        const struct known *known = find(run, keys[at]->key);
        bool has_timer = known != NULL && known->has_timer && !(status[at] & 2);
        int64_t timer = has_timer ? known->timer : 0, said = INT64_MIN;
        uint8_t op = changes->ops.length == 0 ? 0 : changes->ops.data[at];
        if (changes->timers.length != 0) memcpy(&said, changes->timers.data + at * 8, 8);
        if (said != INT64_MIN) has_timer = said != INT64_MAX;
        if (said != INT64_MIN && has_timer) timer = said;
        if (op == 2) forget(run, keys[at]->key);
        else if (op == 1) remember(run, keys[at]->key, states.items[put++], timer, has_timer);
        else if (known != NULL) remember(run, keys[at]->key, known->state, timer, has_timer);
        else if (has_timer) BROKEN("a timer of a key without state");
    }
}

static bool call_part(wm_keyed_run *run, const wm_context *context, uint32_t part, struct called *all, size_t all_count, const strings *rows, wm_run *out)
{
    struct called **keys = wm_take(all_count * sizeof *keys);
    uint8_t *status = wm_take(all_count);
    uint32_t count = 0;
    strings key_rows = { 0 }, states = { 0 };
    for (size_t at = 0; at < all_count; at++) {
        if (part >= parts(run, &all[at])) continue;
        const struct known *known = find(run, all[at].key);
        bool last = part + 1 == parts(run, &all[at]);
        keys[count] = &all[at];
        status[count++] = (uint8_t)((known != NULL) | (all[at].due && known != NULL && last) << 1 | (part == 0) << 2 | last << 3);
        add(&key_rows, all[at].key);
        if (known != NULL) add(&states, known->state);
    }
    struct wm_group *groups = wm_take(run->input_count * sizeof *groups);
    uint32_t *numbers[WM_MOST_INPUTS], totals[WM_MOST_INPUTS];
    for (uint32_t input = 0; input < run->input_count; input++) {
        uint32_t *ends = wm_take(count * sizeof *ends), total = 0;
        strings part_rows = { 0 };
        numbers[input] = malloc((rows[input].count + 1) * sizeof *numbers[input]);
        for (uint32_t key = 0; key < count; key++) {
            uint64_t first = (uint64_t)part * run->part;
            for (uint64_t at = first; at < keys[key]->counts[input] && at - first < run->part; at++) {
                numbers[input][total++] = keys[key]->rows[input][at];
                add(&part_rows, rows[input].items[keys[key]->rows[input][at]]);
            }
            ends[key] = total;
        }
        totals[input] = total;
        groups[input] = (struct wm_group){ { (const uint8_t *)ends, count * sizeof *ends }, buffers_of(run->planned[input], part_rows.items, total) };
    }
    wm_key_batch batch = {
        count, { status, count }, buffers_of(run->keys, key_rows.items, count), buffers_of(run->state, states.items, states.count), groups,
    };
    wm_changes changes;
    if (!wm_keyed_process(run->instance, context, &batch, &changes)) return false;
    wm_batch parents = { .rows = count, .width = run->keys.width, .fields = run->keys.fields, .columns = batch.keys };
    take_outputs(out, &run->instance->plan, &changes.produced, &parents);
    if (changes.produced.rejected_count != 0 && changes.produced.rejected_count != run->input_count) BROKEN("rejects of %u inputs", (unsigned)changes.produced.rejected_count);
    for (uint32_t at = 0; at < changes.produced.rejected_count; at++) take_rejects(out, at, &changes.produced.rejected[at], numbers[at], totals[at]);
    apply(run, keys, status, count, &changes);
    wm_call_ends();
    return true;
}

wm_run *wm_run_epoch(wm_keyed_run *run, int64_t batch_time, wm_epoch_rows given)
{
    wm_run *out = calloc(1, sizeof *out);
    strings rows[WM_MOST_INPUTS] = { 0 };
    struct called *called = NULL;
    size_t count = 0;
    uint32_t most = 0;
    for (size_t at = 0; at < run->known_count; at++) {
        if (run->known[at].has_timer && run->known[at].timer <= batch_time) call_key(&called, &count, run->known[at].key, true);
    }
    for (uint32_t input = 0; input < run->input_count; input++) {
        rows[input] = rows_of(given.rows[input]);
        const wm_buffers *columns = buffers_of(run->keys, rows[input].items, rows[input].count);
        strings keys = json_of(run->keys, columns, (uint32_t)rows[input].count);
        for (uint32_t row = 0; row < keys.count; row++) {
            struct called *key = call_key(&called, &count, keys.items[row], false);
            key->rows[input] = realloc(key->rows[input], (key->counts[input] + 1) * sizeof(uint32_t));
            key->rows[input][key->counts[input]++] = row;
        }
    }
    if (count > 0) qsort(called, count, sizeof *called, called_by_key);
    for (size_t at = 0; at < count; at++) if (parts(run, &called[at]) > most) most = parts(run, &called[at]);
    wm_context context = { .epoch = run->epochs++, .batch_time = batch_time, .watermark = INT64_MIN };
    for (uint32_t part = 0; part < most; part++, context.call++) {
        if (!call_part(run, &context, part, called, count, rows, out)) return failed(out);
    }
    return out;
}

/* ---- What is expected ---- */

void wm_expect(const char *file, int line, const char *what, bool holds)
{
    if (!holds) fail(file, line, "expected: %s", what);
}

static void expect_ok(const char *file, int line, const wm_run *run)
{
    if (run->error.message.data != NULL) fail(file, line, "it failed: %.*s", WM_ARG(run->error.message));
}

static void expect_strings(const char *file, int line, const char *what, strings found, const char *const *expected)
{
    size_t count = 0;
    bool same = true;
    for (; expected[count] != NULL; count++) same = same && count < found.count && strcmp(found.items[count], quoted(expected[count])) == 0;
    if (same && count == found.count) return;
    for (size_t at = 0; at < count; at++) fprintf(stderr, "  expected %s\n", quoted(expected[at]));
    for (size_t at = 0; at < found.count; at++) fprintf(stderr, "     found %s\n", found.items[at]);
    fail(file, line, "%s are not as expected", what);
}

static const struct port_rows *port_of(const char *file, int line, const wm_run *run, const char *name)
{
    static const struct port_rows none;
    expect_ok(file, line, run);
    for (uint32_t at = 0; at < run->port_count; at++) if (wm_text_equal(run->ports[at].name, wm_text_of(name))) return &run->ports[at];
    if (run->port_count > 0) fail(file, line, "there is no port `%s`", name);
    return &none; /* an epoch without a call */
}

void wm_expect_rows(const char *file, int line, const wm_run *run, const char *port, const char *const *rows)
{
    expect_strings(file, line, "the rows", port_of(file, line, run, port)->rows, rows);
}

void wm_expect_parents(const char *file, int line, const wm_run *run, const char *port, const uint32_t *parents, size_t count)
{
    const struct port_rows *rows = port_of(file, line, run, port);
    if (rows->rows.count != count) fail(file, line, "expected %zu rows, found %zu", count, rows->rows.count);
    for (size_t at = 0; at < count; at++) {
        if (rows->parents[at] != parents[at]) fail(file, line, "expected row %zu to come from %u, not %u", at, (unsigned)parents[at], (unsigned)rows->parents[at]);
    }
}

void wm_expect_rejected(const char *file, int line, const wm_run *run, uint32_t input, const wm_test_reject *rejects)
{
    strings found = { 0 }, expected = { 0 };
    expect_ok(file, line, run);
    for (size_t at = 0; at < run->rejected[input].count; at++) {
        const struct rejected *reject = &run->rejected[input].rows[at];
        add(&found, kept(wm_format("%u: %s", (unsigned)reject->row, reject->reason)));
    }
    for (; rejects->reason != NULL; rejects++) add(&expected, kept(wm_format("%u: %s", (unsigned)rejects->row, rejects->reason)));
    add(&expected, NULL);
    expect_strings(file, line, "the rejected rows", found, (const char *const *)expected.items);
}

void wm_expect_error(const char *file, int line, const wm_run *run, const char *kind, const char *message)
{
    static const char *const kinds[] = { "retryable", "rejected", "fatal" };
    if (run->error.message.data == NULL) fail(file, line, "expected an error: %s", message);
    if (strcmp(kinds[run->error.kind], kind) != 0) fail(file, line, "expected a %s error, not a %s one", kind, kinds[run->error.kind]);
    if (strcmp(run->error.message.data, message) != 0) fail(file, line, "expected: %s\n   found: %s", message, run->error.message.data);
}

void wm_expect_after(const char *file, int line, const wm_run *run, uint32_t ms)
{
    if (run->error.after_ms != ms) fail(file, line, "expected a retry after %u ms, not %u", (unsigned)ms, (unsigned)run->error.after_ms);
}

void wm_expect_token(const char *file, int line, const wm_run *run, const char *token)
{
    expect_ok(file, line, run);
    if (!wm_text_equal((wm_text){ (const char *)run->token.data, run->token.length }, wm_text_of(token))) {
        fail(file, line, "expected the token %s, not %.*s", token, (int)run->token.length, (const char *)run->token.data);
    }
}

void wm_expect_log(const char *file, int line, const char *const *lines)
{
    expect_strings(file, line, "the log's lines", log_lines, lines);
}

void wm_expect_state(const char *file, int line, const wm_keyed_run *run, const char *const *states)
{
    strings found = { 0 };
    for (size_t at = 0; at < run->known_count; at++) {
        const char *key = run->known[at].key, *state = run->known[at].state;
        add(&found, kept(wm_format("%.*s%s%s", (int)strlen(key) - 1, key, strlen(key) > 2 && strlen(state) > 2 ? "," : "", state + 1)));
    }
    expect_strings(file, line, "the states", found, states);
}

void wm_expect_timers(const char *file, int line, const wm_keyed_run *run, const char *const *timers)
{
    strings found = { 0 };
    for (size_t at = 0; at < run->known_count; at++) {
        if (run->known[at].has_timer) add(&found, kept(wm_format("%s at %lld", run->known[at].key, (long long)run->known[at].timer)));
    }
    expect_strings(file, line, "the timers", found, timers);
}
