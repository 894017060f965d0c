//! One case: its steps in a row, each answer compared with the recorded one.

mod calls;
mod errno;
pub(crate) mod file;
mod machine;
mod probes;

use file::{Case, Conditions, Step};
use machine::Machine;

/// Replays a case.
///
/// # Errors
/// The first step that was answered differently, or why the case can't be replayed, as a sentence.
pub(crate) fn replay(general: &Conditions, case: &Case) -> Result<(), String> {
    let impossible = |why: String| format!("can't be replayed: {why}");
    let conditions = case.conditions(general).map_err(impossible)?;
    let steps: Result<Vec<_>, _> = case.steps.iter().map(Step::parse).collect();
    let mut machine = Machine::new(&conditions).map_err(impossible)?;
    for (number, (step, recorded)) in steps.map_err(impossible)?.iter().enumerate() {
        let answer = machine.call(step).map_err(impossible)?;
        if answer != *recorded {
            return Err(format!(
                "step {}, {}: the host says {answer}",
                number + 1,
                case.steps[number]
            ));
        }
    }
    Ok(())
}
