"""SAM 2's own package with a narrow encoder for small pictures, put together as its configuration files say."""

import functools
from contextlib import contextmanager

import pytest
import torch
from tests.models.references import original, randomise

from samaritan.models import sam2
from samaritan.models.sam2.build import SIZES, Size
from samaritan.models.sam2.keys import to_transformers
from samaritan.models.sam2.tracker import MOST_ASKED, Tracker

SIDE = 256
CELLS = SIDE // 16
SMALL = Size(16, 1, (1, 1, 2, 1), (3,))
WITH_MASKS = {  # what the package's predictors switch on
    "dynamic_multimask_via_stability": True,
    "dynamic_multimask_stability_delta": 0.05,
    "dynamic_multimask_stability_thresh": 0.98,
}


def _encoder(size):
    sine = functools.partial(original("sam2.modeling.position_encoding").PositionEmbeddingSine, temperature=10000)
    image_encoder = original("sam2.modeling.backbones.image_encoder")
    trunk = original("sam2.modeling.backbones.hieradet").Hiera(
        embed_dim=size.width, num_heads=size.heads, stages=size.blocks, global_att_blocks=size.whole,
        window_pos_embed_bkg_spatial_size=(size.grid, size.grid), window_spec=size.windows,
    )  # fmt: skip
    neck = image_encoder.FpnNeck(
        sine(256), d_model=256, backbone_channel_list=[size.width * n for n in (8, 4, 2, 1)],
        fpn_top_down_levels=[2, 3], fpn_interp_model="nearest",
    )  # fmt: skip
    return image_encoder.ImageEncoder(trunk, neck, scalp=1)


def _memory(side):
    attention, transformer = original("sam2.modeling.memory_attention"), original("sam2.modeling.sam.transformer")
    memory = original("sam2.modeling.memory_encoder")
    rope = functools.partial(
        transformer.RoPEAttention, rope_theta=10000.0, feat_sizes=[side // 16] * 2, embedding_dim=256, num_heads=1,
        downsample_rate=1, dropout=0.1,
    )  # fmt: skip
    layer = attention.MemoryAttentionLayer(
        activation="relu", dim_feedforward=2048, dropout=0.1, pos_enc_at_attn=False, self_attention=rope(), d_model=256,
        pos_enc_at_cross_attn_keys=True, pos_enc_at_cross_attn_queries=False,
        cross_attention=rope(rope_k_repeat=True, kv_in_dim=64),
    )  # fmt: skip
    encoder = memory.MemoryEncoder(
        out_dim=64, mask_downsampler=memory.MaskDownSampler(kernel_size=3, stride=2, padding=1),
        fuser=memory.Fuser(memory.CXBlock(256, kernel_size=7, padding=3), num_layers=2),
        position_encoding=original("sam2.modeling.position_encoding").PositionEmbeddingSine(64),
    )  # fmt: skip
    return attention.MemoryAttention(d_model=256, pos_enc_at_input=True, layer=layer, num_layers=4), encoder


def make(size=SMALL, *, newer, side=SIDE, kind=None):
    """Return SAM2Base with first weights, or one of its kinds."""
    attention, encoder = _memory(side)
    kind = kind or original("sam2.modeling.sam2_base").SAM2Base
    return kind(
        image_encoder=_encoder(size), memory_attention=attention, memory_encoder=encoder, num_maskmem=7,
        image_size=side, sigmoid_scale_for_mem_enc=20.0, sigmoid_bias_for_mem_enc=-10.0,
        use_mask_input_as_output_without_sam=True, directly_add_no_mem_embed=True,
        use_high_res_features_in_sam=True, multimask_output_in_sam=True, iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True, add_tpos_enc_to_obj_ptrs=newer, proj_tpos_enc_in_obj_ptrs=newer,
        use_signed_tpos_enc_to_obj_ptrs=newer, no_obj_embed_spatial=newer, only_obj_ptrs_in_the_past_for_eval=True,
        pred_obj_scores=True, pred_obj_scores_mlp=True, fixed_no_obj_ptr=True, multimask_output_for_tracking=True,
        use_multimask_token_for_obj_ptr=True, multimask_min_pt_num=0, multimask_max_pt_num=1,
        use_mlp_for_obj_ptr_proj=True, binarize_mask_from_pts_for_mem_enc=True,
        sam_mask_decoder_extra_args=WITH_MASKS,
    )  # fmt: skip


@functools.cache
def reference(*, newer=True):
    """Return it with random weights."""
    return randomise(make(newer=newer))


@functools.cache
def module(*, newer=True):
    """Return ours with the same weights."""
    ours = sam2.build(SMALL, newer=newer, side=SIDE)
    ours.load_state_dict(to_transformers(reference(newer=newer).state_dict()), strict=True)
    return ours.eval().requires_grad_(False)


@contextmanager
def doubles():
    """Compute in float64 and keep it, where the package and we take float32 or less.

    The package keeps memories in bfloat16 and we keep encoded slices in float16. Without either, two that mean the same
    agree to 1e-13; of a volume that we return in float32, to its last bit.
    """
    original("sam2.sam2_video_predictor")  # imported as it is, before anything is patched
    float32, wide = torch.get_default_dtype(), torch.Tensor.double
    with pytest.MonkeyPatch.context() as patch:
        for name in ("float", "float32", "float16", "bfloat16"):
            patch.setattr(torch, name, torch.float64)
        for name in ("float", "half", "bfloat16"):
            patch.setattr(torch.Tensor, name, wide)
        for name in ("tensor", "from_numpy"):
            patch.setattr(torch, name, functools.partial(_widened, getattr(torch, name)))
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(float32)


def _widened(function, *args, **kwargs):
    tensor = function(*args, **kwargs)
    return tensor.double() if tensor.is_floating_point() else tensor


def make_pair(*, newer, side):
    """Return the package's predictor of videos and our tracker, with the same random weights.

    It recalls as many prompted slices as we do, for by default it recalls all.
    """
    theirs = randomise(make(newer=newer, side=side, kind=original("sam2.sam2_video_predictor").SAM2VideoPredictor))
    theirs.max_cond_frames_in_attn = MOST_ASKED
    theirs.add_all_frames_to_correct_as_cond = True
    ours = sam2.build(SMALL, newer=newer, side=side)
    ours.load_state_dict(to_transformers(theirs.state_dict()), strict=True)
    return theirs.requires_grad_(False), Tracker(ours.requires_grad_(False), side=side, device="cpu")


def bias_presence(theirs, ours, bias):
    """Set what the networks add to how sure they are that the object is there: above 0 it is."""
    theirs.sam_mask_decoder.pred_obj_score_head.layers[2].bias.fill_(bias)
    ours.decoder.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(bias)


def official(name, monkeypatch):
    """Return the names and shapes in an official file: ``sam2-tiny``, ..."""
    version, size = name.split("-", 1)
    # The encoder reads numbers out of a tensor, which those of the meta device have none of.
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))
    with torch.device("meta"):
        state = make(SIZES[size], newer=version == "sam2.1", side=1024).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
