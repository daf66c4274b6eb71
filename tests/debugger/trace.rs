//! Runs with rules, and what became of them.
//!
//! Input: options of a training. Output: [`Found`].

use serde_json::Value;

use crate::main_job::run::Sandbox;

/// A rule's outcome as `rules.json` has it.
#[derive(Debug)]
pub struct Found {
    pub status: String,
    pub finding: String,
    pub advice: String,
    pub step: Option<u64>,
}

/// The outcome of the only rule of a list.
pub fn only(outcomes: &Value) -> Found {
    let outcomes = outcomes.as_array().unwrap();
    assert_eq!(outcomes.len(), 1, "{outcomes:#?}");
    let text = |key: &str| outcomes[0][key].as_str().unwrap().to_string();
    Found {
        status: text("status"),
        finding: text("finding"),
        advice: text("advice"),
        step: outcomes[0]["step"].as_u64(),
    }
}

/// Trains with one rule, however that ends, and says what it found while training.
pub fn live(sandbox: &Sandbox, run: &str, rule: &str, options: &str) -> Found {
    // Every step is looked at: these runs have few.
    let options = format!("{options} --rules {rule} --debugger-save-interval 1");
    let ended = sandbox.train(run, &options);
    assert!(!ended.stderr.contains("panicked"), "{ended:#?}");
    let found = only(&sandbox.json(&format!("{run}/rules.json")));
    let name = rule.split(':').next().unwrap();
    let said = ended.stderr.contains(&format!("rule {name}"));
    assert_eq!(said, found.status == "IssuesFound", "{ended:#?}");
    found
}

/// What `rules` says of a stored run.
pub fn stored(sandbox: &Sandbox, run: &str, rule: &str) -> Found {
    let ended = sandbox.run(&["rules", run, "--rules", rule, "--json"]);
    let found = only(&serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:#?}")));
    let code = i32::from(found.status == "IssuesFound");
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    found
}

impl Found {
    /// Fails the test unless the rule has fired and its finding says each of `parts`.
    pub fn fired(self, parts: &[&str]) -> Self {
        assert_eq!(self.status, "IssuesFound", "{self:#?}");
        for part in parts {
            assert!(self.finding.contains(part), "{part:?} in {self:#?}");
        }
        assert!(!self.advice.is_empty());
        self
    }

    /// Fails the test unless the rule looked and found nothing.
    pub fn silent(self) -> Self {
        assert_eq!(self.status, "NoIssuesFound", "{self:#?}");
        self
    }
}
