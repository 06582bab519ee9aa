"""transformers' SAM 3 with a narrow backbone for small pictures, in a file with the names that the official one has."""

import functools

from safetensors.torch import save_file
from tests.models.references import randomise
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import Sam3Model, Sam3TrackerModel, Sam3VideoConfig, Sam3VideoModel

FILE = "model.safetensors"
SIDE, CELLS = 112, 8
START, STOP = "<|startoftext|>", "<|endoftext|>"
WORDS = (
    START,
    STOP,
    *(f"{letter}</w>" for letter in "elvisua"),
    *"elvisua",
    "vi",
    "su",
    "visu",
    "al</w>",
    "visual</w>",
)

_WIDTH = 32
_LAYER = {"hidden_size": _WIDTH, "intermediate_size": 48, "num_attention_heads": 2}
_VISION = {
    "model_type": "sam3_vision_model",
    "fpn_hidden_size": _WIDTH,
    "backbone_feature_sizes": [[4 * CELLS] * 2, [2 * CELLS] * 2, [CELLS] * 2],
    "backbone_config": {
        **_LAYER, "model_type": "sam3_vit_model", "num_hidden_layers": 2, "image_size": SIDE, "window_size": 3,
        "global_attn_indexes": [1], "pretrain_image_size": SIDE // 2,
    },
}  # fmt: skip
DETECTOR = {
    "vision_config": _VISION,
    "text_config": {
        "model_type": "clip_text_model", "vocab_size": len(WORDS), "hidden_size": 24, "intermediate_size": 32,
        "projection_dim": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32,
        "bos_token_id": 0, "eos_token_id": 1,
    },
    "geometry_encoder_config": {**_LAYER, "num_layers": 2},
    "detr_encoder_config": {**_LAYER, "num_layers": 2},
    "detr_decoder_config": {**_LAYER, "num_layers": 2, "num_queries": 12},
    "mask_decoder_config": {"hidden_size": _WIDTH, "num_attention_heads": 2},
}  # fmt: skip
_DECODER = {"hidden_size": _WIDTH, "mlp_dim": 48, "num_attention_heads": 2, "iou_head_hidden_dim": _WIDTH}
TRACKER = {
    "vision_config": _VISION,
    "prompt_encoder_config": {"hidden_size": _WIDTH, "image_size": SIDE},
    "mask_decoder_config": _DECODER,
}
_MEMORY = {
    "image_size": SIDE, "memory_attention_hidden_size": _WIDTH, "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 48, "memory_encoder_hidden_size": _WIDTH,
    "memory_encoder_output_channels": 16, "mask_downsampler_embed_dim": _WIDTH, "memory_fuser_embed_dim": _WIDTH,
    "memory_fuser_intermediate_dim": 48,
}  # fmt: skip


@functools.cache
def whole():
    """Return transformers' detector and tracker in one, with random weights."""
    config = Sam3VideoConfig(
        detector_config={"model_type": "sam3", **DETECTOR},
        tracker_config={"model_type": "sam3_tracker_video", **TRACKER, **_MEMORY},
    )
    model = randomise(Sam3VideoModel(config))
    prompt = model.tracker_model.prompt_encoder
    # One matrix under two names, as in the official file.
    places = model.tracker_model.shared_image_embedding.positional_embedding
    prompt.shared_embedding.positional_embedding.data = places.detach().clone()
    decoder = model.detector_model.detr_decoder
    decoder.presence_head.layer3.bias.data.fill_(6.0)  # something is there: else no candidate is good enough
    return model


def write(folder):
    """Write what the official folder has: a file of both, its configuration, and the table of words."""
    tensors = {name: tensor.contiguous().clone() for name, tensor in whole().state_dict().items()}
    save_file(tensors, folder / FILE)
    whole().config.save_pretrained(folder)
    write_words(folder / "tokenizer.json")


def write_words(path):
    """Write a table of few words in the form of CLIP's."""
    merges = [("v", "i"), ("s", "u"), ("vi", "su"), ("a", "l</w>"), ("visu", "al</w>")]
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=STOP))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.RobertaProcessing((STOP, 1), (START, 0), trim_offsets=False)
    tokenizer.enable_padding(length=32, pad_id=1)  # as some files of the hub have it
    tokenizer.save(str(path))


@functools.cache
def their_tracker(folder):
    """Return transformers' tracker, read by its own rules from the official form of file."""
    return Sam3TrackerModel.from_pretrained(folder).eval()


@functools.cache
def their_detector(folder):
    """Return transformers' detector, read likewise."""
    return Sam3Model.from_pretrained(folder).eval()
