//! RTP payload formats, media files and sample assembly.
