"""The network once more, the slow way: functions of a state dict, nothing cached, masks always at full size.

Planes are (B, C, H, W) throughout, attention is PyTorch's own packed function, prompts are padded to the full
context, every mask is drawn for every query and only then reduced, and the image is encoded anew for every call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from wsiparse.recognize.biomedparse.config import NetworkConfig
from wsiparse.recognize.biomedparse.tokenizer import END

State = Mapping[str, Tensor]


def _linear(s: State, key: str, x: Tensor) -> Tensor:
    return functional.linear(x, s[f"{key}.weight"], s[f"{key}.bias"])


def _norm(s: State, key: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], s[f"{key}.weight"], s[f"{key}.bias"], eps)


def _norm_channels(s: State, key: str, x: Tensor) -> Tensor:
    return _norm(s, key, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _attention(
    s: State, key: str, heads: int, q: Tensor, k: Tensor, v: Tensor, blocked: Tensor | None = None
) -> Tensor:
    """(B, N, C) in and out; `blocked` (M, N) or (B * heads, M, N), True where attention is forbidden."""
    out, _ = functional.multi_head_attention_forward(
        q.transpose(0, 1),
        k.transpose(0, 1),
        v.transpose(0, 1),
        q.shape[-1],
        heads,
        s[f"{key}.in_proj_weight"],
        s[f"{key}.in_proj_bias"],
        None,
        None,
        False,
        0.0,
        s[f"{key}.out_proj.weight"],
        s[f"{key}.out_proj.bias"],
        training=False,
        need_weights=True,
        attn_mask=blocked,
    )
    return out.transpose(0, 1)


def sine(height: int, width: int, dim: int) -> Tensor:
    """(H * W, dim) float64, one value at a time."""
    half = dim // 2
    rows = []
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            values = []
            for place, extent in ((y, height), (x, width)):
                for k in range(half):
                    angle = place / (extent + 1e-6) * 2 * math.pi / 10000 ** (2 * (k // 2) / half)
                    values.append(math.cos(angle) if k % 2 else math.sin(angle))
            rows.append(values)
    return torch.tensor(rows, dtype=torch.float64)


def backbone(s: State, c: NetworkConfig, image: Tensor) -> list[Tensor]:
    x = functional.conv2d(
        image, s["backbone.patch_embed.proj.weight"], s["backbone.patch_embed.proj.bias"], stride=4, padding=2
    )
    x = _norm_channels(s, "backbone.patch_embed.norm", x)
    maps = []
    for i, depth in enumerate(c.depths):
        for j in range(depth):
            block = f"backbone.layers.{i}.blocks.{j}"
            m = f"{block}.modulation"
            dim = x.shape[1]
            y = functional.conv2d(x, s[f"{m}.f.weight"][:, :, None, None], s[f"{m}.f.bias"])
            q, ctx, gates = y[:, :dim], y[:, dim : 2 * dim], y[:, 2 * dim :]
            total = torch.zeros_like(q)
            for level in range(c.focal_levels):
                kernel = s[f"{m}.focal_layers.{level}.0.weight"]
                ctx = functional.gelu(functional.conv2d(ctx, kernel, padding=kernel.shape[-1] // 2, groups=dim))
                total = total + ctx * gates[:, level, None]
            total = total + functional.gelu(ctx.mean(dim=(2, 3), keepdim=True)) * gates[:, -1, None]
            h = functional.conv2d(total / (c.focal_levels + 1), s[f"{m}.h.weight"], s[f"{m}.h.bias"])
            out = functional.conv2d(q * h, s[f"{m}.proj.weight"][:, :, None, None], s[f"{m}.proj.bias"])
            x = x + s[f"{block}.gamma_1"][:, None, None] * _norm_channels(s, f"{block}.norm1", out)
            tokens = x.permute(0, 2, 3, 1)
            out = _linear(s, f"{block}.mlp.fc2", functional.gelu(_linear(s, f"{block}.mlp.fc1", tokens)))
            x = x + s[f"{block}.gamma_2"][:, None, None] * _norm(s, f"{block}.norm2", out).permute(0, 3, 1, 2)
        maps.append(_norm_channels(s, f"backbone.norm{i}", x))
        down = f"backbone.layers.{i}.downsample"
        if f"{down}.proj.weight" in s:
            x = functional.conv2d(x, s[f"{down}.proj.weight"], s[f"{down}.proj.bias"], stride=2, padding=1)
            x = _norm_channels(s, f"{down}.norm", x)
    return maps


def pixel_decoder(s: State, c: NetworkConfig, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    p = "sem_seg_head.pixel_decoder"

    def conv_norm(name: str, x: Tensor) -> Tensor:
        weight = s[f"{p}.{name}.weight"]
        y = functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
        return functional.group_norm(y, c.norm_groups, s[f"{p}.{name}.norm.weight"], s[f"{p}.{name}.norm.bias"])

    top = functional.conv2d(maps[3], s[f"{p}.input_proj.weight"], s[f"{p}.input_proj.bias"])
    b, dim, height, width = top.shape
    position = sine(height, width, dim).to(top)
    x = top.flatten(2).transpose(1, 2)
    for i in range(c.encoder_layers):
        layer = f"{p}.transformer.encoder.layers.{i}"
        x = _norm(s, f"{layer}.norm1", x + _attention(s, f"{layer}.self_attn", c.heads, x + position, x + position, x))
        hidden = _linear(s, f"{layer}.linear1", x).relu()
        x = _norm(s, f"{layer}.norm2", x + _linear(s, f"{layer}.linear2", hidden))
    y = conv_norm("layer_4", x.transpose(1, 2).reshape(b, dim, height, width)).relu()
    scales = [y]
    for k in (3, 2, 1):
        lateral = conv_norm(f"adapter_{k}", maps[k - 1])
        up = functional.interpolate(y, lateral.shape[2:], mode="nearest")
        y = conv_norm(f"layer_{k}", lateral + up).relu()
        scales.append(y)
    weight, bias = s[f"{p}.mask_features.weight"], s[f"{p}.mask_features.bias"]
    return functional.conv2d(y, weight, bias, padding=1), scales[:3]


def text(s: State, c: NetworkConfig, ids: Sequence[int]) -> Tensor:
    """Token embeddings (L, C) of one prompt, computed with end-of-text padding to the full context."""
    p = "sem_seg_head.predictor.lang_encoder"
    padded = torch.tensor([list(ids) + [END] * (c.context - len(ids))])
    x = s[f"{p}.lang_encoder.token_embedding.weight"][padded] + s[f"{p}.lang_encoder.positional_embedding"]
    future = torch.ones(c.context, c.context, dtype=torch.bool).triu(1)
    for i in range(c.text_layers):
        block = f"{p}.lang_encoder.resblocks.{i}"
        y = _norm(s, f"{block}.ln_1", x, 1e-12)
        x = x + _attention(s, f"{block}.attn", c.text_heads, y, y, y, future)
        y = _linear(s, f"{block}.mlp.c_fc", _norm(s, f"{block}.ln_2", x, 1e-12))
        x = x + _linear(s, f"{block}.mlp.c_proj", y * torch.sigmoid(1.702 * y))
    x = _norm(s, f"{p}.lang_encoder.ln_final", x, 1e-12)
    return (x @ s[f"{p}.lang_proj"])[0, : len(ids)]


def segment(
    s: State, c: NetworkConfig, image: Tensor, prompts: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """One joint pass: mask logits (B, P, h, w), matched queries (B, P), attention masks blocked per layer."""
    p = "sem_seg_head.predictor"
    mean = torch.tensor([123.675, 116.28, 103.53], dtype=image.dtype)[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375], dtype=image.dtype)[:, None, None]
    features, scales = pixel_decoder(s, c, backbone(s, c, (image - mean) / std))
    b = image.shape[0]
    words = [text(s, c, ids) for ids in prompts]
    tokens = torch.cat(words)[None].expand(b, -1, -1)
    q = s[f"{p}.query_feat.weight"][None].expand(b, -1, -1)
    place = s[f"{p}.query_embed.weight"][None].expand(b, -1, -1)
    content = tokens

    def head(q: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        d = _norm(s, f"{p}.decoder_norm", q)
        m = d
        for k in range(3):
            m = _linear(s, f"{p}.mask_embed.layers.{k}", m)
            m = m.relu() if k < 2 else m
        masks = torch.einsum("bqc,bchw->bqhw", m, features)
        small = functional.interpolate(masks, size, mode="bilinear", align_corners=False)
        return d @ s[f"{p}.class_embed"], masks, small.sigmoid().flatten(2) < 0.5

    size = (scales[0].shape[2], scales[0].shape[3])
    _, _, blocked = head(q, size)
    seen = [blocked]
    for i in range(c.decoder_layers):
        scale = scales[i % 3]
        src = scale.flatten(2).transpose(1, 2) + s[f"{p}.level_embed.weight"][i % 3]
        position = sine(scale.shape[2], scale.shape[3], src.shape[2]).to(src)
        blocked = blocked.clone()
        blocked[blocked.all(dim=-1)] = False
        per_head = blocked.repeat_interleave(c.heads, dim=0)
        layer = f"{p}.transformer_cross_attention_layers.{i}"
        out = _attention(s, f"{layer}.multihead_attn", c.heads, q + place, src + position, src, per_head)
        q = _norm(s, f"{layer}.norm", q + out)
        both, where = torch.cat((q, content), 1), torch.cat((place, tokens), 1)
        layer = f"{p}.transformer_self_attention_layers.{i}"
        out = _attention(s, f"{layer}.self_attn", c.heads, both + where, both + where, both)
        both = _norm(s, f"{layer}.norm", both + out)
        layer = f"{p}.transformer_ffn_layers.{i}"
        out = _linear(s, f"{layer}.linear2", _linear(s, f"{layer}.linear1", both).relu())
        both = _norm(s, f"{layer}.norm", both + out)
        q, content = both[:, : c.queries], both[:, c.queries :]
        after = scales[(i + 1) % 3]
        captions, masks, blocked = head(q, (after.shape[2], after.shape[3]))
        seen.append(blocked)

    v = functional.normalize(captions, dim=-1)
    t = functional.normalize(torch.stack([rows[-1] for rows in words]), dim=-1)
    matched = (v @ t.T).argmax(dim=1)
    logits = torch.stack([masks[i, matched[i]] for i in range(b)])
    return logits, matched, seen
