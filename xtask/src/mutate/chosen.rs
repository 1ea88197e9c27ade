
/// Added to the copy of this file by the mutation runner; not part of Umbra.
///
/// `UMBRA_MUTANT=12=Relaxed,40` weakens the ordering at site 12 and throws
/// switch 40; `UMBRA_HITS=FILE` writes down which sites are reached;
/// `UMBRA_STEPS=1` prints each site as it is passed.
pub mod mutant {
    extern crate std;

    use std::io::Write as _;
    use std::string::String;
    use std::sync::{Mutex, OnceLock};
    use std::vec::Vec;

    use super::Ordering;

    struct Chosen {
        mutants: Vec<(u32, Option<Ordering>)>,
        steps: bool,
        hits: Option<Mutex<(std::fs::File, Vec<bool>)>>,
    }

    fn chosen() -> &'static Chosen {
        static CHOSEN: OnceLock<Chosen> = OnceLock::new();
        CHOSEN.get_or_init(|| Chosen {
            mutants: std::env::var("UMBRA_MUTANT")
                .unwrap_or_default()
                .split(',')
                .filter(|m| !m.is_empty())
                .map(parse)
                .collect(),
            steps: std::env::var_os("UMBRA_STEPS").is_some(),
            hits: std::env::var_os("UMBRA_HITS").map(|path| {
                let file = std::fs::File::create(path).expect("the folder of hits is there");
                Mutex::new((file, Vec::new()))
            }),
        })
    }

    fn parse(text: &str) -> (u32, Option<Ordering>) {
        let (id, order) = match text.split_once('=') {
            Some((id, order)) => (id, Some(order)),
            None => (text, None),
        };
        let order = order.map(|order| match order {
            "Relaxed" => Ordering::Relaxed,
            "Acquire" => Ordering::Acquire,
            "Release" => Ordering::Release,
            "AcqRel" => Ordering::AcqRel,
            "SeqCst" => Ordering::SeqCst,
            other => panic!("no ordering is called {other}"),
        });
        (id.parse().expect("a mutant is a number"), order)
    }

    fn pass(chosen: &Chosen, id: u32) {
        if chosen.steps {
            // The harness's own standard output, in line with loom's log.
            std::println!("@site {id}");
        }
        if let Some(hits) = &chosen.hits {
            let mut hits = hits.lock().unwrap();
            let (file, seen) = &mut *hits;
            let at = id as usize;
            if seen.len() <= at {
                seen.resize(at + 1, false);
            }
            if !seen[at] {
                seen[at] = true;
                let mut line = String::new();
                std::fmt::Write::write_fmt(&mut line, std::format_args!("{id}\n")).unwrap();
                file.write_all(line.as_bytes()).unwrap();
            }
        }
    }

    /// The ordering at a site: what is written there, or the chosen one.
    pub fn order(id: u32, written: Ordering) -> Ordering {
        let chosen = chosen();
        pass(chosen, id);
        let found = chosen.mutants.iter().find(|(m, _)| *m == id);
        found.and_then(|(_, order)| *order).unwrap_or(written)
    }

    /// Whether a switch is thrown.
    pub fn on(id: u32) -> bool {
        let chosen = chosen();
        pass(chosen, id);
        chosen.mutants.iter().any(|(m, order)| *m == id && order.is_none())
    }
}
