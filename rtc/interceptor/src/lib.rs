//! Stages over RTP and RTCP: reports, NACK, RTX, transport-wide feedback.
