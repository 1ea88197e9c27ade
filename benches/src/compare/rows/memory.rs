//! What an entry costs in memory, everything included.

use super::super::alloc::counted;
use super::super::model::Row;
use super::super::peer::{Mixed, Peer, mixed_op};
use super::super::targets::{BOUNDS, Series};
use super::Spec;
use crate::keys::Keys;

/// Fills each contestant in turn and counts the bytes that are in use then.
///
/// After it is filled, each has some more writes to do, so that what it has
/// retired while growing can be given back.
pub(super) fn row(spec: &Spec, peers: &[Peer], keys: &Keys) -> Row {
    // Each with a key of its own: some tables leave a mark where one was freed.
    let both = |&key: &usize| [Mixed::Insert, Mixed::Free].map(|what| mixed_op(key, what));
    let more: Vec<_> = keys.absent().iter().take(4096).flat_map(both).collect();
    let counts = |peer: &&Peer| {
        // The C peer's memory does not come from the allocator that is counted.
        !BOUNDS.contains(&peer.name) && peer.name != "cds_lfht"
    };
    let series: Vec<_> = peers
        .iter()
        .filter(counts)
        .map(|peer| {
            let (bytes, table) = counted(|| {
                let table = (peer.filled)(keys);
                table.mixed(&more);
                table
            });
            drop(table);
            Series {
                peer: peer.name,
                samples: vec![bytes as f64 / keys.len() as f64],
            }
        })
        .collect();
    let note = "usable size of all blocks; malloc's own 8 bytes a block come on top";
    spec.row(&series, Vec::new(), vec![note.into()])
}
