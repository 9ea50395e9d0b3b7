//! Serves the plugin `provision` with one provider more. Register it in place of `nu_plugin_provision`.

fn main() {
    nu_plugin_provision::serve(notes::providers());
}
