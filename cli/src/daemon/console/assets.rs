//! The page: files that are part of the program.

use super::http::Answer;

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $content_type:ident $file:literal),+ $(,)?) => {
        /// Path, content type, content.
        const FILES: &[(&str, &str, &[u8])] =
            &[$(($path, $content_type, include_bytes!(concat!("page/", $file)))),+];
    };
}

files! {
    "/" HTML "index.html",
    "/style.css" STYLE "style.css",
    "/icon.svg" IMAGE "icon.svg",
    "/main.js" SCRIPT "main.js",
    "/gateway.js" SCRIPT "gateway.js",
    "/text.js" SCRIPT "text.js",
    "/elements.js" SCRIPT "elements.js",
    "/chart.js" SCRIPT "chart.js",
    "/overview.js" SCRIPT "overview.js",
    "/interfaces.js" SCRIPT "interfaces.js",
    "/drops.js" SCRIPT "drops.js",
    "/connections.js" SCRIPT "connections.js",
    "/revisions.js" SCRIPT "revisions.js",
    "/graph.js" SCRIPT "graph.js",
    "/trace.js" SCRIPT "trace.js",
}

/// The file of this path.
pub(crate) fn find(path: &str) -> Option<Answer> {
    let (_, content_type, content) = FILES.iter().find(|(known, ..)| *known == path)?;
    Some(Answer {
        code: 200,
        content_type,
        body: content.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that the page may take.
    const LARGEST: usize = 150_000;

    #[test]
    fn the_page_is_small() {
        let size: usize = FILES.iter().map(|(.., content)| content.len()).sum();
        assert!(size < LARGEST, "{size} bytes");
    }

    #[test]
    fn every_node_has_a_place_in_the_graph() {
        let script = include_str!("page/graph.js");
        for node in rewire_dataplane::Node::ALL {
            assert!(
                script.contains(&format!("\n  {}: [", node.name())),
                "{}",
                node.name()
            );
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for (path, _, content) in FILES {
            let text = std::str::from_utf8(content).unwrap();
            // Names of XML vocabularies are no addresses.
            let text = text.replace("http://www.w3.org/", "");
            for address in ["http://", "https://", "//cdn", "@import", "data:"] {
                assert!(!text.contains(address), "{path} has {address}");
            }
            for part in text.split("from \"./").skip(1) {
                let file = part.split('"').next().unwrap();
                assert!(find(&format!("/{file}")).is_some(), "{path} imports {file}");
            }
        }
    }
}
