//! PID 1 of a pod.
fn main() {}
