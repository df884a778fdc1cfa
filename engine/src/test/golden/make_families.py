#!/usr/bin/python3
"""Makes resources/golden/families/NAME: a tiny random model of each family in Hugging Face's layout, and what PyTorch computes of it.

Run by hand with Debian's python3-torch; the files are committed. The formulas are written out here, in float64, so nothing but PyTorch
is needed. A folder holds config.json, the weights (one file, or shards and an index; f32, bf16 or f16), and expected.safetensors: texts,
logits, the gradient of every tensor, and the logits of PyTorch's own bf16 arithmetic on weights rounded to bf16, whose distance from
float64 on the same weights ("logits.bf16.exact") is the yardstick for ours.

usage: python3 make_families.py FOLDER
"""
import json
import math
import os
import struct
import sys

import torch

VOCABULARY, WIDTH, HEADS, KV_HEADS, HIDDEN, LAYERS = 37, 24, 4, 2, 20, 2
SIZES = (17, 1, 5, 70)  # tokens read of each sequence, packed without padding; 70 crosses a block of 64 keys
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int32: "I32"}

FAMILIES = {
    # name: (model_type, head_dim, tied, what config.json says beside the sizes, dtype of the file, shards)
    "llama2": ("llama", 6, False, {"rope_theta": 10000.0, "rms_norm_eps": 1e-5, "rope_scaling": None}, torch.float16, 1),
    "tinyllama-linear": ("llama", 6, False, {"rms_norm_eps": 1e-5, "rope_scaling": {"type": "linear", "factor": 2.5}}, torch.float32, 1),
    "llama3": ("llama", 8, True, {"rope_theta": 500000.0, "rms_norm_eps": 1e-5, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}}, torch.bfloat16, 1),
    "mistral": ("mistral", 6, False, {"rope_theta": 10000.0, "rms_norm_eps": 1e-5, "sliding_window": 9}, torch.bfloat16, 2),
    "smollm2": ("llama", 6, True, {"rope_theta": 100000.0, "rms_norm_eps": 1e-5, "rope_interleaved": False}, torch.float32, 1),
    "qwen2": ("qwen2", 6, True, {"rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "sliding_window": 131072, "use_sliding_window": False,
                                 "max_window_layers": 21}, torch.float32, 1),
    "qwen3": ("qwen3", 8, True, {"rope_theta": 1000000.0, "rms_norm_eps": 1e-6, "attention_bias": False, "sliding_window": None,
                                 "use_sliding_window": False}, torch.float32, 3),
}


def make_weights(kind, d, tied):
    def matrix(*shape):
        return torch.randn(*shape) * 1.5 * shape[-1] ** -0.5

    def norm(size):
        return 1 + 0.2 * torch.randn(size)

    w = {"model.embed_tokens.weight": matrix(VOCABULARY, WIDTH)}
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            w[p + f"self_attn.{name}_proj.weight"] = matrix(heads * d, WIDTH)
            if kind == "qwen2":
                w[p + f"self_attn.{name}_proj.bias"] = 0.5 * torch.randn(heads * d)
        if kind == "qwen3":
            w[p + "self_attn.q_norm.weight"] = norm(d)
            w[p + "self_attn.k_norm.weight"] = norm(d)
        w[p + "self_attn.o_proj.weight"] = matrix(WIDTH, HEADS * d)
        w[p + "mlp.gate_proj.weight"] = matrix(HIDDEN, WIDTH)
        w[p + "mlp.up_proj.weight"] = matrix(HIDDEN, WIDTH)
        w[p + "mlp.down_proj.weight"] = matrix(WIDTH, HIDDEN)
        w[p + "input_layernorm.weight"] = norm(WIDTH)
        w[p + "post_attention_layernorm.weight"] = norm(WIDTH)
    w["model.norm.weight"] = norm(WIDTH)
    if not tied:
        w["lm_head.weight"] = matrix(VOCABULARY, WIDTH)
    return w


def frequencies(config):
    """Radians per position of each pair: theta^(-2i/D), stretched as rope_scaling says."""
    d = config["head_dim"]
    f = config.get("rope_theta", 10000.0) ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind == "linear":
        return f / scaling["factor"]
    if kind == "llama3":
        # Llama 3.1: long waves are stretched by the factor, short ones kept, between them a linear blend in context / wavelength
        factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
        ratio = scaling["original_max_position_embeddings"] * f / (2 * math.pi)
        blend = ((ratio - low) / (high - low)).clamp(0, 1)
        return (1 - blend) * f / factor + blend * f
    return f


