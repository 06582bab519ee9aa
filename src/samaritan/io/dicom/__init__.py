"""DICOM: image series in, segmentations (SEG, RTSTRUCT) in, segmentations (SEG) out."""
