//! The same scenarios on every runtime: whatever the adapter, connections behave alike and leave
//! nothing behind.

mod change;
mod crowd;
mod data;
mod env;
mod faults;
mod life;
mod media;
mod platform;
mod probe;

use std::future::Future;

use rtc_driver::{Builder, DriverOn, Runtime};

use env::Env;
use platform::Platform;

/// Runs a scenario, and looks afterwards whether it has left a task or a socket.
fn run<P: Platform, F: Future<Output = ()>>(scenario: impl FnOnce(Env<P::Runtime>) -> F) {
    P::run(|env| async move {
        scenario(env.clone()).await;
        env.nothing_left().await;
    });
}

macro_rules! scenarios_on {
    ($($name:ident: $platform:ident;)*) => { $(
        mod $name {
            use super::platform::$platform as P;
            use super::*;

            scenarios! {
                data::messages_echo_in_both_directions;
                data::fifty_channels_of_all_modes_echo;
                data::bulk_arrives_whole_in_both_directions_at_once;
                data::a_slow_reader_slows_its_channel_only;
                data::a_full_send_buffer_makes_send_wait_and_try_send_give_back;
                data::cancelled_sends_and_receives_lose_and_double_nothing;
                media::films_go_both_ways_at_once;
                media::layers_come_apart_and_wishes_go_back;
                media::whoever_waits_for_media_is_woken_by_the_end;
                change::offers_go_both_ways_while_data_flows;
                change::ice_restarts_while_data_flows;
                life::drops_in_every_state_leave_nothing;
                life::the_peer_notices_a_close_and_a_drop;
                life::whoever_waits_is_woken_by_the_end;
                life::panics_of_users_leave_nothing;
                life::errors_say_what_was_wrong;
                crowd::two_hundred_peers_share_one_endpoint;
                faults::errors_of_sockets_are_survived;
                faults::a_broken_socket_is_replaced_by_another;
                faults::interfaces_come_and_go;
            }

            #[test]
            fn the_end_of_the_runtime_is_told() {
                life::the_end_of_the_runtime_is_told::<P>();
            }

            #[test]
            fn drivers_and_what_they_are_made_of_can_be_sent() {
                can_be_sent::<<P as Platform>::Runtime>();
            }
        }
    )* };
}

macro_rules! scenarios {
    ($($group:ident::$scenario:ident;)*) => { $(
        #[test]
        fn $scenario() {
            run::<P, _>($group::$scenario);
        }
    )* };
}

scenarios_on! {
    tokio_multi_thread: TokioMultiThread;
    tokio_current_thread: TokioCurrentThread;
    smol: Smol;
    async_std: AsyncStd;
    mio: Mio;
    virtual_time: VirtualTime;
    bad_network: BadNetwork;
}

/// What every runtime has to promise.
fn can_be_sent<R: Runtime>() {
    fn sent<T: Send>() {}
    fn sent_value<R: Runtime, T: Send>(_: impl FnOnce(&'static R) -> T) {}
    sent::<R::Socket>();
    sent::<R::Timer>();
    sent::<DriverOn<R>>();
    sent::<Builder<R>>();
    sent_value(|runtime: &R| runtime.resolve("localhost", 1));
}
