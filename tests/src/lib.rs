//! What the integration tests share: two bare cores on the network of `rtc_driver::test`, in virtual
//! time. The same seed gives the same run.

pub mod sim;
