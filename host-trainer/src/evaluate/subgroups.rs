use std::collections::BTreeMap;

use super::ImageCounts;

/// Fewest images of a subgroup that is reported (design §5.8): below that, an interval says nothing.
pub const SUBGROUP_MIN: usize = 20;

/// First year of each age band after the first.
const AGE_BANDS: [u32; 4] = [18, 40, 60, 80];

/// Images by attribute, named `view=AP`; ages in years fall into bands (`age=40-59`). Left out are groups of
/// fewer than [`SUBGROUP_MIN`] images, and groups of all images, which would repeat the row over all.
pub fn subgroups(images: &[ImageCounts]) -> BTreeMap<String, Vec<&ImageCounts>> {
    let mut groups: BTreeMap<String, Vec<&ImageCounts>> = BTreeMap::new();
    for image in images {
        for (key, value) in &image.attributes {
            let value = value.trim();
            if !value.is_empty() {
                let band = if key.eq_ignore_ascii_case("age") { age_band(value) } else { None };
                groups.entry(format!("{key}={}", band.as_deref().unwrap_or(value))).or_default().push(image);
            }
        }
    }
    groups.retain(|_, group| group.len() >= SUBGROUP_MIN && group.len() < images.len());
    groups
}

/// The band of an age: a number of years, or DICOM's `064Y`. None for anything else.
fn age_band(text: &str) -> Option<String> {
    let years: f64 = text.strip_suffix(['Y', 'y']).unwrap_or(text).parse().ok()?;
    if !(0.0..150.0).contains(&years) {
        return None;
    }
    let from = AGE_BANDS.into_iter().filter(|&first| f64::from(first) <= years).max().unwrap_or(0);
    Some(match AGE_BANDS.into_iter().find(|&first| first > from) {
        Some(next) => format!("{from}-{}", next - 1),
        None => format!("{from}+"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(attributes: &[(&str, &str)]) -> ImageCounts {
        let attributes = attributes.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        ImageCounts { attributes, ..ImageCounts::default() }
    }

    #[test]
    fn small_groups_and_the_whole_are_left_out() {
        let mut images = vec![image(&[("sex", "F"), ("view", "AP"), ("site", "a")]); 20];
        images.extend(vec![image(&[("sex", "M"), ("view", "AP"), ("site", " ")]); 19]);
        let groups = subgroups(&images);
        let sizes: Vec<(&str, usize)> =
            groups.iter().map(|(name, group)| (name.as_str(), group.len())).collect();
        assert_eq!(sizes, [("sex=F", 20), ("site=a", 20)]);
    }

    #[test]
    fn ages_fall_into_bands() {
        let band = |text| age_band(text);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!([band("0"), band("17"), band("18")], [some("0-17"), some("0-17"), some("18-39")]);
        assert_eq!([band("59.5"), band("064Y"), band("80")], [some("40-59"), some("60-79"), some("80+")]);
        assert_eq!([band("old"), band("-1"), band("NaN")], [None, None, None]);
    }
}
