//! A page about predictions: each photo, what it was taken for, where that was seen, and real members of the classes in question.
//!
//! Input: [`Predictions`]. Output: a whole HTML document.

use super::diagrams;
use super::gallery::{Picture, gallery, large_gallery};
use super::html::{Html, bars, section};
use super::page::{document, heading};

/// Photos and what a model says of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    /// Such as the model's path.
    pub model: String,
    pub created: String,
    /// Names in the order of the outputs.
    pub classes: Vec<String>,
    pub photos: Vec<Photo>,
}

/// A photo.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Photo {
    pub name: String,
    /// As the network saw it, and with what it looked at; none where the photo could not be read.
    pub pictures: Vec<Picture>,
    /// Of each class.
    pub probabilities: Vec<f32>,
    /// The class and its example photos, for the best and the second-best class.
    pub examples: Vec<(String, Vec<Picture>)>,
    /// Why there is nothing.
    pub error: Option<String>,
}

/// Classes that get a bar.
const BARS: usize = 10;

/// The document.
pub(super) fn render(page: &Predictions) -> String {
    let title = match page.photos.as_slice() {
        [one] => format!("What the model sees in {}", one.name),
        many => format!("What the model sees in {} photos", many.len()),
    };
    let note = format!("{}, {}", page.model, page.created);
    let photos: Html = page
        .photos
        .iter()
        .map(|photo| section(&photo.name, of_photo(photo, &page.classes)))
        .collect();
    document(&title, heading(&title, &note, Vec::new()).and(photos))
}

fn of_photo(photo: &Photo, classes: &[String]) -> Html {
    if let Some(error) = &photo.error {
        return Html::text(error).within("p");
    }
    let probabilities = photo.probabilities.iter().map(|p| f64::from(*p));
    let mut ranked: Vec<(&String, f64)> = classes.iter().zip(probabilities).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let sorted: Vec<f64> = ranked.iter().map(|(_, probability)| *probability).collect();
    ranked.truncate(BARS);
    let examples: Html = photo
        .examples
        .iter()
        .map(|(class, pictures)| {
            let title = Html::text(&format!("Photos of {class} from the training set"))
                .within("p class=\"note\"");
            title.and(gallery(pictures))
        })
        .collect();
    large_gallery(&photo.pictures)
        .and(bars(ranked))
        .and(diagrams::distribution(&sorted).within("div class=\"charts\""))
        .and(examples)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Predictions {
        Predictions {
            model: "runs/train-1".into(),
            created: "2026-01-02".into(),
            classes: vec!["ant".into(), "<bee>".into()],
            photos: vec![
                Photo {
                    name: "a \"photo\".jpg".into(),
                    pictures: vec![Picture::default()],
                    probabilities: vec![0.25, 0.75],
                    examples: vec![("<bee>".into(), vec![Picture::default()])],
                    error: None,
                },
                Photo {
                    name: "broken.jpg".into(),
                    error: Some("cut off".into()),
                    ..Default::default()
                },
            ],
        }
    }

    #[test]
    fn the_most_probable_class_comes_first_and_names_are_escaped() {
        let html = render(&page());
        let (bee, ant) = (
            html.find("<dt>&lt;bee&gt;").unwrap(),
            html.find("<dt>ant").unwrap(),
        );
        assert!(bee < ant);
        assert!(html.contains("width:75.0%") && html.contains("75.0 %"));
        assert!(html.contains("cut off") && html.contains("a &quot;photo&quot;.jpg"));
        assert!(!html.contains("<bee>") && !html.contains("<script"));
    }
}
