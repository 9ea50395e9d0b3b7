//! Serves the plugin, or evaluates for one that does.

use nu_plugin::{MsgPackSerializer, serve_plugin};
use nu_plugin_provision::ProvisionPlugin;

fn main() {
    provision_nickel::serve_or_continue();
    serve_plugin(&ProvisionPlugin::default(), MsgPackSerializer);
}
