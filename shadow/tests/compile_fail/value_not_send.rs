fn main() {
    let _ = umbra_shadow::ShadowMap::<std::sync::MutexGuard<'static, u32>>::new();
}
