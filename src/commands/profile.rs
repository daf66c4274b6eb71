//! `profile`: where the time of a stored run went.

use super::{CommandError, say_line};
use crate::cli::ProfileArgs;
use crate::profiler::{Summary, read, write_reports};
use crate::run_folder::PROFILER;

pub fn run(args: &ProfileArgs) -> Result<(), CommandError> {
    // A run folder stands for the profile in it.
    let inside = args.run.join(PROFILER);
    let root = if inside.is_dir() {
        inside
    } else {
        args.run.clone()
    };
    let summary = Summary::of(&read(&root)?);
    if let Err(error) = write_reports(&root, &summary.rules) {
        // What was downloaded may lie where nothing can be written.
        tracing::warn!("{}: {error}; the reports are only shown", root.display());
    }
    match args.json {
        true => say_line(format_args!("{}", serde_json::to_string_pretty(&summary)?))?,
        false => print(&summary)?,
    }
    Ok(())
}

fn print(summary: &Summary) -> std::io::Result<()> {
    say_line(format_args!("{}\n", summary.sentence))?;
    let width = |names: &mut dyn Iterator<Item = usize>| names.max().unwrap_or(0);
    let wide = width(&mut summary.phases.iter().map(|phase| phase.name.len()));
    say_line(format_args!(
        "{:wide$}  {:>7}  {:>8}  {:>9}  {:>9}  {:>9}  {:>6}",
        "phase", "count", "total s", "mean ms", "p50 ms", "p95 ms", "share"
    ))?;
    for phase in &summary.phases {
        say_line(format_args!(
            "{:wide$}  {:>7}  {:>8.1}  {:>9.2}  {:>9.2}  {:>9.2}  {:>4.0} %",
            phase.name,
            phase.count,
            phase.seconds,
            phase.mean_ms,
            phase.p50_ms,
            phase.p95_ms,
            100.0 * phase.share
        ))?;
    }
    say_line(format_args!(""))?;
    let wide = width(&mut summary.rules.iter().map(|rule| rule.rule.len()));
    for rule in &summary.rules {
        let result = if rule.triggered { "FOUND" } else { "fine" };
        let result = if rule.datapoints == 0 { "-" } else { result };
        say_line(format_args!(
            "{:wide$}  {result:5}  {}",
            rule.rule, rule.finding
        ))?;
        if rule.triggered {
            say_line(format_args!(
                "{:wide$}         what to do: {}",
                "", rule.advice
            ))?;
        }
    }
    Ok(())
}
