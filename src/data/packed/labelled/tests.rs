//! Lists of classes from labels, and labels against lists of classes.

use super::*;

fn images(labels: &[(&str, Label)]) -> LabelledImages {
    let image = |(path, label): &(&str, Label)| Labelled {
        path: Path::new("/data").join(path),
        part: None,
        label: label.clone(),
    };
    LabelledImages {
        root: "/data".into(),
        images: labels.iter().map(image).collect(),
        names: None,
    }
}

fn name(text: &str) -> Label {
    Label::Name(text.into())
}

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn refused(images: LabelledImages, classes: &[&str]) -> String {
    images.into_folder(&list(classes)).unwrap_err().to_string()
}

#[test]
fn classes_come_from_the_first_that_knows() {
    let mut some = images(&[("a", Label::Index(2)), ("b", Label::Index(0))]);
    assert_eq!(some.classes(None).unwrap(), ["0", "1", "2"]);
    some.names = Some(list(&["x", "y", "z"]));
    assert_eq!(some.classes(None).unwrap(), ["x", "y", "z"]);
    let given = list(&["p", "q", "r"]);
    assert_eq!(some.classes(Some(&given)).unwrap(), given);
    let named = images(&[
        ("a", name("10.dog")),
        ("b", name("9.cat")),
        ("c", name("9.cat")),
    ]);
    assert_eq!(named.classes(None).unwrap(), ["9.cat", "10.dog"]);
}

#[test]
fn lists_of_classes_that_cannot_be() {
    let some = images(&[("a", Label::Index(2_000_000))]);
    assert_eq!(
        some.classes(None).unwrap_err().to_string(),
        "label 2000000 of /data/a would need more than the limit of 100000 classes; number the classes 0, 1, 2"
    );
    assert_eq!(
        some.classes(Some(&list(&["a", "b", "a"])))
            .unwrap_err()
            .to_string(),
        "class \"a\" is given twice; name each class once, in the order of the labels"
    );
}

#[test]
fn a_folder_is_grouped_by_class_and_in_natural_order() {
    let some = images(&[
        ("b/10.png", name("dog")),
        ("b.x/1.png", name("dog")),
        ("b/9.png", name("dog")),
        ("z.png", name("cat")),
    ]);
    let folder = some.into_folder(&list(&["cat", "dog", "fox"])).unwrap();
    let found: Vec<(usize, &str)> = folder
        .samples
        .iter()
        .map(|s| {
            (
                s.class,
                s.path.strip_prefix("/data").unwrap().to_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (0, "z.png"),
            (1, "b/9.png"),
            (1, "b/10.png"),
            (1, "b.x/1.png")
        ]
    );
    assert_eq!(folder.missing_classes(), ["fox"]);
    assert_eq!(folder.root, Path::new("/data"));
}

#[test]
fn labels_outside_the_list_name_the_image() {
    assert_eq!(
        refused(images(&[("a", Label::Index(2))]), &["x", "y"]),
        "label 2 of /data/a is not an index of one of the 2 classes (0 to 1); correct the label or the list of classes"
    );
    assert_eq!(
        refused(images(&[("a", name("dgo"))]), &["cat", "dog"]),
        "label \"dgo\" of /data/a is not one of the 2 classes; correct the label or the list of classes"
    );
    assert!(images(&[("a", Label::Index(0))]).into_folder(&[]).is_err());
}

#[test]
fn numbers_that_could_mean_two_classes_are_refused() {
    // Validation images whose labels happen to be numbers, against training labels that are not.
    assert_eq!(
        refused(images(&[("a", Label::Index(1))]), &["1", "2", "other"]),
        "label 1 of /data/a is the index of class \"2\" but also the name of another class; use names that are not numbers, \
         or number the classes from 0"
    );
    let mut shifted = images(&[("a", Label::Index(0))]);
    shifted.names = Some(list(&["dog"]));
    assert_eq!(
        refused(shifted.clone(), &["cat", "dog"]),
        "label 0 means \"dog\" in /data but \"cat\" in the list of classes, where \"dog\" has another index; make all lists \
         of images with the same numbers"
    );
    let others = list(&["Hund", "Katze"]);
    assert_eq!(shifted.into_folder(&others).unwrap().samples[0].class, 0);
}
