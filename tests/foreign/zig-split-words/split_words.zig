//! Splits lines into words, as plugins/split-words does, in a language for which Wasmill has no SDK: written from docs/plugins/abi.md and
//! the files in wit/ alone, on the canonical ABI, without generated bindings.
//!
//! Each record of the WIT is an `extern struct` here, laid out as the canonical ABI lays it out in 32-bit memory: a list or string is an address
//! and a length, an option or variant a byte that tells the case and then the case's value, aligned.

const std = @import("std");

// ---- wit/types.wit and wit/transform.wit ----

/// The address counts even of an empty list: it must be aligned and within the memory, which that of an empty slice of Zig is not.
fn List(T: type) type {
    return extern struct {
        ptr: [*]const T = &.{std.mem.zeroes(T)},
        len: usize = 0,

        fn of(items: []const T) @This() {
            return if (items.len == 0) .{} else .{ .ptr = items.ptr, .len = items.len };
        }

        fn slice(self: @This()) []const T {
            return self.ptr[0..self.len];
        }
    };
}

const Text = List(u8);
const Field = extern struct { name: Text, data_type: Text, nullable: bool };
const Buffers = extern struct { validity: List(u8) = .{}, offsets: List(u8) = .{}, data: List(u8) = .{} };
const Origin = extern struct { case: enum(u8) { same, parents, none }, parents: List(u32) = .{} };
const Output = extern struct { port: u32, rows: u32, origin: Origin, columns: List(Buffers) };
const Rejects = extern struct { rows: List(u32), reasons: Buffers };
const Port = extern struct { name: Text, columns: List(Field), carry: bool };
const Error = extern struct {
    kind: enum(u8) { retryable, rejected, fatal } = .fatal,
    message: Text,
    rows: List(u32) = .{},
    has_after_ms: bool = false,
    after_ms: u32 = 0,
};
const Plan = extern struct { columns: List(Text), ports: List(Port) };
const Produced = extern struct { outputs: List(Output), rejected: Rejects };

fn Result(T: type) type {
    return extern struct {
        is_err: bool,
        value: extern union { ok: T, err: Error },

        fn ok(value: T) *const anyopaque {
            return kept(@This(){ .is_err = false, .value = .{ .ok = value } });
        }
    };
}

/// Any result that is an error: where the value lies does not depend on the type of the other case.
fn failed(message: []const u8) *const anyopaque {
    return kept(Result(extern struct {}){ .is_err = true, .value = .{ .err = .{ .message = .of(message) } } });
}

// ---- Memory: what a call is given and what it makes lies in an arena that is emptied after the call ----

var arena = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);
const memory = arena.allocator();

fn kept(value: anytype) *const anyopaque {
    const place = memory.create(@TypeOf(value)) catch @panic("out of memory");
    place.* = value;
    return place;
}

/// Offsets are read as u32, so buffers must be aligned whatever the host asks. It asks for room for empty lists too, and for what
/// it is answered then the same holds.
export fn cabi_realloc(old: [*]u8, old_size: usize, alignment: usize, size: usize) [*]u8 {
    std.debug.assert(alignment <= 8);
    const new = memory.alignedAlloc(u8, .@"8", @max(size, 1)) catch @panic("out of memory");
    if (old_size > 0) @memcpy(new[0..@min(old_size, size)], old[0..@min(old_size, size)]);
    return new.ptr;
}

fn afterCall(_: *const anyopaque) callconv(.c) void {
    _ = arena.reset(.retain_capacity);
}

// ---- The plugin ----

/// The name of the column that is read, for the reason of a rejected row; it outlives the call of `open`.
var column_name: []const u8 = "";

const Config = struct { column: ?[]const u8 = null, carry: bool = false };

/// Failures carry their message here, since an error of Zig is only a name.
var failure: []const u8 = "";

fn fail(comptime format: []const u8, arguments: anytype) error{Failed} {
    failure = std.fmt.allocPrint(memory, format, arguments) catch "out of memory";
    return error.Failed;
}

