use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::value::{
    AddressCodec, AddressErrorCode, AddressErrorCodec, AddressFamily, AlgorithmCodec,
    AlgorithmsCodec, BytesCodec, ChannelCodec, Codec, ErrorCode, ErrorCodec, EvenPortCodec,
    FamilyCodec, FixedCodec, FlagCodec, Icmp, IcmpCodec, NetworkCost, NetworkCostCodec,
    PasswordAlgorithms, PortCodec, SecondsCodec, TagCodec, TextCodec, TransportCodec, TypesCodec,
    U32Codec, U64Codec, UnknownAttributes, XorAddressCodec,
};
use crate::{DecodeError, Message, MessageBuilder, PasswordAlgorithm, TransactionId};

/// The type of an attribute.
///
/// `Display` writes the name of the specification, such as `XOR-MAPPED-ADDRESS`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeType(pub u16);

/// One row per attribute: constant, number, codec of the value, and for most the name and types of
/// the getter of [`Message`] and of the method of [`MessageBuilder`].
macro_rules! attributes {
    ($(
        $(#[$doc:meta])+
        $NAME:ident = $number:literal, $codec:ty $(=> $field:ident: $read:ty $(, $write:ty)?)?;
    )+) => {
        impl AttributeType {
            $($(#[$doc])+ pub const $NAME: Self = Self($number);)+

            /// The name of the constant, if it is in the table.
            fn constant_name(self) -> Option<&'static str> {
                match self {
                    $(Self::$NAME => Some(stringify!($NAME)),)+
                    _ => None,
                }
            }

            /// False when the type is in the table and the value is malformed.
            pub(crate) fn accepts(self, value: &[u8], id: &TransactionId) -> bool {
                match self {
                    $(Self::$NAME => <$codec as Codec>::read(value, id).is_some(),)+
                    _ => true,
                }
            }
        }

        /// The values of the attributes, in the order of their numbers. Of an attribute that comes
        /// more than once, the first counts.
        impl<'a> Message<'a> {
            $($(
                #[doc = concat!("[`", stringify!($NAME), "`](AttributeType::", stringify!($NAME),
                    "), `None` when absent or malformed.")]
                #[must_use]
                pub fn $field(&self) -> Option<$read> {
                    <$codec as Codec>::read(
                        self.attribute(AttributeType::$NAME)?,
                        &self.transaction_id(),
                    )
                }
            )?)+
        }

        /// The attributes, in the order of their numbers.
        impl MessageBuilder {
            $($($(
                #[doc = concat!("Appends [`", stringify!($NAME), "`](AttributeType::",
                    stringify!($NAME), ").")]
                pub fn $field(self, value: $write) -> Self {
                    self.append(AttributeType::$NAME, |id, out| {
                        <$codec as Codec>::write(value, id, out);
                    })
                }
            )?)?)+
        }
    };
}

