"""MobileSAM and its medical kin, LiteMedSAM: the decoder of SAM behind a small image encoder."""
