//! Owns running every example of every command.

use nu_plugin::Plugin;
use nu_plugin_policy::PolicyPlugin;
use nu_plugin_test_support::PluginTest;

#[test]
fn every_command_has_an_example_and_those_with_a_result_give_it() {
    let mut test = PluginTest::new("policy", PolicyPlugin::default().into()).unwrap();
    let here = std::env::current_dir().unwrap().display().to_string();
    test.engine_state_mut().add_env_var("PWD".to_owned(), nu_protocol::Value::test_string(here));
    for command in PolicyPlugin::default().commands() {
        assert!(!command.examples().is_empty(), "{} has no example", command.name());
        assert!(!command.search_terms().is_empty() && command.description().ends_with('.'), "{}", command.name());
        test.test_examples(&command.examples()).unwrap();
    }
}