attributes! {
    /// Reflexive address, not masked (RFC 8489 section 14.1).
    MAPPED_ADDRESS = 0x0001, AddressCodec => mapped_address: SocketAddr, SocketAddr;
    /// Asks the server to answer from another address (RFC 5780 section 7.2).
    CHANGE_REQUEST = 0x0003, U32Codec => change_request: u32, u32;
    /// User name of the credentials, at most 508 bytes (RFC 8489 section 14.3).
    USERNAME = 0x0006, TextCodec<508> => username: &'a str, &str;
    /// HMAC-SHA1 of the message before it (RFC 8489 section 14.5).
    MESSAGE_INTEGRITY = 0x0008, TagCodec<20, 20>;
    /// Why a request is refused (RFC 8489 section 14.8).
    ERROR_CODE = 0x0009, ErrorCodec => error_code: ErrorCode<'a>;
    /// Attribute types that the server does not understand (RFC 8489 section 14.13).
    UNKNOWN_ATTRIBUTES = 0x000a, TypesCodec
        => unknown_attributes: UnknownAttributes<'a>, &[AttributeType];
    /// Channel of a relay, 0x4000 to 0x4fff (RFC 8656 section 18.1).
    CHANNEL_NUMBER = 0x000c, ChannelCodec => channel_number: u16, u16;
    /// Time until an allocation expires, in whole seconds (RFC 8656 section 18.2).
    LIFETIME = 0x000d, SecondsCodec => lifetime: Duration, Duration;
    /// Address of a peer behind a relay, masked (RFC 8656 section 18.3).
    XOR_PEER_ADDRESS = 0x0012, XorAddressCodec => xor_peer_address: SocketAddr, SocketAddr;
    /// What a relay carries to or from a peer (RFC 8656 section 18.4).
    DATA = 0x0013, BytesCodec => data: &'a [u8], &[u8];
    /// Realm of the credentials, at most 763 bytes (RFC 8489 section 14.9).
    REALM = 0x0014, TextCodec<763> => realm: &'a str, &str;
    /// Number that the server wants to see again, at most 763 bytes (RFC 8489 section 14.10).
    NONCE = 0x0015, BytesCodec<763> => nonce: &'a [u8], &[u8];
    /// Relayed address of an allocation, masked (RFC 8656 section 18.5).
    XOR_RELAYED_ADDRESS = 0x0016, XorAddressCodec => xor_relayed_address: SocketAddr, SocketAddr;
    /// Family of the relayed address asked for (RFC 8656 section 18.6).
    REQUESTED_ADDRESS_FAMILY = 0x0017, FamilyCodec
        => requested_address_family: AddressFamily, AddressFamily;
    /// Asks for an even port; true also reserves the next one (RFC 8656 section 18.7).
    EVEN_PORT = 0x0018, EvenPortCodec => even_port: bool, bool;
    /// IP protocol number of the relayed transport: 17 UDP, 6 TCP (RFC 8656 section 18.8).
    REQUESTED_TRANSPORT = 0x0019, TransportCodec => requested_transport: u8, u8;
    /// Asks to set the DF bit towards the peer (RFC 8656 section 18.9).
    DONT_FRAGMENT = 0x001a, FlagCodec;
    /// HMAC-SHA256 of the message before it (RFC 8489 section 14.6).
    MESSAGE_INTEGRITY_SHA256 = 0x001c, TagCodec<16, 32>;
    /// The algorithm that made the key of the request (RFC 8489 section 14.12).
    PASSWORD_ALGORITHM = 0x001d, AlgorithmCodec
        => password_algorithm: PasswordAlgorithm, PasswordAlgorithm;
    /// SHA-256 of user name and realm, instead of USERNAME (RFC 8489 section 14.4).
    USERHASH = 0x001e, FixedCodec<32> => userhash: [u8; 32], [u8; 32];
    /// Reflexive address, masked so that no middlebox rewrites it (RFC 8489 section 14.2).
    XOR_MAPPED_ADDRESS = 0x0020, XorAddressCodec;
    /// Names a port that was reserved by EVEN-PORT (RFC 8656 section 18.10).
    RESERVATION_TOKEN = 0x0022, FixedCodec<8> => reservation_token: [u8; 8], [u8; 8];
    /// Priority of the peer-reflexive candidate that a check would make (RFC 8445 section 16.1).
    PRIORITY = 0x0024, U32Codec => priority: u32, u32;
    /// Nominates the pair of a check (RFC 8445 section 16.1).
    USE_CANDIDATE = 0x0025, FlagCodec;
    /// Bytes that make a message longer (RFC 5780 section 7.6).
    PADDING = 0x0026, BytesCodec => padding: &'a [u8], &[u8];
    /// Port to send the response to (RFC 5780 section 7.5).
    RESPONSE_PORT = 0x0027, PortCodec => response_port: u16, u16;
    /// Names a TCP connection between relay and peer (RFC 6062 section 6.2.1).
    CONNECTION_ID = 0x002a, U32Codec => connection_id: u32, u32;
    /// Asks for a second relayed address of this family (RFC 8656 section 18.11).
    ADDITIONAL_ADDRESS_FAMILY = 0x8000, FamilyCodec
        => additional_address_family: AddressFamily, AddressFamily;
    /// Why there is no relayed address of one family (RFC 8656 section 18.12).
    ADDRESS_ERROR_CODE = 0x8001, AddressErrorCodec => address_error_code: AddressErrorCode<'a>;
    /// The algorithms that a server takes, most wanted first (RFC 8489 section 14.11).
    PASSWORD_ALGORITHMS = 0x8002, AlgorithmsCodec
        => password_algorithms: PasswordAlgorithms<'a>, &[PasswordAlgorithm];
    /// Name that the certificate of the alternate server bears (RFC 8489 section 14.16).
    ALTERNATE_DOMAIN = 0x8003, TextCodec<255> => alternate_domain: &'a str, &str;
    /// ICMP error that a relay received (RFC 8656 section 18.13).
    ICMP = 0x8004, IcmpCodec => icmp: Icmp, Icmp;
    /// Description of the program that sends, at most 763 bytes (RFC 8489 section 14.14).
    SOFTWARE = 0x8022, TextCodec<763> => software: &'a str, &str;
    /// Another server to try (RFC 8489 section 14.15).
    ALTERNATE_SERVER = 0x8023, AddressCodec => alternate_server: SocketAddr, SocketAddr;
    /// How often request and response were sent (RFC 7982 section 3).
    TRANSACTION_TRANSMIT_COUNTER = 0x8025, U32Codec => transaction_transmit_counter: u32, u32;
    /// CRC-32 of the message before it (RFC 8489 section 14.7).
    FINGERPRINT = 0x8028, TagCodec<4, 4>;
    /// The sender is controlled; tie-breaker (RFC 8445 section 16.1).
    ICE_CONTROLLED = 0x8029, U64Codec => ice_controlled: u64, u64;
    /// The sender controls; tie-breaker (RFC 8445 section 16.1).
    ICE_CONTROLLING = 0x802a, U64Codec => ice_controlling: u64, u64;
    /// Address that the response was sent from (RFC 5780 section 7.3).
    RESPONSE_ORIGIN = 0x802b, AddressCodec => response_origin: SocketAddr, SocketAddr;
    /// Second address of the server (RFC 5780 section 7.4).
    OTHER_ADDRESS = 0x802c, AddressCodec => other_address: SocketAddr, SocketAddr;
    /// ECN marks seen (RFC 6679 section 7.2.2).
    ECN_CHECK = 0x802d, U32Codec => ecn_check: u32, u32;
    /// Lets an allocation move to another address (RFC 8016 section 3.3).
    MOBILITY_TICKET = 0x8030, BytesCodec => mobility_ticket: &'a [u8], &[u8];
    /// Counts nominations, the highest wins (draft-thatcher-ice-renomination).
    NOMINATION = 0xc001, U32Codec => nomination: u32, u32;
    /// Network and its cost, as libwebrtc sends them.
    NETWORK_COST = 0xc057, NetworkCostCodec => network_cost: NetworkCost, NetworkCost;
    /// Last check received, as libwebrtc reports it.
    GOOG_LAST_ICE_CHECK_RECEIVED = 0xc058, BytesCodec
        => goog_last_ice_check_received: &'a [u8], &[u8];
    /// What libwebrtc can do, as 16-bit values.
    GOOG_MISC_INFO = 0xc059, BytesCodec => goog_misc_info: &'a [u8], &[u8];
    /// HMAC-SHA1 cut to 32 bits, of libwebrtc.
    GOOG_MESSAGE_INTEGRITY_32 = 0xc060, TagCodec<4, 4>;
    /// One DTLS datagram inside a check (draft-hancke-webrtc-sped); empty says only that we can.
    DTLS_IN_STUN = 0xc070, BytesCodec => dtls_in_stun: &'a [u8], &[u8];
    /// 32-bit checksums of DTLS datagrams received (draft-hancke-webrtc-sped).
    DTLS_IN_STUN_ACK = 0xc071, BytesCodec => dtls_in_stun_ack: &'a [u8], &[u8];
}

