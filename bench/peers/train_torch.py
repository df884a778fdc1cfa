#!/usr/bin/env python3
"""PyTorch's training step on our model shapes: the peer of `subtext.bench.Measure train`, and of `bench/cpu.sh train`.

Llama block (RMSNorm, RoPE, grouped-query attention by SDPA, SwiGLU), float32 parameters under bfloat16 autocast, torch.compile,
fused AdamW with gradient clipping. Prints one JSON line: tokens/s (median of the timed steps), milliseconds, model TFLOP/s, peak bytes.

--data FOLDER takes weights and tokens from there (weights.f32, tokens.i32, as `bench/cpu.sh` writes them) instead of drawing its own.
--serve prints a line when ready and then answers each line of its input with one step, unclipped, and its {"seconds", "loss"}.

  train_torch.py --shape tinyllama --sequences 8 --length 2048 --steps 10
  OMP_NUM_THREADS=2 train_torch.py --device cpu --dtype f32 --no-compile --shape tiny --sequences 64 --length 128
"""
import argparse
import json
import pathlib
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

# layers, width, heads, kv heads, hidden, vocabulary, tied
SHAPES = {
    "tiny": (4, 256, 4, 4, 704, 512, True),
    "small": (6, 384, 6, 6, 1024, 4096, True),
    "124m": (12, 768, 12, 12, 2048, 50304, True),
    "tinyllama": (22, 2048, 32, 4, 5632, 32000, False),
}


def attention(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    # before PyTorch 2.0
    length = q.shape[-2]
    mask = torch.full((length, length), float("-inf")).triu(1)
    return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + mask, -1) @ v


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        f = x.float()
        return (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + 1e-5)).type_as(x) * self.weight.type_as(x)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Block(nn.Module):
    def __init__(self, width, heads, kv_heads, hidden):
        super().__init__()
        self.heads, self.kv_heads, self.size = heads, kv_heads, width // heads
        self.attention_norm, self.feed_forward_norm = RmsNorm(width), RmsNorm(width)
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * self.size, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x, cos, sin):
        batch, length, width = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).split(
            [self.heads * self.size, self.kv_heads * self.size, self.kv_heads * self.size], -1)
        q = rotate(q.view(batch, length, self.heads, -1).transpose(1, 2), cos, sin)
        k = rotate(k.view(batch, length, self.kv_heads, -1).transpose(1, 2), cos, sin)
        v = v.view(batch, length, self.kv_heads, -1).transpose(1, 2)
        if self.kv_heads != self.heads:
            repeat = self.heads // self.kv_heads
            k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        y = attention(q, k, v)
        x = x + self.output(y.transpose(1, 2).reshape(batch, length, width))
        gate, up = self.gate_up(self.feed_forward_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Llama(nn.Module):
    def __init__(self, layers, width, heads, kv_heads, hidden, vocabulary, tied, length):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads, kv_heads, hidden) for _ in range(layers))
        self.norm = RmsNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        size = width // heads
        angle = torch.outer(torch.arange(length).float(), 10000.0 ** (-torch.arange(0, size, 2).float() / size))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, 0.0, 0.02)

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        if torch.is_autocast_enabled():
            x, cos, sin = x.bfloat16(), cos.bfloat16(), sin.bfloat16()
        for block in self.blocks:
            x = block(x, cos, sin)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def load(model, folder, options):
    """Weights in the order of subtext.model.ParameterTable: all matrices, then all norms."""
    blocks = model.blocks
    order = [model.embedding.weight]
    for b in blocks:
        order += [b.qkv.weight, b.output.weight, b.gate_up.weight, b.down.weight]
    if model.head.weight is not model.embedding.weight:
        order.append(model.head.weight)
    for b in blocks:
        order += [b.attention_norm.weight, b.feed_forward_norm.weight]
    order.append(model.norm.weight)
    flat = torch.from_file(str(folder / "weights.f32"), size=sum(p.numel() for p in order), dtype=torch.float32)
    at = 0
    with torch.no_grad():
        for p in order:
            p.copy_(flat[at:at + p.numel()].view_as(p))
            at += p.numel()
    size = options.sequences * (options.length + 1)
    return torch.from_file(str(folder / "tokens.i32"), size=size, dtype=torch.int32).long().view(options.sequences, -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="tinyllama")
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()

    torch.manual_seed(0)
    shape = SHAPES[options.shape]
    layers, width, heads, kv_heads, hidden, vocabulary, tied = shape
    model = Llama(*shape, options.length).to(options.device)
    matrices = [p for p in model.parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    fused = {"fused": True} if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 4) else {}
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": norms, "weight_decay": 0.0}],
        lr=1e-4, betas=(0.9, 0.95), eps=1e-8, **fused)
    forward = model if options.no_compile else torch.compile(model)
    parameters = sum(p.numel() for p in model.parameters())
    if options.data:
        tokens = load(model, options.data, options).to(options.device)
    else:
        tokens = torch.randint(vocabulary, (options.sequences, options.length + 1), device=options.device)
    wait = torch.cuda.synchronize if options.device == "cuda" else (lambda: None)

    def step():
        with torch.autocast(options.device, torch.bfloat16, enabled=options.dtype == "bf16"):
            loss = forward(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        if not options.serve:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    if options.serve:
        print(json.dumps({"ready": f"PyTorch {torch.__version__}", "threads": torch.get_num_threads()}), flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            loss = step()
            wait()
            print(json.dumps({"seconds": time.perf_counter() - start, "loss": loss.item()}), flush=True)
        return

    for _ in range(3):
        step()
    wait()
    seconds = []
    for _ in range(options.steps):
        start = time.perf_counter()
        step()
        wait()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    count = options.sequences * options.length
    embedding = 0 if tied else vocabulary * width
    flops = count * (6 * (parameters - embedding) + 6 * layers * width * options.length)  # causal attention counted half
    print(json.dumps({
        "what": "train", "engine": f"PyTorch {torch.__version__}", "shape": options.shape, "sequences": options.sequences,
        "length": options.length, "dtype": options.dtype, "compiled": not options.no_compile, "parameters": parameters,
        "millis": round(median * 1e3, 3), "tokensPerSecond": round(count / median, 1), "tflops": round(flops / median / 1e12, 2),
        "peakBytes": torch.cuda.max_memory_allocated() if options.device == "cuda" else None,
    }))


if __name__ == "__main__":
    main()
