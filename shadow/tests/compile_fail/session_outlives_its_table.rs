use umbra_shadow::{Epoch, Table};

fn main() {
    let mut session = Table::new(Epoch, 1).unwrap().session();
    let _ = session.get(1);
}
