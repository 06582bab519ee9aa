"""Coded concepts of common structures, for the segments of a DICOM SEG."""

from __future__ import annotations

import re
from typing import NamedTuple

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code


class Concept(NamedTuple):
    """What kind of thing a segment is (``category``), and which (``type``)."""

    category: Code
    type: Code


# SNOMED CT concepts of PS3.16 (CID 7150 categories, CID 7160 and after), by their keyword in pydicom's dictionary.
_ANATOMY = {
    "adrenal gland": "AdrenalGland", "aorta": "Aorta", "bladder": "Bladder", "bone": "Bone", "brain": "Brain",
    "breast": "Breast", "colon": "Colon", "duodenum": "Duodenum", "esophagus": "Esophagus", "eye": "Eye",
    "femur": "Femur", "gallbladder": "Gallbladder", "heart": "Heart", "hippocampus": "Hippocampus",
    "inferior vena cava": "InferiorVenaCava", "kidney": "Kidney", "large intestine": "LargeIntestine",
    "left atrium": "LeftAtrium", "left ventricle": "LeftVentricle", "liver": "Liver", "lung": "Lung",
    "lymph node": "LymphNode", "mandible": "Mandible", "muscle": "Muscle", "pancreas": "Pancreas",
    "parotid gland": "ParotidGland", "portal vein": "PortalVein", "prostate": "Prostate", "rectum": "Rectum",
    "retina": "Retina", "rib": "Rib", "skin": "Skin", "small intestine": "SmallIntestine",
    "spinal cord": "SpinalCord", "spine": "Spine", "spleen": "Spleen", "stomach": "Stomach", "thyroid": "Thyroid",
    "trachea": "Trachea", "uterus": "Uterus", "vertebra": "Vertebra",
}  # fmt: skip
_ABNORMAL = {
    "cyst": "Cyst", "edema": "Edema", "hemorrhage": "Hemorrhage", "lesion": "Lesion", "mass": "Mass",
    "necrosis": "Necrosis", "neoplasm": "Neoplasm", "nodule": "Nodule",
}  # fmt: skip
_SYNONYMS = {
    "gall bladder": "gallbladder", "haemorrhage": "hemorrhage", "ivc": "inferior vena cava", "metastasis": "lesion",
    "oedema": "edema", "oesophagus": "esophagus", "parotid": "parotid gland",
    "thyroid gland": "thyroid", "tumor": "neoplasm", "tumour": "neoplasm", "urinary bladder": "bladder",
    "prostate gland": "prostate", "vertebrae": "vertebra",
}  # fmt: skip
_SIDE = re.compile(r"^(left|right) | (left|right|l|r)$")


def concept_of(name: str) -> Concept:
    """Return the concept that a label's name means; tissue of no particular kind where it is not known.

    The side ("left kidney") stays in the name only: a kidney is a kidney.
    """
    plain = re.sub(r"[\W_\d]+", " ", name.lower()).strip()
    for text in (plain, _SIDE.sub("", plain)):
        key = _SYNONYMS.get(text, text)
        key = key if key in _ANATOMY or key in _ABNORMAL else key.removesuffix("s")
        if key in _ANATOMY:
            return Concept(codes.SCT.AnatomicalStructure, getattr(codes.SCT, _ANATOMY[key]))
        if key in _ABNORMAL:
            return Concept(codes.SCT.MorphologicallyAbnormalStructure, getattr(codes.SCT, _ABNORMAL[key]))
    return Concept(codes.SCT.Tissue, codes.SCT.Tissue)
