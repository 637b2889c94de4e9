/*
 * Parses a column of JSON objects into typed columns.
 *
 *     [steps.readings]
 *     input = "lines"
 *     plugin = "parse-json"
 *     config = { schema = { sensor = "utf8", celsius = "float64", note = "utf8?" } }
 *
 * It reads the column that `column` names, else `line`, else the first text column. Each entry of `schema` becomes a column of that
 * name and type; a type that ends in `?` allows nulls, as does a key that is missing then. Other keys are left out. A row that is no
 * JSON object, or whose values are not of their types, is rejected with the reason. With `carry` the rows keep the input's other columns.
 *
 * Second lesson: an output whose columns only the configuration knows. `open` turns the configuration into the state that `parse` works
 * with, `plan` tells the host the columns. wm_reject turns a row away, and what was written for it; the batch goes on.
 */
#include <wasmill.h>

struct config {
    wm_json schema;
    bool carry;
};

struct parser {
    wm_field *columns;
    size_t count;
    bool carry;
};

static bool wrong_schema(wm_json found, const char *expected)
{
    wm_text kind = wm_json_kind(found);
    return wm_fatal("the configuration is wrong: `schema`: invalid type: %.*s, expected %s", WM_ARG(kind), expected);
}

static bool open(const void *config_, void **state)
{
    const struct config *config = config_;
    struct parser *parser = *state = wm_keep(sizeof *parser);
    wm_text schema = { config->schema.data, config->schema.length }, why;
    wm_members members;

    if (!wm_json_members(schema, &members, &why)) return wrong_schema(config->schema, "a map");
    members = wm_json_sorted(members);
    parser->columns = wm_keep(members.count * sizeof *parser->columns);
    parser->count = members.count;
    parser->carry = config->carry;
    for (size_t at = 0; at < members.count; at++) {
        wm_text type;
        if (!wm_json_text(members.members[at].value, &type)) return wrong_schema(members.members[at].value, "a string");
        wm_field *column = &parser->columns[at];
        column->name = wm_keep_text(members.members[at].name);
        column->nullable = type.length > 0 && type.data[type.length - 1] == '?';
        type.length -= column->nullable;
        if (!wm_field_type(column, type)) return false;
    }
    return true;
}

static bool plan(const void *state, wm_plan *plan)
{
    const struct parser *parser = state;
    for (size_t at = 0; at < parser->count; at++) wm_plan_column(plan, 0, &parser->columns[at]);
    wm_plan_carry(plan, parser->carry);
    return true;
}

static void parse_row(wm_call *call, uint32_t row, wm_text line)
{
    const struct parser *parser = call->state;
    wm_members object;
    wm_text why;

    if (!wm_json_members(line, &object, &why)) {
        wm_reject(call, row, "not a JSON object: %.*s", WM_ARG(why));
        return;
    }
    for (size_t at = 0; at < parser->count; at++) {
        const wm_field *column = &parser->columns[at];
        const wm_member *member = wm_json_member(object, column->name);
        wm_json value = member == NULL ? (wm_json){ "null", 4 } : member->value;
        if (wm_json_is_null(value) && !column->nullable) {
            wm_reject(call, row, "`%.*s` is missing", WM_ARG(column->name));
            return;
        }
        if (!wm_push_from_json(&call->ports[0].columns[at], value, &why)) {
            wm_reject(call, row, "`%.*s`: %.*s", WM_ARG(column->name), WM_ARG(why));
            return;
        }
    }
    wm_emit(&call->ports[0], row);
}

static bool parse(wm_call *call)
{
    wm_texts lines = wm_utf8(&call->input, 0);
    for (uint32_t row = 0; row < call->input.rows; row++) parse_row(call, row, wm_text_at(lines, row));
    return true;
}

WASMILL_TRANSFORM(
    .config = WM_CONFIG(struct config, WM_SETTING(struct config, schema, .required = true), WM_SETTING(struct config, carry)),
    .open = open,
    .input = WM_COLUMNS({ "line", WM_UTF8, .setting = "column", .or_first = true }),
    .plan = plan,
    .process = parse,
);
