#!/usr/bin/python3
"""Makes resources/golden/tiny-llama.safetensors: a tiny Llama's logits, every gradient and ten AdamW losses, by PyTorch in float64.

Run by hand with Debian's python3-torch; the file is committed. The model is written out here in Hugging Face's names and conventions
(rotate-half rotary positions, grouped queries, SwiGLU, tied output), so nothing but PyTorch is needed.

usage: python3 make_golden.py OUTPUT
"""
import json
import struct
import sys

import torch

LAYERS, WIDTH, HEADS, KV_HEADS, HEAD_DIM, HIDDEN, VOCABULARY, THETA, EPS = 2, 32, 4, 2, 8, 40, 97, 10000.0, 1e-5
SIZES = (17, 1, 5, 31)  # tokens read of each sequence, packed without padding
LR, BETA1, BETA2, ADAM_EPS, DECAY, STEPS = 1e-2, 0.9, 0.95, 1e-8, 0.1, 10

torch.manual_seed(20241)


def random(*shape):
    return (torch.randn(*shape) * shape[-1] ** -0.5).to(torch.float32)


def make_weights():
    w = {"model.embed_tokens.weight": random(VOCABULARY, WIDTH)}
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        w[p + "self_attn.q_proj.weight"] = random(HEADS * HEAD_DIM, WIDTH)
        w[p + "self_attn.k_proj.weight"] = random(KV_HEADS * HEAD_DIM, WIDTH)
        w[p + "self_attn.v_proj.weight"] = random(KV_HEADS * HEAD_DIM, WIDTH)
        w[p + "self_attn.o_proj.weight"] = random(WIDTH, HEADS * HEAD_DIM)
        w[p + "mlp.gate_proj.weight"] = random(HIDDEN, WIDTH)
        w[p + "mlp.up_proj.weight"] = random(HIDDEN, WIDTH)
        w[p + "mlp.down_proj.weight"] = random(WIDTH, HIDDEN)
        w[p + "input_layernorm.weight"] = 1 + 0.2 * torch.randn(WIDTH)
        w[p + "post_attention_layernorm.weight"] = 1 + 0.2 * torch.randn(WIDTH)
    w["model.norm.weight"] = 1 + 0.2 * torch.randn(WIDTH)
    return w


def rmsnorm(x, w):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + EPS) * w


def rope(x):
    """x (heads, T, D): element i turns with i + D/2."""
    half = HEAD_DIM // 2
    frequency = THETA ** (-torch.arange(half, dtype=torch.float64) * 2 / HEAD_DIM)
    angle = torch.outer(torch.arange(x.shape[1], dtype=torch.float64), frequency)
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def forward(w, tokens):
    x = w["model.embed_tokens.weight"][tokens]
    t = len(tokens)
    mask = torch.full((t, t), float("-inf"), dtype=torch.float64).triu(1)
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        n = rmsnorm(x, w[p + "input_layernorm.weight"])
        heads = lambda name, count: (n @ w[p + f"self_attn.{name}_proj.weight"].T).view(t, count, HEAD_DIM).transpose(0, 1)
        q, k, v = rope(heads("q", HEADS)), rope(heads("k", KV_HEADS)), heads("v", KV_HEADS)
        k, v = (s.repeat_interleave(HEADS // KV_HEADS, 0) for s in (k, v))
        mixed = torch.softmax(q @ k.transpose(1, 2) * HEAD_DIM ** -0.5 + mask, -1) @ v
        x = x + mixed.transpose(0, 1).reshape(t, -1) @ w[p + "self_attn.o_proj.weight"].T
        n = rmsnorm(x, w[p + "post_attention_layernorm.weight"])
        gate, up = n @ w[p + "mlp.gate_proj.weight"].T, n @ w[p + "mlp.up_proj.weight"].T
        x = x + (torch.nn.functional.silu(gate) * up) @ w[p + "mlp.down_proj.weight"].T
    return rmsnorm(x, w["model.norm.weight"]) @ w["model.embed_tokens.weight"].T


def losses(w, texts):
    """The mean loss over all targets, and the logits."""
    logits = torch.cat([forward(w, text[:-1]) for text in texts])
    return torch.nn.functional.cross_entropy(logits, torch.cat([text[1:] for text in texts])), logits


def write(path, tensors):
    header, at = {}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * 4
        dtype = "I32" if tensor.dtype == torch.int32 else "F32"
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            out.write(tensor.contiguous().numpy().tobytes())


def main(path):
    start = make_weights()
    texts = [torch.randint(VOCABULARY, (size + 1,)) for size in SIZES]
    w = {name: tensor.to(torch.float64).requires_grad_() for name, tensor in start.items()}
    loss, logits = losses(w, texts)
    loss.backward()
    out = {f"weights/{name}": tensor for name, tensor in start.items()}
    out["sizes"] = torch.tensor([len(text) for text in texts], dtype=torch.int32)
    out["tokens"] = torch.cat(texts).to(torch.int32)
    out["logits"] = logits.detach().to(torch.float32)
    out.update({f"gradients/{name}": tensor.grad.to(torch.float32) for name, tensor in w.items()})
    groups = [
        {"params": [t for t in w.values() if t.dim() == 2], "weight_decay": DECAY},
        {"params": [t for t in w.values() if t.dim() == 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=LR, betas=(BETA1, BETA2), eps=ADAM_EPS)
    curve = []
    for _ in range(STEPS):
        adamw.zero_grad()
        loss, _ = losses(w, texts)
        curve.append(loss.item())
        loss.backward()
        adamw.step()
    out["losses"] = torch.tensor(curve, dtype=torch.float32)
    write(path, out)
    print(curve)


if __name__ == "__main__":
    main(sys.argv[1])
