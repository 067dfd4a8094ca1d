//! A check of what pages and plots look like to a parser.

/// Elements of HTML without an end.
const VOID: [&str; 4] = ["meta", "img", "br", "link"];

/// The names of all elements, in order.
///
/// # Panics
/// If an element is not closed in its place, or something refers to the net.
pub(super) fn elements(text: &str) -> Vec<String> {
    for reference in ["src=\"http", "href=", "url(", "@import", "src=\"//"] {
        assert!(!text.contains(reference), "a reference: {reference}");
    }
    let (mut open, mut names) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>').expect("every tag ends") + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with('!') || tag.starts_with('?') {
            continue;
        }
        assert!(!tag.contains('<'), "a bare < before <{tag}>");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "</{name}>");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        let name = tag.split([' ', '/', '\n']).next().unwrap_or_default().to_owned();
        if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            open.push(name.clone());
        }
        names.push(name);
    }
    assert!(open.is_empty(), "left open: {open:?}");
    names
}
