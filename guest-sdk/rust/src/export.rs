//! From a plain function or a type to a component's exports.

/// Makes a plugin of a plain function.
///
/// ```text
/// export_transform! {
///     config: Config,             // a serde struct; the function then takes `&Config` first
///     open: Matcher::new,         // fn(Config) -> Result<State, Error>; the function then takes `&State`
///     columns: |state| ..,        // fn(&State) -> Vec<Column>, for rows of `Cells`
///     carry: |state| true,        // whether the host carries the input's other columns; filters always do
///     flat_map: split,            // or `map: ..`, or `filter: ..`
/// }
/// ```
///
/// Only the last line is needed; the others keep this order. It defines the type `Plugin`, which
/// [`testing::transform`](crate::testing::transform) takes.
#[macro_export]
macro_rules! export_transform {
    (config: $config:ty, $(open: $open:expr,)? $(columns: $columns:expr,)? $(carry: $carry:expr,)? map: $each:expr $(,)?) => {
        $crate::__transform!(map, $config, [$($open)?], [$($columns)?], [$($carry)?], $each);
    };
    (config: $config:ty, $(open: $open:expr,)? $(columns: $columns:expr,)? $(carry: $carry:expr,)? filter: $each:expr $(,)?) => {
        $crate::__transform!(filter, $config, [$($open)?], [$($columns)?], [$($carry)?], $each);
    };
    (config: $config:ty, $(open: $open:expr,)? $(columns: $columns:expr,)? $(carry: $carry:expr,)? flat_map: $each:expr $(,)?) => {
        $crate::__transform!(flat_map, $config, [$($open)?], [$($columns)?], [$($carry)?], $each);
    };
    ($(carry: $carry:expr,)? map: $each:expr $(,)?) => {
        $crate::__transform!(map, $crate::NoConfig, [], [], [$($carry)?], |_: &$crate::NoConfig, row| ($each)(row));
    };
    ($(carry: $carry:expr,)? filter: $each:expr $(,)?) => {
        $crate::__transform!(filter, $crate::NoConfig, [], [], [$($carry)?], |_: &$crate::NoConfig, row| ($each)(row));
    };
    ($(carry: $carry:expr,)? flat_map: $each:expr $(,)?) => {
        $crate::__transform!(flat_map, $crate::NoConfig, [], [], [$($carry)?], |_: &$crate::NoConfig, row, out: &mut _| ($each)(row, out));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __transform {
    ($shape:ident, $config:ty, [$($open:expr)?], [$($columns:expr)?], [$($carry:expr)?], $each:expr) => {
        /// The plugin that this crate is.
        #[derive(Debug)]
        pub struct Plugin($crate::transform::Opened);

        impl $crate::Transform for Plugin {
            fn describe(config: &str, input: &[$crate::wit::Field]) -> $crate::Result<$crate::wit::TransformPlan> {
                let shape = $crate::transform::Shape::$shape($each);
                let state = shape.state(config, $crate::__or!([$($open)?], $crate::Result::<$config>::Ok))?;
                let declared = $crate::transform::declared(&state, $crate::__or!([$($columns)?], |_| ::std::vec::Vec::new()));
                let carry = $crate::transform::carry(&state, [$($carry)?]);
                shape.plan(config, input, &declared, carry)
            }

            fn open(config: &str, input: &[$crate::wit::Field]) -> $crate::Result<Self> {
                let shape = $crate::transform::Shape::$shape($each);
                let state = shape.state(config, $crate::__or!([$($open)?], $crate::Result::<$config>::Ok))?;
                let declared = $crate::transform::declared(&state, $crate::__or!([$($columns)?], |_| ::std::vec::Vec::new()));
                let mut calls = $crate::transform::Calls::new(declared);
                $crate::transform::Opened::new(input, move |batch| {
                    $crate::transform::$shape(&state, batch, &mut calls, $each)
                })
                .map(Self)
            }

            fn process(
                &mut self,
                context: $crate::wit::Context,
                rows: u32,
                input: ::std::vec::Vec<$crate::wit::Buffers>,
            ) -> $crate::Result<$crate::wit::Produced> {
                ::std::result::Result::Ok(self.0.process(context, rows, input))
            }
        }

        $crate::__component!(Plugin, transform, export_transform_world);
    };
}

/// Makes a plugin of a function of two rows that gives one, as [`reducer`](crate::reducer) shows.
///
/// ```text
/// export_reducer! {
///     config: Config,         // a serde struct; the functions then take `&Config` first
///     open: Rule::new,        // fn(Config) -> Result<State, Error>; the functions then take `&State`
///     reduce: add,            // fn(Row, Row) -> Row, or a `Result` of it whose error fails the call
///     inverse: subtract,      // the same: what is left of the first without the second, its oldest part
/// }
/// ```
///
/// Only `reduce` is needed; the others keep this order. It defines the type `Plugin`, which
/// [`testing::reducer`](crate::testing::reducer()) takes.
#[macro_export]
macro_rules! export_reducer {
    (config: $config:ty, $(open: $open:expr,)? reduce: $reduce:expr $(, inverse: $inverse:expr)? $(,)?) => {
        $crate::__reducer!($config, [$($open)?], $reduce, [$($inverse)?]);
    };
    (reduce: $reduce:expr $(, inverse: $inverse:expr)? $(,)?) => {
        $crate::__reducer!(
            $crate::NoConfig, [],
            |_: &$crate::NoConfig, a, b| ($reduce)(a, b),
            [$(|_: &$crate::NoConfig, total, gone| ($inverse)(total, gone))?]
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __reducer {
    ($config:ty, [$($open:expr)?], $reduce:expr, [$($inverse:expr)?]) => {
        /// The plugin that this crate is.
        #[derive(Debug)]
        pub struct Plugin($crate::reducer::Opened);

        impl $crate::Reducer for Plugin {
            fn describe(config: &str, input: &[$crate::wit::Field]) -> $crate::Result<$crate::wit::ReducerPlan> {
                let shape = $crate::reducer::Shape::reduce($reduce);
                shape.state(config, $crate::__or!([$($open)?], $crate::Result::<$config>::Ok))?;
                shape.plan(config, input, $crate::__given!($($inverse)?))
            }

            fn open(config: &str, input: &[$crate::wit::Field]) -> $crate::Result<Self> {
                let shape = $crate::reducer::Shape::reduce($reduce);
                let state = shape.state(config, $crate::__or!([$($open)?], $crate::Result::<$config>::Ok))?;
                let state = ::std::rc::Rc::new(state);
                let opened = $crate::reducer::Opened::new(input, {
                    let state = ::std::rc::Rc::clone(&state);
                    move |groups| $crate::reducer::reduce(&*state, groups, $reduce)
                })?;
                $(let opened = opened.with_inverse(move |pairs| $crate::reducer::inverse(&*state, pairs, $inverse));)?
                ::std::result::Result::Ok(Self(opened))
            }

            fn reduce(
                &mut self,
                context: $crate::wit::Context,
                ends: ::std::vec::Vec<u8>,
                input: ::std::vec::Vec<$crate::wit::Buffers>,
            ) -> $crate::Result<::std::vec::Vec<$crate::wit::Buffers>> {
                self.0.reduce(context, ends, input)
            }

            fn inverse(
                &mut self,
                context: $crate::wit::Context,
                rows: u32,
                total: ::std::vec::Vec<$crate::wit::Buffers>,
                gone: ::std::vec::Vec<$crate::wit::Buffers>,
            ) -> $crate::Result<::std::vec::Vec<$crate::wit::Buffers>> {
                self.0.inverse(context, rows, total, gone)
            }
        }

        $crate::__component!(Plugin, reducer, export_reducer_world);
    };
}

/// Makes a plugin of a function of a key, its rows and its state, as [`keyed`](crate::keyed) shows.
///
/// ```text
/// export_keyed! {
///     config: Config,             // a serde struct; the function then takes `&Config` first
///     open: Model::new,           // fn(Config) -> Result<Model, Error>; the function then takes `&Model`
///     columns: |model| ..,        // fn(&Model) -> Vec<Column>, for emitted rows of `Cells`
///     carry: |model| true,        // whether the host carries the key's columns beside the emitted ones
///     version: 2,                 // the number for the meaning of the state; 1 unless given
///     migrate: { 1 => widen },    // fn(Old) -> New, from states of that number
///     whole_groups: true,         // all rows of a key in one call, however many they are
///     update: count,
/// }
/// ```
///
/// Only the last line is needed; the others keep this order. The function is
/// `fn(Key, Rows<Row>, &mut State<Remembered>, &mut Emit<Out>)`, where `()` stands for a record of no columns, a tuple of
/// [`Rows`](crate::keyed::Rows) for several inputs, and a struct of `Emit`s for several ports. It may answer with a
/// `Result` whose error turns the rows of the key away. The macro defines the type `Plugin`, which
/// [`testing::keyed`](crate::testing::keyed()) takes.
#[macro_export]
macro_rules! export_keyed {
    (
        config: $config:ty, $(open: $open:expr,)? $(columns: $columns:expr,)? $(carry: $carry:expr,)?
        $(version: $version:expr,)? $(migrate: { $($from:literal => $migrate:expr),* $(,)? },)?
        $(whole_groups: $whole:expr,)? update: $update:expr $(,)?
    ) => {
        $crate::__keyed!(
            $config, [$($open)?], [$($columns)?], [$($carry)?], [$($version)?], [$($($from => $migrate,)*)?], [$($whole)?],
            $update
        );
    };
    (
        $(carry: $carry:expr,)? $(version: $version:expr,)?
        $(migrate: { $($from:literal => $migrate:expr),* $(,)? },)? $(whole_groups: $whole:expr,)? update: $update:expr $(,)?
    ) => {
        $crate::__keyed!(
            $crate::NoConfig, [], [], [$($carry)?], [$($version)?], [$($($from => $migrate,)*)?], [$($whole)?],
            |_: &$crate::NoConfig, key, rows, state: &mut _, out: &mut _| ($update)(key, rows, state, out)
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __keyed {
    (
        $config:ty, [$($open:expr)?], [$($columns:expr)?], [$($carry:expr)?], [$($version:expr)?],
        [$($from:literal => $migrate:expr,)*], [$($whole:expr)?], $update:expr
    ) => {
        /// The plugin that this crate is.
        #[derive(Debug)]
        pub struct Plugin($crate::keyed::Opened);

        impl $crate::Keyed for Plugin {
            fn describe(
                config: &str,
                keys: &[$crate::wit::Field],
                inputs: &[::std::vec::Vec<$crate::wit::Field>],
            ) -> $crate::Result<$crate::wit::KeyedPlan> {
                let shape = $crate::keyed::Shape::update($update);
                let state = shape.state(config, $crate::__or!([$($open)?], $crate::Result::<$config>::Ok))?;
                let declared = $crate::transform::declared(&state, $crate::__or!([$($columns)?], |_| ::std::vec::Vec::new()));
                let options = $crate::keyed::Options {
                    version: $crate::__or!([$($version)?], 1),
                    migrates_from: ::std::vec![$($from),*],
                    whole_groups: $crate::__or!([$($whole)?], false),
                    carry: $crate::transform::carry(&state, [$($carry)?]).unwrap_or(false),
                };
                shape.plan(config, keys, inputs, &declared, options)
            }

            fn open(
                config: &str,
                keys: &[$crate::wit::Field],
                inputs: &[::std::vec::Vec<$crate::wit::Field>],
            ) -> $crate::Result<Self> {
                let shape = $crate::keyed::Shape::update($update);
                let state = shape.state(config, $crate::__or!([$($open)?], $crate::Result::<$config>::Ok))?;
                let declared = $crate::transform::declared(&state, $crate::__or!([$($columns)?], |_| ::std::vec::Vec::new()));
                let mut calls = $crate::keyed::Calls::new(declared);
                $crate::keyed::Opened::new(&shape, config, keys, inputs, move |keys| {
                    $crate::keyed::update(&state, keys, &mut calls, $update)
                })
                .map(Self)
            }

            fn process(
                &mut self,
                context: $crate::wit::Context,
                batch: $crate::wit::KeyedBatch,
            ) -> $crate::Result<$crate::wit::Changes> {
                self.0.process(context, batch)
            }

            fn migrate(
                from_version: u32,
                old: &[$crate::wit::Field],
                rows: u32,
                state: ::std::vec::Vec<$crate::wit::Buffers>,
            ) -> $crate::Result<::std::vec::Vec<$crate::wit::Buffers>> {
                let _ = (old, rows, &state);
                match from_version {
                    $($from => {
                        let old = $crate::keyed::old($migrate, old, rows, &state)?;
                        $crate::keyed::migrate($update, &old, $migrate)
                    })*
                    _ => $crate::keyed::no_migration(from_version),
                }
            }
        }

        $crate::__component!(Plugin, keyed, export_keyed_world);
    };
}

/// Makes a plugin of a type that implements [`Sink`](crate::Sink).
#[macro_export]
macro_rules! export_sink {
    ($sink:ty $(,)?) => {
        /// The plugin that this crate is.
        pub type Plugin = $sink;

        $crate::__component!($crate::sink::Opened<Plugin>, sink, export_sink_world);
    };
}

/// The exports of a component around `Plugin`.
#[doc(hidden)]
#[macro_export]
macro_rules! __component {
    ($open:ty, $world:ident, $export:ident) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static OPEN: $crate::guest::Slot<$open> = const { $crate::guest::Slot::new(None) };
            }

            impl $crate::guest::Exported for Plugin {
                type Open = $open;

                fn slot() -> &'static ::std::thread::LocalKey<$crate::guest::Slot<Self::Open>> {
                    &OPEN
                }
            }

            type Exports = $crate::guest::Exports<Plugin>;
    $crate::bindings::$world::$export!(Exports with_types_in $crate::bindings::$world);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __or {
    ([], $default:expr) => {
        $default
    };
    ([$given:expr], $default:expr) => {
        $given
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __given {
    () => {
        false
    };
    ($given:expr) => {
        true
    };
}
