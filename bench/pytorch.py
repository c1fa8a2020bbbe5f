#!/usr/bin/env python3
"""pytorch.py [--model NAME] [--layers N] [--ctx N] [--threads N] [--steps N] [--dtype T]: the training step of `lora bench
--synthetic NAME --layers N --ctx N --batch 1`, for comparison, with random weights and tokens. llama-3b is plain PyTorch:
frozen weights in bf16 or f32, adapters of rank 4 on all seven linear layers, AdamW; prints the shortest step without and with
checkpointing. qwen3-30b-a3b, gpt-oss-20b and mixtral-8x7b are transformers' own classes, adapters of rank 4 on attention,
without checkpointing."""
import argparse
import time

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

dtype = torch.bfloat16  # of weights and activations
N_EMBD, N_FF, N_HEAD, N_VOCAB, RANK, SCALE = 3200, 8640, 32, 32000, 4, 2.0


def weight(n_out, n_in):
    return (torch.randn(n_out, n_in) * 0.02).to(dtype)


class Linear(torch.nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.w = torch.nn.Parameter(weight(n_out, n_in), requires_grad=False)
        self.a = torch.nn.Parameter(torch.randn(RANK, n_in) * 0.02)
        self.b = torch.nn.Parameter(torch.zeros(n_out, RANK))

    def forward(self, x):
        return F.linear(x, self.w) + F.linear(F.linear(x, self.a.to(dtype)), self.b.to(dtype)) * SCALE


def rms_norm(x):
    return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)).to(dtype)


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


# What `lora bench --synthetic` has, as transformers' configurations.
MIXTURES = {
    "qwen3-30b-a3b": ("Qwen3Moe", dict(
        hidden_size=2048, num_attention_heads=32, num_key_value_heads=4, head_dim=128, num_experts=128,
        num_experts_per_tok=8, moe_intermediate_size=768, intermediate_size=6144, norm_topk_prob=True, vocab_size=151936)),
    "gpt-oss-20b": ("GptOss", dict(
        hidden_size=2880, num_attention_heads=64, num_key_value_heads=8, head_dim=64, num_local_experts=32,
        num_experts_per_tok=4, intermediate_size=2880, sliding_window=128, vocab_size=201088)),
    "mixtral-8x7b": ("Mixtral", dict(
        hidden_size=4096, num_attention_heads=32, num_key_value_heads=8, num_local_experts=8, num_experts_per_tok=2,
        intermediate_size=14336, vocab_size=32000)),
}


class Adapted(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.a = torch.nn.Parameter(torch.randn(RANK, layer.in_features, dtype=torch.float32) * 0.02)
        self.b = torch.nn.Parameter(torch.zeros(layer.out_features, RANK, dtype=torch.float32))

    def forward(self, x):
        return self.layer(x) + F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype)) * SCALE


def measure(what, step, steps):
    times = []
    for _ in range(steps + 1):  # the first warms up
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(f"PyTorch {torch.__version__}, {what}: {min(times[1:]):.2f} s/step", flush=True)


def measure_mixture(args):
    import transformers
    name, sizes = MIXTURES[args.model]
    config = getattr(transformers, f"{name}Config")(num_hidden_layers=args.layers, tie_word_embeddings=False, **sizes)
    torch.set_default_dtype(dtype)
    with torch.no_grad():
        model = getattr(transformers, f"{name}ForCausalLM")(config)
    model.requires_grad_(False)
    for layer in model.model.layers:
        for projection in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(layer.self_attn, projection, Adapted(getattr(layer.self_attn, projection)))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    ids = torch.randint(0, sizes["vocab_size"], (1, args.ctx))

    def step():
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    measure(f"transformers {transformers.__version__}, {str(dtype).removeprefix('torch.')}", step, args.steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("layers", 4), ("ctx", 256), ("threads", 2), ("steps", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--model", choices=["llama-3b", *MIXTURES], default="llama-3b")
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16", help="of the frozen weights")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    global dtype
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    if args.model in MIXTURES:
        return measure_mixture(args)
    blocks = torch.nn.ModuleList(Block() for _ in range(args.layers))
    embedding, head = weight(N_VOCAB, N_EMBD), weight(N_VOCAB, N_EMBD)
    dim = N_EMBD // N_HEAD
    angles = torch.outer(torch.arange(args.ctx), 10000.0 ** (-torch.arange(0, dim, 2) / dim)).repeat(1, 2)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
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
        measure(f"{'with' if checkpointing else 'no'} checkpointing", lambda: step(checkpointing), args.steps)


main()
