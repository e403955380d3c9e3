//! Networks: the hidden verb that is the process of one, and `kcradle network`.

mod keeper;

pub(crate) use keeper::keep;
