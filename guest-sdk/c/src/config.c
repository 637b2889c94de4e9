/* The plugin's configuration: the step's own table of the pipeline file, read into a struct. */
#include "sdk.h"

/* Text for a message that lists things. */
static wm_text joined(wm_text list, wm_text name)
{
    return wm_format("%.*s%s`%.*s`", WM_ARG(list), list.length > 0 ? ", " : "", WM_ARG(name));
}

static bool wrong(wm_text what)
{
    return wm_fatal("the configuration is wrong: %.*s", WM_ARG(what));
}

/* The table in the order of its names; an empty text, and null, is an empty one. */
static bool read_table(wm_text text, wm_members *table)
{
    wm_text why;
    size_t start = 0;
    while (start < text.length && strchr(" \t\r\n", text.data[start]) != NULL) start++;
    *table = (wm_members){ 0 };
    text = (wm_text){ text.data + start, text.length - start };
    if (text.length == 0 || wm_json_is_null((wm_json){ text.data, text.length })) return true;
    if (!wm_json_members(text, table, &why)) {
        if (strchr("[\"-0123456789tfn", text.data[0]) != NULL) return wm_fatal("the configuration must be a table");
        return wm_fatal("the configuration is not JSON: %.*s", WM_ARG(why));
    }
    *table = wm_json_sorted(*table);
    return true;
}

static bool read_duration(wm_text text, int64_t *sum)
{
    static const struct { const char *name; int64_t ms; } units[] = {
        { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 },
    };
    const char *at = text.data, *end = text.data + text.length;
    bool some = false;
    for (*sum = 0;; some = true) {
        while (at < end && *at == ' ') at++;
        if (at == end) return some;
        int64_t number = 0, unit = 0;
        const char *digits = at;
        for (; at < end && *at >= '0' && *at <= '9'; at++) {
            if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, *at - '0', &number)) return false;
        }
        if (at == digits) return false;
        while (at < end && *at == ' ') at++;
        const char *name = at;
        while (at < end && ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'z')) at++;
        for (size_t known = 0; known < sizeof units / sizeof *units; known++) {
            if (wm_text_equal((wm_text){ name, (size_t)(at - name) }, wm_text_of(units[known].name))) unit = units[known].ms;
        }
        if (unit == 0 || __builtin_mul_overflow(number, unit, &number) || __builtin_add_overflow(*sum, number, sum)) return false;
    }
}

static bool not_of_its_type(const wm_setting *setting, wm_json json, const char *expected)
{
    wm_text kind = wm_json_kind(json);
    return wrong(wm_format("`%s`: invalid type: %.*s, expected %s", setting->name, WM_ARG(kind), expected));
}

static bool read_entries(const wm_setting *setting, wm_json table, wm_entries *entries)
{
    wm_text why;
    wm_members members;
    if (!wm_json_members((wm_text){ table.data, table.length }, &members, &why)) return not_of_its_type(setting, table, "a map");
    members = wm_json_sorted(members);
    wm_entry *kept = wm_keep(members.count * sizeof *kept);
    *entries = (wm_entries){ kept, members.count };
    for (size_t at = 0; at < members.count; at++) {
        const wm_member *member = &members.members[at];
        if (!wm_json_text(member->value, &kept[at].value)) return not_of_its_type(setting, member->value, "a string");
        kept[at] = (wm_entry){ wm_keep_text(member->name), wm_keep_text(kept[at].value) };
    }
    return true;
}

static bool read_setting(const wm_setting *setting, wm_json json, void *member)
{
    const char *expected = "";
    wm_text text;
    switch (setting->type) {
    case WM_SET_BOOL:
        expected = "a boolean";
        if (json.data[0] == 't' || json.data[0] == 'f') return *(bool *)member = json.data[0] == 't', true;
        break;
    case WM_SET_INT64:
        expected = "i64";
        if (wm_json_int64(json, member)) return true;
        break;
    case WM_SET_FLOAT64:
        expected = "f64";
        if (wm_json_float64(json, member)) return true;
        break;
    case WM_SET_DURATION:
        expected = "a string";
        if (!wm_json_text(json, &text)) break;
        if (read_duration(text, &((wm_duration *)member)->ms)) return true;
        return wrong(wm_format("`%s`: `%.*s` is not a duration as `30s`, `1h 30m` or `250ms`", setting->name, WM_ARG(text)));
    case WM_SET_TEXT:
        expected = "a string";
        if (wm_json_text(json, &text)) return *(wm_text *)member = wm_keep_text(text), true;
        break;
    case WM_SET_ENTRIES:
        return read_entries(setting, json, member);
    case WM_SET_JSON:
        text = wm_keep_text((wm_text){ json.data, json.length });
        *(wm_json *)member = (wm_json){ text.data, text.length };
        return true;
    }
    return not_of_its_type(setting, json, expected);
}

