use super::*;

fn read(config: &str, environment: Environment) -> Result<Channels, JobError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("input/config")).unwrap();
    std::fs::write(dir.path().join("input/config/inputdataconfig.json"), config).unwrap();
    Channels::read(&Paths::below(dir.path(), &environment), &environment)
}

#[test]
fn what_the_platform_writes_is_read() {
    let config = r#"{
        "training": {"ContentType": "application/x-image", "TrainingInputMode": "FastFile",
                     "S3DistributionType": "ShardedByS3Key", "RecordWrapperType": "None"},
        "val": {"TrainingInputMode": "Pipe", "RecordWrapperType": "RecordIO", "ContentType": null},
        "test": {}, "model": null, "weights": {"ContentType": "application/x-onnx", "NewKey": 3}
    }"#;
    let channels = read(config, Environment::default()).unwrap();
    let train = channels.train().unwrap();
    assert_eq!(
        (train.mode, train.distribution, train.wrapper),
        (
            InputMode::FastFile,
            Distribution::ShardedByS3Key,
            RecordWrapper::None
        )
    );
    assert!(train.path.ends_with("input/data/training"));
    let valid = channels.valid().unwrap();
    assert_eq!(
        (valid.mode, valid.wrapper),
        (InputMode::Pipe, RecordWrapper::RecordIo)
    );
    assert!(valid.path.ends_with("input/data/val_0"));
    assert_eq!(channels.test().unwrap().mode, InputMode::File);
    assert!(channels.model().is_some() && channels.weights().is_some());
    assert!(channels.classes().is_none());
}

#[test]
fn the_environment_moves_a_channel_and_stands_in_for_a_missing_file() {
    let environment = Environment::of([("SM_CHANNEL_TRAIN", "/photos")]);
    let channels = read(r#"{"train": {}}"#, environment.clone()).unwrap();
    assert_eq!(channels.train().unwrap().path, PathBuf::from("/photos"));
    let channels = read("", environment).unwrap();
    assert_eq!(channels.train().unwrap().path, PathBuf::from("/photos"));
}

#[test]
fn a_single_channel_is_the_training_data_whatever_its_name() {
    let channels = read(r#"{"dogs": {}}"#, Environment::default()).unwrap();
    assert_eq!(channels.train().unwrap().name, "dogs");
    let channels = read(r#"{"dogs": {}, "cats": {}}"#, Environment::default()).unwrap();
    let error = channels.require_train().unwrap_err().to_string();
    assert!(
        error.contains("dogs, cats") && error.contains("`training`"),
        "{error}"
    );
    let error = read("{}", Environment::default()).unwrap();
    let error = error.require_train().unwrap_err().to_string();
    assert!(error.contains("no channel at all"), "{error}");
}

#[test]
fn two_channels_for_one_purpose_are_named() {
    let error = read(
        r#"{"val": {}, "validation": {}, "train": {}}"#,
        Environment::default(),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("`val`") && error.contains("`validation`"),
        "{error}"
    );
}

#[test]
fn damaged_files_are_named() {
    for config in ["[1]", "{", r#"{"train": 3}"#] {
        let error = read(config, Environment::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("inputdataconfig.json"), "{config}: {error}");
    }
}

#[test]
fn the_only_file_of_a_channel_is_found_or_the_reason_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut channel = Channel {
        name: "weights".into(),
        path: dir.path().join("nowhere"),
        mode: InputMode::File,
        distribution: Distribution::FullyReplicated,
        wrapper: RecordWrapper::None,
    };
    let said = |channel: &Channel| channel.only_file(&[".onnx"]).unwrap_err().to_string();
    assert!(said(&channel).contains("nowhere does not exist"));
    channel.path = dir.path().to_owned();
    std::fs::write(dir.path().join(".hidden.onnx"), "").unwrap();
    std::fs::write(dir.path().join("readme.txt"), "").unwrap();
    assert!(said(&channel).contains("expected one .onnx file, found none"));
    std::fs::write(dir.path().join("a.ONNX"), "").unwrap();
    assert!(channel.only_file(&[".onnx"]).unwrap().ends_with("a.ONNX"));
    std::fs::write(dir.path().join("b.onnx"), "").unwrap();
    assert!(said(&channel).contains("a.ONNX and"));
}
