//! `jobs.csv`, read back.

use std::collections::BTreeMap;

use crate::main_job::run::Sandbox;

/// A job by column.
pub type Job = BTreeMap<String, String>;

/// The jobs of a study, best first. Their cells hold no commas in these tests, but for the reason, which is the last.
pub fn jobs(sandbox: &Sandbox, study: &str) -> Vec<Job> {
    let text = sandbox.text(&format!("{study}/jobs.csv"));
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        let cells = line.splitn(header.len(), ',').map(str::to_string);
        header
            .iter()
            .map(|name| name.to_string())
            .zip(cells)
            .collect()
    };
    lines.map(row).collect()
}

/// What is the same whenever and however fast a study runs: names, values, statuses and objectives.
pub fn lasting(sandbox: &Sandbox, study: &str) -> Vec<Job> {
    let mut jobs = jobs(sandbox, study);
    for job in &mut jobs {
        job.retain(|column, _| !column.contains("Time"));
        let name = job["TrainingJobName"].replace(&format!("{study}-"), "");
        job.insert("TrainingJobName".into(), name);
    }
    jobs
}

/// How many trials of a study said `words`, and how often in all.
pub fn said(sandbox: &Sandbox, study: &str, words: &str) -> usize {
    let trials = sandbox.list(&format!("{study}/trials"));
    let logs = trials
        .iter()
        .map(|trial| sandbox.text(&format!("{study}/trials/{trial}/log.txt")));
    logs.map(|log| log.matches(words).count()).sum()
}
