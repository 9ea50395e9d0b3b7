//! Serves the plugin, or evaluates for one that does.

use nu_plugin::{MsgPackSerializer, serve_plugin};
use nu_plugin_provision::ProvisionPlugin;

/// Many threads come and go with every apply; the system's allocator keeps a store of its own for each of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    provision_nickel::serve_or_continue();
    serve_plugin(&ProvisionPlugin::default(), MsgPackSerializer);
}
