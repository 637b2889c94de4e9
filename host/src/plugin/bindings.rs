//! Generated from `wit/`: one binding for all worlds, so that their shared types exist once.
//!
//! What a step calls is called synchronously, inline in a worker. Sinks are called on a fiber, so that the host can give up
//! on a call that is blocked in the host itself (an HTTP server that never answers).

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package wasmill:host;
        world every-world {
            import wasmill:plugin/host@0.1.0;
            export wasmill:plugin/transform@0.1.0;
            export wasmill:plugin/reducer@0.1.0;
            export wasmill:plugin/keyed@0.1.0;
            export wasmill:plugin/sink@0.1.0;
        }
    ",
    world: "wasmill:host/every-world",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { default: trappable },
    exports: {
        "wasmill:plugin/sink@0.1.0": async,
    },
});
