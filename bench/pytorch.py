#!/usr/bin/env python3
"""pytorch.py [--layers N] [--ctx N] [--threads N] [--steps N]: the training step of `lora bench --synthetic llama-3b
--layers 4 --ctx 256 --batch 1` in plain PyTorch, for comparison: bf16 weights, adapters of rank 4 on all seven linear
layers, AdamW; random weights and tokens. Prints the shortest step without and with checkpointing."""
import argparse
import time

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

N_EMBD, N_FF, N_HEAD, N_VOCAB, RANK, SCALE = 3200, 8640, 32, 32000, 4, 2.0
BF16 = torch.bfloat16


def weight(n_out, n_in):
    return (torch.randn(n_out, n_in) * 0.02).to(BF16)


class Linear(torch.nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.w = torch.nn.Parameter(weight(n_out, n_in), requires_grad=False)
        self.a = torch.nn.Parameter(torch.randn(RANK, n_in) * 0.02)
        self.b = torch.nn.Parameter(torch.zeros(n_out, RANK))

    def forward(self, x):
        return F.linear(x, self.w) + F.linear(F.linear(x, self.a.to(BF16)), self.b.to(BF16)) * SCALE


def rms_norm(x):
    return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)).to(BF16)


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (Linear(N_EMBD, N_EMBD) for _ in range(4))
        self.gate, self.up, self.down = Linear(N_EMBD, N_FF), Linear(N_EMBD, N_FF), Linear(N_FF, N_EMBD)

    def forward(self, x, cos, sin):
        n = rms_norm(x)
        q, k, v = (f(n).view(*n.shape[:2], N_HEAD, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        attn = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.o(attn.transpose(1, 2).reshape(x.shape))
        n = rms_norm(x)
        return x + self.down(F.silu(self.gate(n)) * self.up(n))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("layers", 4), ("ctx", 256), ("threads", 2), ("steps", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    blocks = torch.nn.ModuleList(Block() for _ in range(args.layers))
    embedding, head = weight(N_VOCAB, N_EMBD), weight(N_VOCAB, N_EMBD)
    dim = N_EMBD // N_HEAD
    angles = torch.outer(torch.arange(args.ctx), 10000.0 ** (-torch.arange(0, dim, 2) / dim)).repeat(1, 2)
    cos, sin = angles.cos().to(BF16), angles.sin().to(BF16)
    optimizer = torch.optim.AdamW([p for p in blocks.parameters() if p.requires_grad], lr=1e-3)
    ids, targets = (torch.randint(0, N_VOCAB, (1, args.ctx)) for _ in range(2))

    def step(checkpointing):
        x = embedding[ids].requires_grad_(True)
        for block in blocks:
            x = checkpoint(block, x, cos, sin, use_reentrant=False) if checkpointing else block(x, cos, sin)
        F.cross_entropy(F.linear(rms_norm(x), head)[0].float(), targets[0]).backward()
        optimizer.step()
        optimizer.zero_grad()

    for checkpointing in (False, True):
        times = []
        for _ in range(args.steps + 1):  # the first warms up
            start = time.perf_counter()
            step(checkpointing)
            times.append(time.perf_counter() - start)
        print(f"PyTorch {torch.__version__}, {'with' if checkpointing else 'no'} checkpointing: "
              f"{min(times[1:]):.2f} s/step", flush=True)


main()