/* What the keys may be: the struct's settings, then those that name columns. */
static wm_text *known_keys(const wm_config *config, const wm_record *const *records, uint32_t record_count, size_t *count)
{
    size_t most = config->count;
    for (uint32_t at = 0; at < record_count; at++) most += records[at]->count;
    wm_text *known = wm_take(most * sizeof *known);
    *count = 0;
    for (uint32_t at = 0; at < config->count; at++) known[(*count)++] = wm_text_of(config->settings[at].name);
    for (uint32_t record = 0; record < record_count; record++) {
        for (uint32_t at = 0; at < records[record]->count; at++) {
            const char *setting = records[record]->columns[at].setting;
            if (setting != NULL) known[(*count)++] = wm_text_of(setting);
        }
    }
    return known;
}

static bool check_keys(wm_members table, const wm_text *known, size_t count)
{
    for (size_t at = 0; at < table.count; at++) {
        wm_text key = table.members[at].name, names = { 0 };
        size_t same = 0;
        while (same < count && !wm_text_equal(key, known[same])) same++;
        if (same < count) continue;
        wm_text near = wm_suggestion(key, known, count);
        if (near.length > 0) return wrong(wm_format("there is no setting `%.*s`%.*s", WM_ARG(key), WM_ARG(near)));
        if (count == 0) return wrong(wm_format("there is no setting `%.*s`; this plugin has none", WM_ARG(key)));
        for (size_t name = 0; name < count; name++) names = joined(names, known[name]);
        return wrong(wm_format("there is no setting `%.*s`; there are %.*s", WM_ARG(key), WM_ARG(names)));
    }
    return true;
}

static bool read_config(const wm_config *config, wm_members table, void *into)
{
    for (size_t at = 0; at < table.count; at++) {
        for (uint32_t setting = 0; setting < config->count; setting++) {
            const wm_setting *known = &config->settings[setting];
            if (!wm_text_equal(table.members[at].name, wm_text_of(known->name))) continue;
            if (!read_setting(known, table.members[at].value, (char *)into + known->offset)) return false;
        }
    }
    for (uint32_t setting = 0; setting < config->count; setting++) {
        const char *name = config->settings[setting].name;
        if (config->settings[setting].required && wm_json_member(table, wm_text_of(name)) == NULL) {
            return wrong(wm_format("missing field `%s`", name));
        }
    }
    return true;
}

bool wm_open_state(const wm_config *config, const void *defaults, bool (*open)(const void *, void **), wm_text text,
                   const wm_record *const *records, uint32_t record_count, void **state)
{
    wm_members table;
    size_t known_count;
    const wm_text *known = known_keys(config, records, record_count, &known_count);
    void *into = wm_keep(config->size);
    if (defaults != NULL) memcpy(into, defaults, config->size);
    if (!read_table(text, &table) || !check_keys(table, known, known_count) || !read_config(config, table, into)) return false;
    *state = into;
    return open == NULL || open(into, state);
}

/* ---- Columns that are read ---- */

/* A json text is a text, and any value of varying width can be read as its bytes. */
static bool fits(const wm_column *wanted, const wm_wire_field *field)
{
    wm_field found = { 0 };
    wm_error kept = wm_last_error;
    if (!wm_field_type(&found, field->type)) {
        wm_last_error = kept;
        return false;
    }
    switch (wanted->type) {
    case WM_UTF8: return found.type == WM_UTF8 || found.type == WM_JSON;
    case WM_BINARY: return wm_varies(found.type);
    case WM_DECIMAL: return found.type == WM_DECIMAL && found.precision == wanted->precision && found.scale == wanted->scale;
    default: return found.type == wanted->type;
    }
}

