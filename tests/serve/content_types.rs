//! T11: one picture, in every form in which it can be sent, has the same probabilities.

use base64::Engine as _;
use sagemaker_burn::data::{DecodeLimits, Preprocess, decode_bytes};
use sagemaker_burn::feed::normalised;
use serde_json::json;

use super::arrays::{channels_first, f4, f8, fortran, npy};
use super::server::{Server, trained};

const SIDE: usize = 32;

fn same(expected: &[f32], found: &[f32], what: &str) {
    assert_eq!(expected.len(), found.len(), "{what}");
    for (a, b) in expected.iter().zip(found) {
        assert!((a - b).abs() < 1e-5, "{what}: {expected:?} {found:?}");
    }
}

#[test]
fn every_form_of_a_picture_has_the_same_probabilities() {
    let server = Server::start();
    let file = trained().read("data/test/2.bee/0.jpg");
    let expected = server.invoke("image/jpeg", &file).ok().probabilities();
    assert_eq!(expected.len(), 3);
    assert!((expected.iter().sum::<f32>() - 1.0).abs() < 1e-5);

    let image = decode_bytes(&file, &DecodeLimits::default()).unwrap();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    for kind in [
        "image/png",
        "application/x-image",
        "application/octet-stream",
        "IMAGE/JPEG; q=1",
        "",
    ] {
        let found = server.invoke(kind, png.get_ref()).ok().probabilities();
        same(&expected, &found, kind);
    }

    let pixels = image.as_raw();
    let preprocess = Preprocess::imagenet(SIDE as u32);
    let tensor = normalised(&preprocess.apply(&image), &preprocess);
    let first = channels_first(&tensor);
    let hwc = [height, width, 3];
    let chw = [3, SIDE, SIDE];
    let wide: Vec<u8> = pixels
        .iter()
        .flat_map(|b| i64::from(*b).to_le_bytes())
        .collect();
    let arrays = [
        ("u1 HWC", npy("|u1", false, &hwc, pixels)),
        (
            "u1 CHW",
            npy("|u1", false, &[3, height, width], &channels_first(pixels)),
        ),
        ("i8 HWC", npy("<i8", false, &hwc, &wide)),
        ("u1 F order", npy("|u1", true, &hwc, &fortran(pixels, &hwc))),
        ("f4 CHW", npy("<f4", false, &chw, &f4(&first))),
        ("f4 HWC", npy("<f4", false, &[SIDE, SIDE, 3], &f4(&tensor))),
        ("f8 CHW", npy("<f8", false, &chw, &f8(&first))),
        (
            "f8 F order",
            npy("<f8", true, &chw, &f8(&fortran(&first, &chw))),
        ),
    ];
    for (what, array) in &arrays {
        let found = server
            .invoke("application/x-npy", array)
            .ok()
            .probabilities();
        same(&expected, &found, what);
        let sniffed = server
            .invoke("application/octet-stream", array)
            .ok()
            .probabilities();
        same(&expected, &sniffed, what);
    }

    let list: Vec<Vec<Vec<u8>>> = pixels
        .chunks(width * 3)
        .map(|row| row.chunks(3).map(<[u8]>::to_vec).collect())
        .collect();
    let text = base64::engine::general_purpose::STANDARD.encode(&file);
    for body in [json!(list), json!({ "image_b64": text })] {
        let found = server
            .invoke("application/json", body.to_string().as_bytes())
            .ok();
        same(&expected, &found.probabilities(), "json");
    }
    let line: Vec<String> = first.iter().map(f32::to_string).collect();
    let found = server.invoke("text/csv", line.join(",").as_bytes()).ok();
    same(&expected, &found.probabilities(), "csv");
}

#[test]
fn several_pictures_keep_their_order_and_their_nesting() {
    let server = Server::start();
    let files = ["2.bee", "10.ant", "wild cat"]
        .map(|class| trained().read(&format!("data/test/{class}/0.jpg")));
    let single: Vec<Vec<f32>> = files
        .iter()
        .map(|file| server.invoke("image/jpeg", file).ok().probabilities())
        .collect();
    let texts = files.map(|file| base64::engine::general_purpose::STANDARD.encode(file));
    let instances = json!({"instances": texts.iter().map(|text| json!({"image_b64": text})).collect::<Vec<_>>()});
    let answer = server
        .invoke("application/json", instances.to_string().as_bytes())
        .ok()
        .json();
    let rows: Vec<Vec<f32>> = serde_json::from_value(answer["predictions"].clone()).unwrap();
    assert_eq!(rows.len(), 3);
    for (row, expected) in rows.iter().zip(&single) {
        same(expected, row, "instances");
    }
    // The best class of a row is that of the picture, whatever the company.
    let best = |row: &[f32]| (0..3).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    assert_ne!(best(&rows[0]), best(&rows[2]));

    let image = decode_bytes(
        &trained().read("data/test/2.bee/0.jpg"),
        &DecodeLimits::default(),
    )
    .unwrap();
    let shape = [2, image.height() as usize, image.width() as usize, 3];
    let twice = [image.as_raw().as_slice(), image.as_raw()].concat();
    let answer = server
        .invoke("application/x-npy", &npy("|u1", false, &shape, &twice))
        .ok();
    let rows: Vec<Vec<f32>> = serde_json::from_slice(&answer.body).unwrap();
    same(&single[0], &rows[0], "batch");
    same(&single[0], &rows[1], "batch");
}
