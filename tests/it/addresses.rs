//! Which addresses a peer tells of.

use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::{
    AddressRewrite, AddressRewriteMode, RTCConfigurationBuilder, SettingEngine,
};
use rtc::shared::TransportProtocol;

/// The candidates of a peer at 10.0.0.5:4000 whose outer address is 203.0.113.7.
fn rewritten(mode: AddressRewriteMode) -> Vec<String> {
    let mut setting = SettingEngine::default();
    setting.address_rewrite.push(AddressRewrite {
        local: None,
        external: "203.0.113.7".parse().unwrap(),
        mode,
    });
    let configuration = RTCConfigurationBuilder::new().with_setting_engine(setting);
    let mut peer = RTCPeerConnection::new(configuration.build()).unwrap();
    for addr in ["10.0.0.5:4000", "[fd00::5]:4000"] {
        peer.add_local_interface(addr.parse().unwrap(), TransportProtocol::UDP)
            .unwrap();
    }
    peer.create_data_channel("x", None).unwrap();
    peer.set_local_description_implicit().unwrap();
    // One more that comes later is rewritten too.
    peer.add_local_interface("10.0.0.6:4001".parse().unwrap(), TransportProtocol::UDP)
        .unwrap();
    let sdp = peer.local_description().unwrap().sdp;
    sdp.lines()
        .filter_map(|line| line.strip_prefix("a=candidate:"))
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            format!("{} {} {}", words[4], words[5], words[7])
        })
        .collect()
}

#[test]
fn a_host_behind_a_one_to_one_nat_is_known_by_its_outer_address() {
    assert_eq!(
        rewritten(AddressRewriteMode::Replace),
        [
            "203.0.113.7 4000 host",
            "fd00::5 4000 host",
            "203.0.113.7 4001 host"
        ]
    );
    assert_eq!(
        rewritten(AddressRewriteMode::Add),
        [
            "10.0.0.5 4000 host",
            "203.0.113.7 4000 srflx",
            "fd00::5 4000 host",
            "10.0.0.6 4001 host",
            "203.0.113.7 4001 srflx"
        ]
    );
}
