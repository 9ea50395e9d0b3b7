//! Serves the plugin, or evaluates for one that does.

use nu_plugin::{MsgPackSerializer, serve_plugin};

fn main() {
    provision_nickel::serve_or_continue();
    serve_plugin(&nu_plugin_policy::PolicyPlugin::default(), MsgPackSerializer);
}
