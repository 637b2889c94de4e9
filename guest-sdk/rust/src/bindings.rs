//! What wit-bindgen makes of `wit/`: the raw contract, one module a world. Plugins use the typed layer above it.

#![expect(
    missing_docs,
    reason = "generated code; the WIT files hold the documentation"
)]

/// World `transform-plugin`.
pub mod transform {
    wit_bindgen::generate!({
        world: "transform-plugin",
        path: "../../wit",
        pub_export_macro: true,
        export_macro_name: "export_transform_world",
        default_bindings_module: "wasmill_sdk::bindings::transform",
        generate_all,
    });
}

/// World `reducer-plugin`; its types are those of [`transform`].
pub mod reducer {
    wit_bindgen::generate!({
        world: "reducer-plugin",
        path: "../../wit",
        pub_export_macro: true,
        export_macro_name: "export_reducer_world",
        default_bindings_module: "wasmill_sdk::bindings::reducer",
        with: {
            "wasmill:plugin/types@0.1.0": crate::bindings::transform::wasmill::plugin::types,
            "wasmill:plugin/host@0.1.0": crate::bindings::transform::wasmill::plugin::host,
        },
    });
}

/// World `keyed-plugin`; its types are those of [`transform`].
pub mod keyed {
    wit_bindgen::generate!({
        world: "keyed-plugin",
        path: "../../wit",
        pub_export_macro: true,
        export_macro_name: "export_keyed_world",
        default_bindings_module: "wasmill_sdk::bindings::keyed",
        with: {
            "wasmill:plugin/types@0.1.0": crate::bindings::transform::wasmill::plugin::types,
            "wasmill:plugin/host@0.1.0": crate::bindings::transform::wasmill::plugin::host,
        },
    });
}

/// World `sink-plugin`; its types are those of [`transform`].
pub mod sink {
    wit_bindgen::generate!({
        world: "sink-plugin",
        path: "../../wit",
        pub_export_macro: true,
        export_macro_name: "export_sink_world",
        default_bindings_module: "wasmill_sdk::bindings::sink",
        with: {
            "wasmill:plugin/types@0.1.0": crate::bindings::transform::wasmill::plugin::types,
            "wasmill:plugin/host@0.1.0": crate::bindings::transform::wasmill::plugin::host,
        },
    });
}

/// The part of WASI that the HTTP client uses.
#[cfg(all(feature = "http", target_arch = "wasm32"))]
pub mod http {
    wit_bindgen::generate!({
        inline: "
            package wasmill:sdk;
            world http-client {
                import wasi:http/outgoing-handler@0.2.12;
            }
        ",
        path: "../../wit",
        world: "wasmill:sdk/http-client",
        generate_all,
    });
}
