//! Serves the plugin and nothing else.

use nu_plugin::{MsgPackSerializer, serve_plugin};

fn main() {
    serve_plugin(&nu_plugin_nickel::NickelPlugin::default(), MsgPackSerializer);
}