fn readConfig(json: []const u8) !Config {
    var config = Config{};
    if (std.mem.trim(u8, json, " \t\r\n").len == 0) return config;
    const value = std.json.parseFromSliceLeaky(std.json.Value, memory, json, .{}) catch |err|
        return fail("the configuration is not JSON: {s}", .{@errorName(err)});
    if (value == .null) return config;
    if (value != .object) return fail("the configuration must be a table", .{});
    const known = [_][]const u8{ "carry", "column" };
    for (value.object.keys()) |key| {
        if (std.mem.eql(u8, key, "carry") or std.mem.eql(u8, key, "column")) continue;
        if (nearest(key, &known)) |near|
            return fail("the configuration is wrong: there is no setting `{s}`; did you mean `{s}`?", .{ key, near });
        return fail("the configuration is wrong: there is no setting `{s}`; there are `carry`, `column`", .{key});
    }
    if (value.object.get("carry")) |carry| {
        if (carry != .bool) return fail("the configuration is wrong: `carry`: invalid type: {s}, expected a boolean", .{try kindOf(carry)});
        config.carry = carry.bool;
    }
    if (value.object.get("column")) |column| {
        if (column != .string) return fail("`column` must be the name of a column, as a text", .{});
        config.column = column.string;
    }
    return config;
}

fn kindOf(value: std.json.Value) ![]const u8 {
    return switch (value) {
        .null => "null",
        .array => "sequence",
        .object => "map",
        .bool => |flag| std.fmt.allocPrint(memory, "boolean `{}`", .{flag}),
        .integer => |integer| std.fmt.allocPrint(memory, "integer `{d}`", .{integer}),
        .float => |float| std.fmt.allocPrint(memory, "floating point `{d}`", .{float}),
        .string => |text| std.fmt.allocPrint(memory, "string {f}", .{std.json.fmt(text, .{})}),
        .number_string => |digits| std.fmt.allocPrint(memory, "floating point `{s}`", .{digits}),
    };
}

/// The column that `column` names, else `line`, else the first of texts.
fn findColumn(config: Config, input: []const Field) ![]const u8 {
    const name = config.column orelse "line";
    for (input) |field| {
        if (!std.mem.eql(u8, field.name.slice(), name)) continue;
        if (isText(field)) return name;
        if (config.column != null) return fail("column `{s}` is {s}, and the plugin reads it as utf8", .{ name, field.data_type.slice() });
    }
    if (config.column != null) {
        const names = try memory.alloc([]const u8, input.len);
        for (input, names) |field, *to| to.* = field.name.slice();
        const asked = try std.fmt.allocPrint(memory, "`column` names column `{s}`, which the input does not have", .{name});
        if (nearest(name, names)) |near| return fail("{s}; did you mean `{s}`?", .{ asked, near });
        return fail("{s}; it has {s}", .{ asked, try columnsOf(input) });
    }
    for (input) |field| if (isText(field)) return field.name.slice();
    return fail("the plugin reads a column of type utf8, and the input has none: {s}", .{try columnsOf(input)});
}

fn isText(field: Field) bool {
    return std.mem.eql(u8, field.data_type.slice(), "utf8") or std.mem.eql(u8, field.data_type.slice(), "json");
}

fn columnsOf(input: []const Field) ![]const u8 {
    if (input.len == 0) return "no columns";
    var list: []const u8 = "";
    for (input, 0..) |field, at| {
        const comma = if (at > 0) ", " else "";
        list = try std.fmt.allocPrint(memory, "{s}{s}`{s}` {s}", .{ list, comma, field.name.slice(), field.data_type.slice() });
    }
    return list;
}

fn makePlan(config_json: []const u8, input: []const Field) !Plan {
    const config = try readConfig(config_json);
    const column = try findColumn(config, input);
    const word = Field{ .name = .of("word"), .data_type = .of("utf8"), .nullable = false };
    const out = Port{ .name = .of("out"), .columns = .of(try memory.dupe(Field, &.{word})), .carry = config.carry };
    return .{ .columns = .of(try memory.dupe(Text, &.{.of(column)})), .ports = .of(try memory.dupe(Port, &.{out})) };
}

fn describe(config: [*]const u8, config_len: usize, input: [*]const Field, input_len: usize) callconv(.c) *const anyopaque {
    const plan = makePlan(config[0..config_len], input[0..input_len]) catch |err| return failed(messageOf(err));
    return Result(Plan).ok(plan);
}

fn messageOf(err: anyerror) []const u8 {
    return if (err == error.Failed) failure else @errorName(err);
}

fn open(config: [*]const u8, config_len: usize, input: [*]const Field, input_len: usize) callconv(.c) *const anyopaque {
    _ = readConfig(config[0..config_len]) catch |err| return failed(messageOf(err));
    std.debug.assert(input_len == 1);
    column_name = std.heap.wasm_allocator.dupe(u8, input[0].name.slice()) catch return failed("out of memory");
    return Result(extern struct {}).ok(.{});
}

