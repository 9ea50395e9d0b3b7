//! Owns the line on the terminal that says what is going on, drawn from the first tenth of a second on; none in a pipe.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(100);

/// A bar on standard error that moves by itself; hidden where nobody looks.
pub fn bar(quiet: bool, template: &str, message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if quiet || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        return bar;
    }
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(message);
    bar.enable_steady_tick(TICK);
    bar
}

/// A line on standard error. A shell that is being edited has its terminal in raw mode, where a line feed alone does
/// not go back to the left.
pub fn say(line: &str) {
    let end = if std::io::stderr().is_terminal() { "\r\n" } else { "\n" };
    eprint!("provision: {line}{end}");
}

/// Says what is going on as long as it is kept.
pub struct Busy(ProgressBar);

impl Busy {
    pub fn with(message: &'static str) -> Self {
        Self(bar(false, "{spinner} {msg} {elapsed}", message))
    }

    /// Says something else from now on.
    pub fn say(&self, message: String) {
        self.0.set_message(message);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
