//! Every document in `bad/` is refused, and what a person then reads is in `snapshots/`.

use rewire_schema::source;

#[test]
fn bad_documents_get_pointed_errors() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bad");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 20);
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let errors = source::read(name, &std::fs::read(&file).unwrap()).unwrap_err();
        assert!(!errors.is_empty());
        for error in &errors {
            let (line, column) = errors.position(error);
            let place = format!("{name}:{line}:{column}");
            let rendered = errors.to_string();
            assert!(rendered.contains(&place), "{place} is not in\n{rendered}");
        }
        insta::assert_snapshot!(name, errors);
    }
}
