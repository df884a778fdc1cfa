#!/usr/bin/env python3
"""PyTorch's scaled_dot_product_attention on the shapes of native/test/attention_bench.cc: the peer of our attention kernels.

Causal, bf16, flash backend (then cuDNN's where this PyTorch has it), 16384 tokens; FLOP counted as 4 D (forward) and 10 D (backward)
per pair of query and key seen. Decoding: one query a sequence over a padded cache, 32 query and 4 kv heads, bytes of keys and values.
Prints a table, and with --json writes the rows.

  attention_torch.py [--json FILE]
"""
import argparse
import json
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def milliseconds(work, repeats=10):
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def train(backend, name, length, size):
    heads, batch = 2048 // size, 16384 // length
    shape = (batch, length, heads, size)
    q, k, v = (torch.randn(shape, device="cuda", dtype=torch.bfloat16).transpose(1, 2).requires_grad_() for _ in range(3))
    dy = torch.randn(shape, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
    with sdpa_kernel(backend):
        def forward():
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        forward_ms = milliseconds(forward)
        y = forward()
        backward_ms = milliseconds(lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True))
    pairs = 0.5 * batch * heads * length * length
    row = dict(op="attention", backend=name, length=length, head=size, heads=heads, forward_ms=forward_ms,
               forward_tflops=4 * size * pairs / forward_ms * 1e-9, backward_ms=backward_ms,
               backward_tflops=10 * size * pairs / backward_ms * 1e-9)
    print(f"{name:6} {length:6} {size:4} {forward_ms:10.3f} {row['forward_tflops']:8.1f} {backward_ms:10.3f} {row['backward_tflops']:8.1f}",
          flush=True)
    return row


def decode(backend, name, sequences, context, heads, kv_heads, size):
    q = torch.randn(sequences, heads, 1, size, device="cuda", dtype=torch.bfloat16)
    k, v = (torch.randn(sequences, kv_heads, context, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    with sdpa_kernel(backend):
        ms = milliseconds(lambda: F.scaled_dot_product_attention(q, k, v, enable_gqa=heads != kv_heads), 30)
    row = dict(op="decode", backend=name, sequences=sequences, context=context, heads=heads, kv_heads=kv_heads, head=size, ms=ms,
               gb_per_s=4 * size * kv_heads * context * sequences / ms * 1e-6)
    print(f"{name:6} decode {sequences} x {context}, {heads}/{kv_heads} heads of {size}: {ms:.4f} ms, {row['gb_per_s']:.0f} GB/s", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(4, "attention_torch.py: PyTorch finds no CUDA device\n")
    backends = [(SDPBackend.FLASH_ATTENTION, "flash")]
    if hasattr(SDPBackend, "CUDNN_ATTENTION"):
        backends.append((SDPBackend.CUDNN_ATTENTION, "cudnn"))
    rows = []
    print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}\nkernel      T    D  forward ms TFLOP/s backward ms TFLOP/s")
    for backend, name in backends:
        try:
            for size in (64, 128):
                for length in (2048, 4096, 8192, 16384):
                    rows.append(train(backend, name, length, size))
            for context in (512, 1024, 2048):
                rows.append(decode(backend, name, 256, context, 32, 4, 64))
        except RuntimeError as error:  # this backend does not take the shape: say so, go on with the next
            print(f"{name}: {str(error).splitlines()[0]}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(dict(torch=torch.__version__, device=torch.cuda.get_device_name(), rows=rows), file, indent=1)


if __name__ == "__main__":
    main()
