use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use rtc_shared::Rng;

use super::{ID, bytes, exercise, sha1, sha256, vectors};
use crate::{
    AddressFamily, AttributeType, Class, Icmp, Message, MessageBuilder, Method, NetworkCost,
    PasswordAlgorithm, TransactionId, is_stun,
};

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        Just(Class::Request),
        Just(Class::Indication),
        Just(Class::Success),
        Just(Class::Error)
    ]
}

fn family() -> impl Strategy<Value = AddressFamily> {
    prop_oneof![Just(AddressFamily::Ipv4), Just(AddressFamily::Ipv6)]
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(datagram in proptest::collection::vec(any::<u8>(), 0..200)) {
        exercise(&datagram);
    }

    #[test]
    fn arbitrary_attributes_do_not_panic(
        types in any::<[u8; 2]>(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut datagram = vec![types[0] & 0x3f, types[1]];
        let body = &body[..body.len() & !3];
        datagram.extend_from_slice(&(body.len() as u16).to_be_bytes());
        datagram.extend_from_slice(&crate::MAGIC_COOKIE.to_be_bytes());
        datagram.extend_from_slice(&ID.0);
        datagram.extend_from_slice(body);
        prop_assert!(is_stun(&datagram));
        exercise(&datagram);
    }

    #[test]
    fn mutated_vectors_do_not_panic(
        index in any::<proptest::sample::Index>(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let all = vectors();
        let mut datagram = bytes(&all[index.index(all.len())], "hex");
        let length = datagram.len();
        for (at, value) in changes {
            datagram[at.index(length)] = value;
        }
        exercise(&datagram);
    }

    #[test]
    fn header_fields_survive(
        class in class(),
        method in 0u16..0x1000,
        id in any::<[u8; 12]>(),
    ) {
        let built = MessageBuilder::new(class, Method(method), TransactionId(id)).finish();
        let message = Message::parse(&built).unwrap();
        prop_assert_eq!(message.class(), class);
        prop_assert_eq!(message.method(), Method(method));
        prop_assert_eq!(message.transaction_id(), TransactionId(id));
    }

    #[test]
    fn raw_attributes_survive_and_protect(
        attributes in proptest::collection::vec(
            (0xd000u16..0xffff, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
        length in 0usize..50,
    ) {
        let (key1, key256) = (sha1(b"key"), sha256(b"key"));
        let mut builder = MessageBuilder::new(Class::Request, Method::BINDING, ID);
        for (typ, value) in &attributes {
            builder = builder.attribute(AttributeType(*typ), value);
        }
        let built = builder
            .message_integrity(&*key1)
            .message_integrity_sha256_truncated(&*key256, length)
            .fingerprint()
            .finish();
        let message = Message::parse(&built).unwrap();
        let read: Vec<_> = message
            .attributes()
            .filter(|(typ, _)| typ.0 >= 0xd000)
            .map(|(typ, value)| (typ.0, value.to_vec()))
            .collect();
        prop_assert_eq!(read, attributes);
        prop_assert_eq!(message.verify_integrity(&*key1), Ok(()));
        prop_assert_eq!(message.verify_integrity_sha256(&*key256), Ok(()));
        prop_assert_eq!(message.verify_fingerprint(), Ok(()));
    }

    #[test]
    fn addresses_survive(address in any::<SocketAddr>(), id in any::<[u8; 12]>()) {
        // Flow label and scope are not on the wire.
        let address = SocketAddr::new(address.ip(), address.port());
        let built = MessageBuilder::new(Class::Success, Method::ALLOCATE, TransactionId(id))
            .xor_mapped_address(address)
            .mapped_address(address)
            .xor_relayed_address(address)
            .xor_peer_address(address)
            .alternate_server(address)
            .response_origin(address)
            .other_address(address)
            .finish();
        let message = Message::parse(&built).unwrap();
        prop_assert_eq!(message.validate(), Ok(()));
        let read = [
            message.xor_mapped_address(),
            message.mapped_address(),
            message.xor_relayed_address(),
            message.xor_peer_address(),
            message.alternate_server(),
            message.response_origin(),
            message.other_address(),
        ];
        prop_assert_eq!(read, [Some(address); 7]);
    }

    #[test]
    fn text_and_bytes_survive(
        text in "\\PC{0,100}",
        value in proptest::collection::vec(any::<u8>(), 0..500),
    ) {
        let built = MessageBuilder::new(Class::Error, Method::ALLOCATE, ID)
            .username(&text)
            .realm(&text)
            .software(&text)
            .alternate_domain("example.org")
            .error_code(438, &text)
            .address_error_code(AddressFamily::Ipv6, 440, &text)
            .nonce(&value)
            .data(&value)
            .mobility_ticket(&value)
            .padding(&value)
            .dtls_in_stun(&value)
            .dtls_in_stun_ack(&value)
            .finish();
        let message = Message::parse(&built).unwrap();
        prop_assert_eq!(message.validate(), Ok(()));
        let expected = Some(&*text);
        prop_assert_eq!(
            [message.username(), message.realm(), message.software()],
            [expected; 3]
        );
        prop_assert_eq!(message.alternate_domain(), Some("example.org"));
        let error = message.error_code().unwrap();
        prop_assert_eq!((error.code(), &*error.reason()), (438, &*text));
        let address_error = message.address_error_codes().next().unwrap().unwrap();
        prop_assert_eq!(address_error.family, AddressFamily::Ipv6);
        prop_assert_eq!(address_error.error.code(), 440);
        prop_assert_eq!(
            [
                message.nonce(),
                message.data(),
                message.mobility_ticket(),
                message.padding(),
                message.dtls_in_stun(),
                message.dtls_in_stun_ack(),
            ],
            [Some(&*value); 6]
        );
    }

    #[test]
    fn numbers_survive(
        word in any::<u32>(),
        long in any::<u64>(),
        channel in 0x4000u16..=0x4fff,
        family in family(),
        reserve in any::<bool>(),
        seed in any::<[u8; 32]>(),
    ) {
        let icmp = Icmp {
            icmp_type: (word & 0x7f) as u8,
            icmp_code: (word >> 7 & 0x1ff) as u16,
            error_data: word,
        };
        let cost = NetworkCost { network_id: (word >> 16) as u16, cost: word as u16 };
        let algorithms = [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];
        let built = MessageBuilder::new(
            Class::Request,
            Method::ALLOCATE,
            TransactionId::random(&mut Rng::from_seed(seed)),
        )
        .priority(word)
        .connection_id(word)
        .nomination(word)
        .lifetime(Duration::from_secs(word.into()))
        .ice_controlled(long)
        .ice_controlling(long)
        .reservation_token(long.to_be_bytes())
        .userhash(seed)
        .channel_number(channel)
        .response_port(channel)
        .requested_address_family(family)
        .additional_address_family(family)
        .even_port(reserve)
        .requested_transport(word as u8)
        .dont_fragment()
        .use_candidate()
        .icmp(icmp)
        .network_cost(cost)
        .password_algorithms(&algorithms)
        .password_algorithm(algorithms[0])
        .finish();
        let message = Message::parse(&built).unwrap();
        prop_assert_eq!(message.validate(), Ok(()));
        prop_assert_eq!(message.priority(), Some(word));
        prop_assert_eq!(message.connection_id(), Some(word));
        prop_assert_eq!(message.nomination(), Some(word));
        prop_assert_eq!(message.lifetime(), Some(Duration::from_secs(word.into())));
        prop_assert_eq!(message.ice_controlled(), Some(long));
        prop_assert_eq!(message.ice_controlling(), Some(long));
        prop_assert_eq!(message.reservation_token(), Some(long.to_be_bytes()));
        prop_assert_eq!(message.userhash(), Some(seed));
        prop_assert_eq!(message.channel_number(), Some(channel));
        prop_assert_eq!(message.response_port(), Some(channel));
        prop_assert_eq!(message.requested_address_family(), Some(family));
        prop_assert_eq!(message.additional_address_family(), Some(family));
        prop_assert_eq!(message.even_port(), Some(reserve));
        prop_assert_eq!(message.requested_transport(), Some(word as u8));
        prop_assert!(message.dont_fragment() && message.use_candidate());
        prop_assert_eq!(message.icmp(), Some(icmp));
        prop_assert_eq!(message.network_cost(), Some(cost));
        prop_assert_eq!(message.password_algorithms().unwrap().collect::<Vec<_>>(), algorithms);
        prop_assert_eq!(message.password_algorithm(), Some(algorithms[0]));
    }
}
