//! Serves the plugin, or evaluates for one that does.

use nu_plugin_provision::{RustProviders, serve};

/// Many threads come and go with every apply; the system's allocator keeps a store of its own for each of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    serve(RustProviders::default());
}