/// Texts one after another, and where each ends.
const Column = struct {
    data: std.ArrayList(u8) = .empty,
    offsets: std.ArrayList(u32) = .empty,

    fn push(self: *Column, text: []const u8) !void {
        if (self.offsets.items.len == 0) try self.offsets.append(memory, 0);
        try self.data.appendSlice(memory, text);
        try self.offsets.append(memory, @intCast(self.data.items.len));
    }

    fn buffers(self: Column) Buffers {
        return .{ .offsets = .of(std.mem.sliceAsBytes(self.offsets.items)), .data = .of(self.data.items) };
    }
};

fn split(rows: u32, lines: Buffers) !Produced {
    const offsets: []const u32 = @alignCast(std.mem.bytesAsSlice(u32, lines.offsets.slice()));
    const validity = lines.validity.slice();
    var words = Column{};
    var reasons = Column{};
    var parents: std.ArrayList(u32) = .empty;
    var rejected: std.ArrayList(u32) = .empty;
    for (0..rows) |at| {
        const row: u32 = @intCast(at);
        if (validity.len > 0 and validity[row / 8] >> @intCast(row % 8) & 1 == 0) {
            try rejected.append(memory, row);
            try reasons.push(try std.fmt.allocPrint(memory, "column `{s}` is null", .{column_name}));
            continue;
        }
        var pieces = std.mem.tokenizeAny(u8, lines.data.slice()[offsets[row]..offsets[row + 1]], " \t\n\r\x0c");
        while (pieces.next()) |word| {
            try words.push(word);
            try parents.append(memory, row);
        }
    }
    const output = Output{
        .port = 0,
        .rows = @intCast(parents.items.len),
        .origin = .{ .case = .parents, .parents = .of(parents.items) },
        .columns = .of(try memory.dupe(Buffers, &.{words.buffers()})),
    };
    return .{
        .outputs = .of(try memory.dupe(Output, &.{output})),
        .rejected = .{ .rows = .of(rejected.items), .reasons = reasons.buffers() },
    };
}

/// The record `context` is spread over the first six parameters, as the canonical ABI does with up to 16 values.
fn process(_: u64, _: i64, _: u32, _: u32, _: i64, _: u64, rows: u32, input: [*]const Buffers, input_len: usize) callconv(.c) *const anyopaque {
    std.debug.assert(input_len == 1);
    return Result(Produced).ok(split(rows, input[0]) catch |err| return failed(messageOf(err)));
}

comptime {
    for (.{ .{ "describe", &describe }, .{ "open", &open }, .{ "process", &process } }) |function| {
        const name = "wasmill:plugin/transform@0.1.0#" ++ function[0];
        @export(function[1], .{ .name = name });
        @export(&afterCall, .{ .name = "cabi_post_" ++ name });
    }
}

// ---- Misspelt names ----

/// The nearest name, if at most a third of its letters differ, or one.
fn nearest(word: []const u8, known: []const []const u8) ?[]const u8 {
    var best: ?[]const u8 = null;
    var least: usize = std.math.maxInt(usize);
    for (known) |name| {
        const steps = distance(word, name) catch continue;
        const letters = std.unicode.utf8CountCodepoints(name) catch continue;
        if (steps <= @max(1, letters / 3) and steps < least) {
            best = name;
            least = steps;
        }
    }
    return best;
}

/// Letters to insert, remove, change or swap with the next to get from one to the other.
fn distance(a_text: []const u8, b_text: []const u8) !usize {
    const a = try letters_of(a_text);
    const b = try letters_of(b_text);
    const width = b.len + 1;
    const steps = try memory.alloc(usize, (a.len + 1) * width);
    for (0..a.len + 1) |i| for (0..width) |j| {
        const here = &steps[i * width + j];
        if (i == 0 or j == 0) {
            here.* = i + j;
            continue;
        }
        const changed = steps[(i - 1) * width + j - 1] + @intFromBool(a[i - 1] != b[j - 1]);
        here.* = @min(changed, steps[(i - 1) * width + j] + 1, steps[i * width + j - 1] + 1);
        if (i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1])
            here.* = @min(here.*, steps[(i - 2) * width + j - 2] + 1);
    };
    return steps[a.len * width + b.len];
}

fn letters_of(text: []const u8) ![]const u21 {
    var letters: std.ArrayList(u21) = .empty;
    var view = (try std.unicode.Utf8View.init(text)).iterator();
    while (view.nextCodepoint()) |letter| try letters.append(memory, letter);
    return letters.items;
}
