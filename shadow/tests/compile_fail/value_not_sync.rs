fn main() {
    let _ = umbra_shadow::ShadowMap::<std::cell::Cell<u32>>::new();
}
