//! From an image reference to the disks of a pod.
#![forbid(unsafe_code)]
