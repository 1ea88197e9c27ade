//! What a host's `free_shadows` needs of a shadow table.

use umbra_shadow::Dtor;

/// A set of shadow variables, found by the id of the state they belong to.
pub trait Shadows {
    /// Makes every variable of `id` invisible at once and hands it to
    /// reclamation, which calls `dtor` for each after a grace period.
    fn free_all(&self, id: u64, dtor: Option<Dtor>);

    /// How many variables of `id` there are.
    fn live(&self, id: u64) -> usize;
}
