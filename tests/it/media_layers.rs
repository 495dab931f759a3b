//! The layers of simulcast from one application to the other.

use std::collections::BTreeMap;

use rtc_tests::sim::{Link, Side, Simulation};

use crate::media_source::*;
use crate::seeds::for_each_seed;

#[test]
fn simulcast_layers_arrive_under_their_names_over_a_bad_link() {
    for_each_seed(20, |seed| {
        let mut sim = Simulation::new(seed, Link::default()).unwrap();
        let mut sources = simulcast(&mut sim);
        let sender = sources[0].sender;
        let without_name = sim.a.connection.rtp_sender(sender).unwrap();
        let mut without_name = without_name;
        assert_eq!(
            without_name.write_rtp(packet(1, 1)).map_err(|it| it.name()),
            Err("InvalidAccessError")
        );
        *sim.link() = bad_link();
        for round in 0..200 {
            for (index, source) in sources.iter_mut().enumerate() {
                if round % (4 >> index) == 0 {
                    source.send(&mut sim);
                }
            }
            wait(&mut sim, 5);
        }
        *sim.link() = Link::default();
        sources.iter_mut().for_each(|source| source.send(&mut sim));
        wait(&mut sim, 1000);
        let packets = received(&mut sim, Side::B).remove("camera").unwrap();
        let id = sim.b.connection.get_receivers().next().unwrap();
        let receiver = sim.b.connection.rtp_receiver(id).unwrap();
        let mut counts = BTreeMap::new();
        for source in &sources {
            let of_layer: Vec<_> = packets
                .iter()
                .filter(|it| receiver.rid(it.header.ssrc) == source.rid)
                .cloned()
                .collect();
            assert_whole(&of_layer, source.next - 1);
            counts.insert(source.rid.unwrap(), of_layer.len());
        }
        let total: usize = counts.values().sum();
        assert_eq!(total, packets.len(), "{counts:?}");
        assert!(counts["f"] >= 195 && counts["q"] >= 45, "{counts:?}");
    });
}

#[test]
fn an_encoding_that_is_not_active_is_not_sent() {
    let mut sim = Simulation::new(5, Link::default()).unwrap();
    let mut sources = simulcast(&mut sim);
    let mut sender = sim.a.connection.rtp_sender(sources[0].sender).unwrap();
    let mut parameters = sender.get_parameters();
    parameters.encodings[1].active = false;
    sender.set_parameters(parameters, None).unwrap();
    sources.iter_mut().for_each(|source| source.send(&mut sim));
    wait(&mut sim, 100);
    assert_eq!(received(&mut sim, Side::B)["camera"].len(), 2);
    assert_eq!(sim.a.connection.counters().media.dropped_inactive, 1);
}