impl AttributeType {
    /// True when a receiver that does not know the type must not process the message (RFC 8489
    /// section 14).
    #[must_use]
    pub fn is_comprehension_required(self) -> bool {
        self.0 < 0x8000
    }
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = self.constant_name() else {
            return write!(f, "attribute {:#06x}", self.0);
        };
        for (index, part) in name.split('_').enumerate() {
            let hyphen = if index == 0 { "" } else { "-" };
            write!(f, "{hyphen}{part}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What does not fit a row: flags, repeated attributes, values of two parts.
impl<'a> Message<'a> {
    /// The reflexive address, from XOR-MAPPED-ADDRESS or else from MAPPED-ADDRESS.
    #[must_use]
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.attribute(AttributeType::XOR_MAPPED_ADDRESS)
            .and_then(|value| XorAddressCodec::read(value, &self.transaction_id()))
            .or_else(|| self.mapped_address())
    }

    /// True when [`USE_CANDIDATE`](AttributeType::USE_CANDIDATE) is there.
    #[must_use]
    pub fn use_candidate(&self) -> bool {
        self.has(AttributeType::USE_CANDIDATE)
    }

    /// True when [`DONT_FRAGMENT`](AttributeType::DONT_FRAGMENT) is there.
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.has(AttributeType::DONT_FRAGMENT)
    }

    /// Every [`XOR_PEER_ADDRESS`](AttributeType::XOR_PEER_ADDRESS) of a CreatePermission request.
    pub fn xor_peer_addresses(
        &self,
    ) -> impl Iterator<Item = Result<SocketAddr, DecodeError>> + use<'a> {
        self.every::<XorAddressCodec>(AttributeType::XOR_PEER_ADDRESS)
    }

