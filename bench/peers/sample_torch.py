#!/usr/bin/env python3
"""Batched sampling by PyTorch: the peer of `engine.jar bench sample`.

--engine graph         our own Llama with a static key/value cache, one CUDA graph per decoding step, bfloat16 weights
--engine transformers  transformers' LlamaForCausalLM.generate with random weights of the same shape

Every sequence starts from a prompt of --prompt tokens (K sequences share one, as in an E-step; neither peer exploits that) and
draws --tokens tokens at temperature 1 with its log-probability. Prints one JSON line with output tokens/s, prompt pass included.
"""
import argparse
import json
import time

import torch
import torch.nn.functional as F

from train_torch import SHAPES, RmsNorm, rotate


class Decoder:
    """Weights of one Llama and a static cache of (layers, batch, kv heads, capacity, size)."""

    def __init__(self, shape, batch, capacity, device):
        self.layers, self.width, self.heads, self.kv_heads, self.hidden, self.vocabulary, _ = shape
        self.size = self.width // self.heads
        make = lambda *s: torch.randn(*s, device=device, dtype=torch.bfloat16) * 0.02
        self.embedding, self.head = make(self.vocabulary, self.width), make(self.vocabulary, self.width)
        self.qkv = [make((self.heads + 2 * self.kv_heads) * self.size, self.width) for _ in range(self.layers)]
        self.output = [make(self.width, self.width) for _ in range(self.layers)]
        self.gate_up = [make(2 * self.hidden, self.width) for _ in range(self.layers)]
        self.down = [make(self.width, self.hidden) for _ in range(self.layers)]
        self.norm = RmsNorm(self.width).to(device, torch.bfloat16)
        cache = (self.layers, batch, self.kv_heads, capacity, self.size)
        self.k, self.v = (torch.zeros(cache, device=device, dtype=torch.bfloat16) for _ in range(2))
        angle = torch.outer(torch.arange(capacity).float(), 10000.0 ** (-torch.arange(0, self.size, 2).float() / self.size))
        self.cos, self.sin = angle.cos().to(device, torch.bfloat16), angle.sin().to(device, torch.bfloat16)
        self.columns = torch.arange(capacity, device=device)

    def forward(self, tokens, position):
        """tokens (B, T); position (T) of the new tokens; logits (B, V) of the last one."""
        x = F.embedding(tokens, self.embedding)
        batch, length, _ = x.shape
        cos, sin = self.cos[position], self.sin[position]
        mask = self.columns[None, :] <= position[:, None]
        for l in range(self.layers):
            q, k, v = (self.norm(x) @ self.qkv[l].T).split(
                [self.heads * self.size, self.kv_heads * self.size, self.kv_heads * self.size], -1)
            q = rotate(q.view(batch, length, self.heads, -1).transpose(1, 2), cos, sin)
            k = rotate(k.view(batch, length, self.kv_heads, -1).transpose(1, 2), cos, sin)
            v = v.view(batch, length, self.kv_heads, -1).transpose(1, 2)
            self.k[l].index_copy_(2, position, k)
            self.v[l].index_copy_(2, position, v)
            if length == 1:
                # the query heads of one group as rows: reads the cache once
                grouped = q.reshape(batch, self.kv_heads, -1, self.size)
                y = F.scaled_dot_product_attention(grouped, self.k[l], self.v[l], attn_mask=mask)
                y = y.reshape(batch, self.heads, 1, self.size)
            else:
                repeat = self.heads // self.kv_heads
                y = F.scaled_dot_product_attention(q, k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1), is_causal=True)
            x = x + y.transpose(1, 2).reshape(batch, length, -1) @ self.output[l].T
            gate, up = (self.norm(x) @ self.gate_up[l].T).chunk(2, -1)
            x = x + (F.silu(gate) * up) @ self.down[l].T
        return (self.norm(x[:, -1]) @ self.head.T).float()


def draw(logits):
    log_prob = F.log_softmax(logits, -1)
    noise = -torch.log(torch.empty_like(logits).exponential_())
    token = (logits + noise).argmax(-1)
    return token, log_prob.gather(-1, token[:, None]).squeeze(-1)


@torch.no_grad()
def graph(options):
    shape = SHAPES[options.shape]
    capacity = options.prompt + options.tokens
    decoder = Decoder(shape, options.batch, capacity, "cuda")
    prompt = torch.randint(shape[5], (options.batch, options.prompt), device="cuda")
    token = torch.zeros(options.batch, 1, dtype=torch.long, device="cuda")
    position = torch.zeros(1, dtype=torch.long, device="cuda")
    total = torch.zeros(options.batch, device="cuda")

    forward = torch.compile(decoder.forward, dynamic=False) if options.compile else decoder.forward

    def step():
        drawn, log_prob = draw(forward(token, position))
        token.copy_(drawn[:, None])
        total.add_(log_prob)
        position.add_(1)

    def prefill():
        at = torch.arange(options.prompt, device="cuda")
        drawn, log_prob = draw(decoder.forward(prompt, at))
        token.copy_(drawn[:, None])
        total.copy_(log_prob)
        position.fill_(options.prompt)

    prefill()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    position.fill_(options.prompt)
    with torch.cuda.graph(captured):
        step()

    def run():
        prefill()
        for _ in range(options.tokens - 1):
            captured.replay()
        torch.cuda.synchronize()

    return run


@torch.no_grad()
def transformers(options):
    from transformers import LlamaConfig, LlamaForCausalLM
    layers, width, heads, kv_heads, hidden, vocabulary, tied = SHAPES[options.shape]
    config = LlamaConfig(vocab_size=vocabulary, hidden_size=width, intermediate_size=hidden, num_hidden_layers=layers,
                         num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=4096,
                         tie_word_embeddings=tied, bos_token_id=1, eos_token_id=None, pad_token_id=0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    prompt = torch.randint(3, vocabulary, (options.batch, options.prompt), device="cuda")

    def run():
        model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=options.tokens, do_sample=True,
                       temperature=1.0, top_k=0, output_logits=False)
        torch.cuda.synchronize()

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["graph", "transformers"], default="graph")
    parser.add_argument("--shape", choices=SHAPES, default="tinyllama")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    run = graph(options) if options.engine == "graph" else transformers(options)
    run()
    seconds = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    best = sorted(seconds)[len(seconds) // 2]
    print(json.dumps({
        "what": "sample", "engine": f"{options.engine}, PyTorch {torch.__version__}", "shape": options.shape, "batch": options.batch,
        "prompt": options.prompt, "tokens": options.tokens, "compiled": options.compile,
        "tokensPerSecond": round(options.batch * options.tokens / best, 1), "seconds": round(best, 4),
    }))


if __name__ == "__main__":
    main()