def rmsnorm(x, w, eps):
    """As Transformers does it: the norm in float32 or wider, the gain after rounding back."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return w * (wide * torch.rsqrt((wide * wide).mean(-1, keepdim=True) + eps)).to(x.dtype)


def rope(x, f):
    """x (heads, T, D): element i turns with i + D/2."""
    angle = torch.outer(torch.arange(x.shape[1], dtype=torch.float64), f)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def forward(w, config, tokens):
    d, eps, kind = config["head_dim"], config["rms_norm_eps"], config["model_type"]
    x = w["model.embed_tokens.weight"][tokens]
    t = len(tokens)
    distance = torch.arange(t)[:, None] - torch.arange(t)
    unseen = distance < 0
    if kind == "mistral":
        unseen = unseen | (distance >= config["sliding_window"])  # a query sees that many positions, its own included
    f = frequencies(config)
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        n = rmsnorm(x, w[p + "input_layernorm.weight"], eps)

        def heads(name, count):
            y = torch.nn.functional.linear(n, w[p + f"self_attn.{name}_proj.weight"], w.get(p + f"self_attn.{name}_proj.bias"))
            y = y.view(t, count, d)
            if kind == "qwen3" and name != "v":
                y = rmsnorm(y, w[p + f"self_attn.{name}_norm.weight"], eps)
            return y.transpose(0, 1)

        q, k, v = rope(heads("q", HEADS), f), rope(heads("k", KV_HEADS), f), heads("v", KV_HEADS)
        k, v = (s.repeat_interleave(HEADS // KV_HEADS, 0) for s in (k, v))
        scores = (q @ k.transpose(1, 2) * d ** -0.5).masked_fill(unseen, float("-inf"))
        mixed = torch.softmax(scores, -1, dtype=torch.promote_types(x.dtype, torch.float32)).to(x.dtype) @ v
        x = x + mixed.transpose(0, 1).reshape(t, -1) @ w[p + "self_attn.o_proj.weight"].T
        n = rmsnorm(x, w[p + "post_attention_layernorm.weight"], eps)
        gate, up = n @ w[p + "mlp.gate_proj.weight"].T, n @ w[p + "mlp.up_proj.weight"].T
        x = x + (torch.nn.functional.silu(gate) * up) @ w[p + "mlp.down_proj.weight"].T
    output = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return rmsnorm(x, w["model.norm.weight"], eps) @ output.T


def logits(w, config, texts):
    return torch.cat([forward(w, config, text[:-1]) for text in texts])


def write(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            flat = tensor.contiguous()
            out.write((flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat).numpy().tobytes())


def write_weights(folder, weights, shards):
    if shards == 1:
        write(f"{folder}/model.safetensors", weights)
        return
    names, index = list(weights), {}
    for s in range(shards):
        file = f"model-{s + 1:05d}-of-{shards:05d}.safetensors"
        part = names[s::shards]
        index.update({name: file for name in part})
        write(f"{folder}/{file}", {name: weights[name] for name in part})
    total = sum(t.numel() * t.element_size() for t in weights.values())
    with open(f"{folder}/model.safetensors.index.json", "w") as out:
        json.dump({"metadata": {"total_size": total}, "weight_map": index}, out, indent=1, sort_keys=True)


def make(folder, kind, d, tied, extra, dtype, shards):
    os.makedirs(folder, exist_ok=True)
    architecture = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}[kind] + "ForCausalLM"
    config = {"architectures": [architecture], "model_type": kind, "hidden_act": "silu", "hidden_size": WIDTH,
              "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
              "vocab_size": VOCABULARY, "max_position_embeddings": 128, "tie_word_embeddings": tied,
              "torch_dtype": str(dtype).split(".")[1], **extra}
    if d * HEADS != WIDTH:
        config["head_dim"] = d
    with open(f"{folder}/config.json", "w") as out:
        json.dump(config, out, indent=1, sort_keys=True)
    config["head_dim"] = d
    start = {name: tensor.to(dtype) for name, tensor in make_weights(kind, d, tied).items()}
    write_weights(folder, start, shards)

    texts = [torch.randint(VOCABULARY, (size + 1,)) for size in SIZES]
    targets = torch.cat([text[1:] for text in texts])
    w = {name: tensor.to(torch.float64).requires_grad_() for name, tensor in start.items()}
    y = logits(w, config, texts)
    torch.nn.functional.cross_entropy(y, targets).backward()
    half = {name: tensor.to(torch.bfloat16) for name, tensor in start.items()}
    with torch.no_grad():
        rough = logits(half, config, texts).to(torch.float32)
        exact = logits({name: tensor.to(torch.float64) for name, tensor in half.items()}, config, texts)
    out = {"sizes": torch.tensor([len(text) for text in texts], dtype=torch.int32), "tokens": torch.cat(texts).to(torch.int32),
           "logits": y.detach().to(torch.float32), "logits.bf16": rough, "logits.bf16.exact": exact.to(torch.float32)}
    out.update({f"gradients/{name}": tensor.grad.to(torch.float32) for name, tensor in w.items()})
    write(f"{folder}/expected.safetensors", out)
    print(folder, "logits", y.abs().max().item(), "bf16 mean error", (rough - exact).abs().mean().item())


def main(folder):
    for seed, (name, description) in enumerate(FAMILIES.items()):
        torch.manual_seed(77 + seed)
        make(f"{folder}/{name}", *description)


if __name__ == "__main__":
    main(sys.argv[1])