    /// Every [`XOR_RELAYED_ADDRESS`](AttributeType::XOR_RELAYED_ADDRESS) of an Allocate response; a
    /// dual allocation has two (RFC 8656 section 7.2).
    pub fn xor_relayed_addresses(
        &self,
    ) -> impl Iterator<Item = Result<SocketAddr, DecodeError>> + use<'a> {
        self.every::<XorAddressCodec>(AttributeType::XOR_RELAYED_ADDRESS)
    }

    /// Every [`ADDRESS_ERROR_CODE`](AttributeType::ADDRESS_ERROR_CODE).
    pub fn address_error_codes(
        &self,
    ) -> impl Iterator<Item = Result<AddressErrorCode<'a>, DecodeError>> + use<'a> {
        self.every::<AddressErrorCodec>(AttributeType::ADDRESS_ERROR_CODE)
    }

    fn every<C: Codec>(
        &self,
        typ: AttributeType,
    ) -> impl Iterator<Item = Result<C::Value<'a>, DecodeError>> + use<'a, C> {
        let id = self.transaction_id();
        self.attributes()
            .filter(move |&(found, _)| found == typ)
            .map(move |(_, value)| C::read(value, &id).ok_or(DecodeError::MalformedAttribute(typ)))
    }
}

/// What does not fit a row.
impl MessageBuilder {
    /// Appends [`XOR_MAPPED_ADDRESS`](AttributeType::XOR_MAPPED_ADDRESS).
    pub fn xor_mapped_address(self, address: SocketAddr) -> Self {
        self.append(AttributeType::XOR_MAPPED_ADDRESS, |id, out| {
            XorAddressCodec::write(address, id, out);
        })
    }

    /// Appends [`USE_CANDIDATE`](AttributeType::USE_CANDIDATE).
    pub fn use_candidate(self) -> Self {
        self.attribute(AttributeType::USE_CANDIDATE, &[])
    }

    /// Appends [`DONT_FRAGMENT`](AttributeType::DONT_FRAGMENT).
    pub fn dont_fragment(self) -> Self {
        self.attribute(AttributeType::DONT_FRAGMENT, &[])
    }

    /// Appends [`ERROR_CODE`](AttributeType::ERROR_CODE); a code outside of 300 to 699 becomes 500.
    pub fn error_code(self, code: u16, reason: &str) -> Self {
        self.append(AttributeType::ERROR_CODE, |id, out| {
            ErrorCodec::write(ErrorCode::new(code, reason), id, out);
        })
    }

    /// Appends [`ADDRESS_ERROR_CODE`](AttributeType::ADDRESS_ERROR_CODE); a code outside of 300 to
    /// 699 becomes 500.
    pub fn address_error_code(self, family: AddressFamily, code: u16, reason: &str) -> Self {
        let error = AddressErrorCode {
            family,
            error: ErrorCode::new(code, reason),
        };
        self.append(AttributeType::ADDRESS_ERROR_CODE, |id, out| {
            AddressErrorCodec::write(error, id, out);
        })
    }
}
