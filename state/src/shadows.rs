//! What a host's `free_shadows` needs of a shadow table.

use umbra_shadow::{Dtor, Platform, ShadowTable};

/// A set of shadow variables, found by the id of the state they belong to.
pub trait Shadows {
    /// Makes every variable of `id` invisible at once and hands it to
    /// reclamation, which calls `dtor` for each after a grace period. Nothing
    /// happens if there is none. Does not wait.
    fn free_all(&self, id: u64, dtor: Option<Dtor>);

    /// How many variables of `id` a lookup finds.
    fn live(&self, id: u64) -> usize;
}

impl<P: Platform> Shadows for ShadowTable<P> {
    fn free_all(&self, id: u64, dtor: Option<Dtor>) {
        self.free_all(id, dtor);
    }

    fn live(&self, id: u64) -> usize {
        self.find(id, &self.pin())
            .map_or(0, |table| table.stats().live)
    }
}
