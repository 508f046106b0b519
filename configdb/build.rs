//! The migrations are embedded: their list is made of the folders in `schema/migrations`.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=../schema/migrations");
    let folder = Path::new("../schema/migrations").canonicalize()?;
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut list = String::from("&[\n");
    for name in names {
        // The number comes first: 0002_store.
        let number: u32 = name
            .split('_')
            .next()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| io::Error::other(format!("{name} is not numbered")))?;
        let file = folder.join(&name).join("up.sql");
        list.push_str(&format!("    ({number}, include_str!({file:?})),\n"));
    }
    list.push(']');
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("there is no OUT_DIR"))?;
    fs::write(Path::new(&out).join("migrations.rs"), list)
}
