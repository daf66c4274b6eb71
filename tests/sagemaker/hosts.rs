//! Several hosts: one trains, and data that are sharded between them are not trained on by accident.

use serde_json::json;

use super::job::Job;
use crate::main_job::run::finish;

fn two_hosts(job: &Job, current: &str) {
    job.config(
        "resourceconfig.json",
        &json!({
            "current_host": current, "current_instance_type": "ml.m5.large", "current_group_name": "homogeneousCluster",
            "hosts": ["algo-2", "algo-1"], "network_interface_name": "eth0",
            "instance_groups": [{"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large",
                                 "hosts": ["algo-2", "algo-1"]}],
        }),
    );
}

#[test]
fn the_first_host_trains_and_the_others_leave_at_once() {
    let job = Job::new();
    two_hosts(&job, "algo-2");
    let ended = job.run().succeeded();
    assert_eq!(ended.stdout, "", "metrics come from one host only");
    assert!(
        ended.stderr.contains("host algo-2 has nothing to do"),
        "{}",
        ended.stderr
    );
    assert!(!job.at("model").exists() && !job.at("checkpoints").exists());
    two_hosts(&job, "algo-1");
    let ended = job.run().succeeded();
    assert_eq!(ended.epochs().len(), 2);
    assert!(
        ended.stderr.contains("host algo-1 (1 of 2), ml.m5.large"),
        "{}",
        ended.stderr
    );
}

fn sharded(job: &Job) {
    let shard = json!({"TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"});
    job.config(
        "inputdataconfig.json",
        &json!({"train": shard, "validation": shard, "weights": {}, "classes": {}}),
    );
}

#[test]
fn a_shard_needs_a_list_of_all_classes() {
    let job = Job::new();
    sharded(&job);
    two_hosts(&job, "algo-1");
    // What this host holds: one class less than there are.
    for channel in ["train", "validation"] {
        std::fs::remove_dir_all(job.at(&format!("input/data/{channel}/10.ant"))).unwrap();
    }
    let folder = job.at("input/data/classes");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("classes.txt"), "2.bee\n10.ant\nwild cat\n").unwrap();
    let ended = job.run().succeeded();
    assert!(ended.stderr.contains("\"10.ant\""), "{}", ended.stderr);
    let manifest = std::fs::read(job.at("model/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["classes"], json!(["2.bee", "10.ant", "wild cat"]));

    job.channels(&["train", "validation", "weights"]);
    let shard = json!({"S3DistributionType": "ShardedByS3Key"});
    job.config(
        "inputdataconfig.json",
        &json!({"train": shard, "validation": shard, "weights": {}}),
    );
    job.fails(&["sharded by S3 key", "FullyReplicated", "classes"]);
    std::fs::remove_dir_all(job.at("checkpoints")).unwrap();
    let classes = r#"["2.bee", "10.ant", "wild cat"]"#;
    finish(job.command(&["--classes", classes])).succeeded();
}
