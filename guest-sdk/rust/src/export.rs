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

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static OPEN: $crate::guest::Slot<Plugin> = const { $crate::guest::Slot::new(None) };
            }

            impl $crate::guest::Exported for Plugin {
                type Open = Self;

                fn slot() -> &'static ::std::thread::LocalKey<$crate::guest::Slot<Self>> {
                    &OPEN
                }
            }

            type Exports = $crate::guest::Exports<Plugin>;
            $crate::bindings::transform::export_transform_world!(Exports with_types_in $crate::bindings::transform);
        };
    };
}

/// Makes a plugin of a type that implements [`Sink`](crate::Sink).
#[macro_export]
macro_rules! export_sink {
    ($sink:ty $(,)?) => {
        /// The plugin that this crate is.
        pub type Plugin = $sink;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static OPEN: $crate::guest::Slot<$crate::sink::Opened<Plugin>> = const { $crate::guest::Slot::new(None) };
            }

            impl $crate::guest::Exported for Plugin {
                type Open = $crate::sink::Opened<Self>;

                fn slot() -> &'static ::std::thread::LocalKey<$crate::guest::Slot<Self::Open>> {
                    &OPEN
                }
            }

            type Exports = $crate::guest::Exports<Plugin>;
            $crate::bindings::sink::export_sink_world!(Exports with_types_in $crate::bindings::sink);
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