static wm_text columns_of(wm_wire_schema input)
{
    wm_text list = { 0 };
    for (uint32_t at = 0; at < input.count; at++) {
        list = wm_format("%.*s%s`%.*s` %.*s", WM_ARG(list), at > 0 ? ", " : "", WM_ARG(input.fields[at].name), WM_ARG(input.fields[at].type));
    }
    return input.count == 0 ? wm_text_of("no columns") : list;
}

static bool missing(const wm_column *wanted, wm_text type, wm_text name, bool set, wm_wire_schema input)
{
    wm_text asked, *names = wm_take(input.count * sizeof *names);
    for (uint32_t at = 0; at < input.count; at++) names[at] = input.fields[at].name;
    if (set) {
        asked = wm_format("`%s` names column `%.*s`, which the input does not have", wanted->setting, WM_ARG(name));
    } else {
        asked = wm_format("the plugin reads column `%.*s` of type %.*s, which the input does not have", WM_ARG(name), WM_ARG(type));
        if (wanted->setting != NULL) asked = wm_format("%.*s; `%s` may name another", WM_ARG(asked), wanted->setting);
    }
    wm_text near = wm_suggestion(name, names, input.count);
    if (near.length > 0) return wm_fatal("%.*s%.*s", WM_ARG(asked), WM_ARG(near));
    wm_text columns = columns_of(input);
    return wm_fatal("%.*s; it has %.*s", WM_ARG(asked), WM_ARG(columns));
}

static bool find(const wm_column *wanted, wm_members table, wm_wire_schema input, wm_text *found)
{
    wm_field field = wm_field_of(wanted);
    wm_text type = wm_field_type_name(&field), name = wm_text_of(wanted->name);
    const wm_member *set = wanted->setting == NULL ? NULL : wm_json_member(table, wm_text_of(wanted->setting));
    if (set != NULL && !wm_json_text(set->value, &name)) return wm_fatal("`%s` must be the name of a column, as a text", wanted->setting);
    bool exactly = set != NULL || !wanted->or_first;
    uint32_t at = 0;
    while (at < input.count && !wm_text_equal(input.fields[at].name, name)) at++;
    if (at == input.count && exactly) return missing(wanted, type, name, set != NULL, input);
    if (at == input.count || !fits(wanted, &input.fields[at])) {
        if (exactly) {
            return wm_fatal("column `%.*s` is %.*s, and the plugin reads it as %.*s", WM_ARG(name), WM_ARG(input.fields[at].type), WM_ARG(type));
        }
        for (at = 0; at < input.count && !fits(wanted, &input.fields[at]);) at++;
    }
    if (at == input.count) {
        wm_text columns = columns_of(input);
        return wm_fatal("the plugin reads a column of type %.*s, and the input has none: %.*s", WM_ARG(type), WM_ARG(columns));
    }
    *found = input.fields[at].name;
    return true;
}

bool wm_resolve(const wm_record *record, wm_text config, wm_wire_schema input, wm_names *names)
{
    wm_members table;
    if (!read_table(config, &table)) return false;
    *names = (wm_names){ wm_take(record->count * sizeof(wm_text)), record->count };
    for (uint32_t at = 0; at < record->count; at++) {
        if (!find(&record->columns[at], table, input, &names->names[at])) return false;
    }
    return true;
}

wm_field wm_field_of(const wm_column *column)
{
    return (wm_field){ wm_text_of(column->name), column->type, column->nullable, column->precision, column->scale };
}

bool wm_schema_of(wm_wire_schema input, wm_schema *schema)
{
    *schema = (wm_schema){ wm_keep(input.count * sizeof(wm_field)), input.count };
    for (uint32_t at = 0; at < input.count; at++) {
        wm_field *field = &schema->fields[at];
        *field = (wm_field){ .name = wm_keep_text(input.fields[at].name), .nullable = input.fields[at].nullable };
        if (!wm_field_type(field, input.fields[at].type)) return false;
    }
    return true;
}
