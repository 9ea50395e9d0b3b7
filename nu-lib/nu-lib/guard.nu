# Owns the guard: no command of a plugin is run as an external program because the plugin is not loaded.

# Stops with instructions when a plugin's command is not loaded.
export def require-command [command: string]: nothing -> nothing {
    let plugin = $command | split row " " | first
    if (scope commands | where type == plugin and name == $command | is-empty) {
        error make --unspanned {
            msg: $"the plugin `($plugin)` is not loaded, so there is no `($command)`"
            code: "nu_lib::plugin_missing"
            help: $"Run these, then load nu-lib again:\n  plugin add /path/to/nu_plugin_($plugin)\n  plugin use ($plugin)"
        }
    }
}
