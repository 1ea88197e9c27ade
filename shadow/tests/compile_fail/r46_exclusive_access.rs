use umbra_shadow::{Epoch, ShadowMap, Smr};

fn main() {
    let map = ShadowMap::<u32>::new().unwrap();
    let guard = Epoch.pin();
    let _value: &mut u32 = map.get(1, &guard).unwrap();
}
