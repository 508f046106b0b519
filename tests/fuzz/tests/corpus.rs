//! Replays every kept input.

use std::fs;
use std::path::Path;

#[test]
fn what_is_kept_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, run) in rewire_fuzz::TARGETS {
        let (mut accepted, mut refused) = (0, 0);
        for file in fs::read_dir(corpus.join(name)).expect("each target has a corpus") {
            let path = file.expect("the corpus can be read").path();
            let bytes = fs::read(&path).expect("the corpus can be read");
            let taken = run(&bytes);
            let file_name = path.file_name().unwrap_or_default().to_string_lossy();
            if file_name.starts_with("good") {
                assert!(taken, "{name}: {file_name} was refused");
            }
            if file_name.starts_with("bad") {
                assert!(!taken, "{name}: {file_name} was accepted");
            }
            *(if taken { &mut accepted } else { &mut refused }) += 1;
        }
        assert!(
            accepted > 0 && refused > 0,
            "{name}: {accepted} accepted, {refused} refused"
        );
    }
}
