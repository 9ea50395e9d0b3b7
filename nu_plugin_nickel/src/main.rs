//! Serves the plugin, or evaluates for one that does.

use nu_plugin::{MsgPackSerializer, serve_plugin};

fn main() {
    provision_nickel::serve_or_continue();
    let plugin = nu_plugin_nickel::NickelPlugin::default();
    // Without arguments the program shows its help, for which nothing need be warm.
    if std::env::args_os().len() > 1 {
        plugin.warm_up();
    }
    serve_plugin(&plugin, MsgPackSerializer);
}
