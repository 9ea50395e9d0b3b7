//! Serves the plugin and nothing else.

use nu_plugin::{MsgPackSerializer, serve_plugin};
use nu_plugin_provision::ProvisionPlugin;

fn main() {
    serve_plugin(&ProvisionPlugin::default(), MsgPackSerializer);
}
