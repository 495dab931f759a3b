//! What the tests share: two bare cores on the network of `rtc_driver::test`, in virtual time, and a
//! runtime over `rtc-mio`.

pub mod reactor;
pub mod sim;
