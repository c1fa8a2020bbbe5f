#!/usr/bin/env python3
"""Writes families/NAME.safetensors beside it: what PyTorch computes of a tiny model of each family, in f32.

Needs torch, transformers (5.x) and safetensors (Debian sid: python3-torch, python3-transformers). The models' numbers are
not stored: value i of the tensor called NAME is

    h = fnv1a(NAME) + i * 0x9e3779b9;  h ^= h >> 16;  h *= 0x85ebca6b;  h ^= h >> 13;  h *= 0xc2b2ae35;  h ^= h >> 16
    center + size * (2 * (h >> 8) / 2^24 - 1)                                   (h in 32 bits, the rest in f64, then f32)

Each file has ids (2, T) int32, base_logits of row 0 (T, vocabulary), base_loss; with a pair on every linear layer of the
blocks (init.P.lora_a (r, n_in), .lora_b (n_out, r) by the rule above; scale alpha / r, alpha = 8) loss, grad.P.lora_a/b
and curve.loss of ten AdamW steps (lr 1e-3, no decay). The loss is the mean over all
next-token targets of both rows. Metadata: "config", a config.json; "tensors", {NAME: [shape, center, size, whether
it has a column for each output, and where GGUF's rows are multiplied, their factors one after the other]}.
"""
import json
import pathlib
import sys

import numpy
import torch
from safetensors.torch import save_file
from torch.func import functional_call
from transformers import AutoConfig, AutoModelForCausalLM

RANK, ALPHA, LENGTH, VOCAB = 2, 8, 16, 320
EMBD, FF, HEADS, KV, DIM, LAYERS = 32, 48, 4, 2, 8, 2
SIZES = dict(hidden_size=EMBD, intermediate_size=FF, num_hidden_layers=LAYERS, num_attention_heads=HEADS, vocab_size=VOCAB,
             max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0)
GROUPED = dict(SIZES, num_key_value_heads=KV)


def numbers(name, shape, center, size):
    h = 0x811c9dc5
    for byte in name.encode():
        h = (h ^ byte) * 0x01000193 & 0xffffffff
    n = int(numpy.prod(shape))
    with numpy.errstate(over="ignore"):
        h = numpy.uint32(h) + numpy.arange(n, dtype=numpy.uint32) * numpy.uint32(0x9e3779b9)
        for shift, factor in ((16, 0x85ebca6b), (13, 0xc2b2ae35)):
            h = (h ^ h >> numpy.uint32(shift)) * numpy.uint32(factor)
        h ^= h >> numpy.uint32(16)
    u = (h >> numpy.uint32(8)).astype(numpy.float64) / 2.0**24
    return torch.from_numpy((center + size * (2 * u - 1)).astype(numpy.float32).reshape(shape))


# InternLM 2's names, and those of Llama's class, which computes it here.
INTERNLM2 = (("tok_embeddings", "embed_tokens"), ("attention_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"),
             ("attention.wo", "self_attn.o_proj"), ("feed_forward.w1", "mlp.gate_proj"), ("feed_forward.w3", "mlp.up_proj"),
             ("feed_forward.w2", "mlp.down_proj"), ("output.weight", "lm_head.weight"))


def packed_heads(weights):
    """InternLM 2's wqkv: for each key/value head its query heads, then k, then v."""
    of_class = {}
    for name, w in weights.items():
        for own, llamas in INTERNLM2:
            name = name.replace(own, llamas)
        if "attention.wqkv" in name:
            packs = w.reshape(KV, HEADS // KV + 2, DIM, EMBD)
            for part, rows in (("q", packs[:, :-2]), ("k", packs[:, -2]), ("v", packs[:, -1])):
                of_class[name.replace("attention.wqkv", f"self_attn.{part}_proj")] = rows.reshape(-1, EMBD)
        else:
            of_class[name] = w
    return of_class


def below_one_another(weights):
    """Baichuan's W_pack: q, k, v."""
    of_class = {}
    for name, w in weights.items():
        if "W_pack" in name:
            for part, rows in zip("qkv", w.reshape(3, EMBD, EMBD)):
                of_class[name.replace("W_pack", f"{part}_proj")] = rows
        else:
            of_class[name] = w
    return of_class


LLAMA = dict(GROUPED, rms_norm_eps=1e-5, hidden_act="silu", tie_word_embeddings=False)
LFM2 = dict(GROUPED, num_hidden_layers=3, norm_eps=1e-5, tie_word_embeddings=True)
LFM2_TAPS = dict(LFM2, model_type="lfm2", num_key_value_heads=1, conv_L_cache=4, block_multiple_of=20,
                 block_ffn_dim_multiplier=1.2, block_auto_adjust_ff_dim=True, full_attn_idxs=[1], rope_theta=1e4)
# The classes norm latents with 1e-6 whatever rms_norm_eps says; GGUF has one number for all norms.
LATENT = dict(SIZES, num_hidden_layers=3, num_key_value_heads=HEADS, kv_lora_rank=12, qk_nope_head_dim=10,
              qk_rope_head_dim=6, v_head_dim=14, moe_intermediate_size=24, n_shared_experts=2, first_k_dense_replace=1,
              rms_norm_eps=1e-6, tie_word_embeddings=False)
QWEN35 = dict(GROUPED, num_hidden_layers=3, head_dim=16, rms_norm_eps=1e-5, tie_word_embeddings=False,
              layer_types=["linear_attention", "full_attention", "linear_attention"], linear_num_key_heads=2)
MINICPM = dict(scale_emb=12, scale_depth=1.4, dim_model_base=16)
# Granite 4 and Mamba-2 have one group, for which the classes' norm over a whole row is that of each group.
# Nemotron-H's class sums states over chunks in a way of its own where there are several, and bounds steps from below; the
# kernels that it takes on GPUs do neither: one chunk, no bound.
# Of each the configuration of the class that computes it, and config.json where that is another's: models that transformers
# has no class for are computed by Llama's or Granite's, with their weights renamed (OF_CLASS).
GEMMA4 = dict(SIZES, model_type="gemma4_text", hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-5, sliding_window=5,
              num_hidden_layers=5, num_kv_shared_layers=2, vocab_size_per_layer_input=VOCAB, tie_word_embeddings=True,
              layer_types=[f"{kind}_attention" for kind in ("sliding", "full", "sliding", "sliding", "full")],
              rope_parameters={"full_attention": {"rope_type": "proportional", "rope_theta": 500.0, "partial_rotary_factor": 0.5},
                               "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}})
FAMILIES = {
    "gemma4-wide": (dict(GEMMA4, num_attention_heads=6, num_key_value_heads=3, num_global_key_value_heads=2, head_dim=DIM,
                         global_head_dim=12, attention_k_eq_v=True, use_double_wide_mlp=True, hidden_size_per_layer_input=10,
                         final_logit_softcapping=8.0),),
    "gemma4-experts": (dict(GEMMA4, num_key_value_heads=1, head_dim=12, global_head_dim=DIM, hidden_size_per_layer_input=6,
                            enable_moe_block=True, num_experts=5, top_k_experts=3, moe_intermediate_size=20),),
    "arcee": (dict(GROUPED, model_type="arcee", rms_norm_eps=1e-5, head_dim=DIM, tie_word_embeddings=False),),
    # Queries made at once, YaRN, a sigmoid's choice by groups of experts.
    "deepseek3": (dict(LATENT, model_type="deepseek_v3", q_lora_rank=None, n_routed_experts=8, num_experts_per_tok=3,
                       n_group=4, topk_group=2, norm_topk_prob=True, routed_scaling_factor=2.5,
                       rope_parameters=dict(rope_type="yarn", rope_theta=1e4, factor=4.0, mscale=1.0, mscale_all_dim=1.0,
                                            beta_fast=32, beta_slow=1, original_max_position_embeddings=16)),),
    # Groups by their best expert, weights as they are.
    "deepseek2-groups": (dict(LATENT, model_type="deepseek_v2", q_lora_rank=20, n_routed_experts=6, num_experts_per_tok=2,
                              n_group=3, topk_group=2, topk_method="group_limited_greedy", norm_topk_prob=False,
                              routed_scaling_factor=1.5),),
    "glm4moelite": (dict(LATENT, model_type="glm4_moe_lite", q_lora_rank=20, n_routed_experts=5, num_experts_per_tok=2,
                         n_group=1, topk_group=1, norm_topk_prob=True, routed_scaling_factor=1.8),),
    "ernie4_5": (dict(GROUPED, model_type="ernie4_5", head_dim=16, rms_norm_eps=1e-5, use_bias=False),),
    "falcon": (dict(SIZES, model_type="falcon", new_decoder_architecture=True, num_kv_heads=KV,
                    num_ln_in_parallel_attn=1, ffn_hidden_size=FF, bias=False, alibi=False, parallel_attn=True),),
    "gpt2": (dict(model_type="gpt2", n_layer=LAYERS, n_embd=EMBD, n_head=HEADS, n_inner=FF, n_positions=64, vocab_size=VOCAB,
                  bos_token_id=1, eos_token_id=2),),
    "gptneox": (dict(SIZES, model_type="gpt_neox", rotary_pct=0.5, use_parallel_residual=True, tie_word_embeddings=False),),
    "gptneox-serial": (dict(SIZES, model_type="gpt_neox", rotary_pct=0.25, use_parallel_residual=False,
                            tie_word_embeddings=False),),
    "hunyuan-dense": (dict(GROUPED, model_type="hunyuan_v1_dense", head_dim=16, rms_norm_eps=1e-5, use_qk_norm=True,
                           tie_word_embeddings=True),),
    "lfm2-taps": (LFM2_TAPS, dict(LFM2_TAPS, architectures=["Lfm2ForCausalLM"])),
    "lfm2moe-scaled": (dict(LFM2, model_type="lfm2_moe", layer_types=["conv", "full_attention", "conv"], conv_L_cache=2,
                            num_experts=5, num_experts_per_tok=3, moe_intermediate_size=24, num_dense_layers=1,
                            norm_topk_prob=False, routed_scaling_factor=2.5, use_expert_bias=True),),
    "falcon-h1-factors": (dict(GROUPED, model_type="falcon_h1", head_dim=DIM, rms_norm_eps=1e-5, tie_word_embeddings=False,
                               mamba_d_ssm=48, mamba_n_heads=6, mamba_d_head=8, mamba_n_groups=2, mamba_d_state=10,
                               mamba_d_conv=3, mamba_chunk_size=4, mamba_rms_norm=True, mamba_norm_before_gate=False,
                               rope_theta=1e4, embedding_multiplier=1.5, lm_head_multiplier=0.75, attention_in_multiplier=0.9,
                               attention_out_multiplier=1.25, key_multiplier=0.6, ssm_in_multiplier=1.4,
                               ssm_out_multiplier=0.8, mlp_multipliers=[1.2, 0.7],
                               ssm_multipliers=[0.7, 1.3, 0.9, 1.1, 0.6]),),
    "granitehybrid-moe": (dict(GROUPED, num_hidden_layers=3, model_type="granitemoehybrid", rms_norm_eps=1e-5,
                               layer_types=["mamba", "attention", "mamba"], num_local_experts=5, num_experts_per_tok=3,
                               shared_intermediate_size=40, mamba_n_heads=16, mamba_d_head=4, mamba_n_groups=1,
                               mamba_d_state=7, mamba_d_conv=3, mamba_expand=2, mamba_chunk_size=4,
                               embedding_multiplier=6.0, attention_multiplier=0.2, residual_multiplier=0.4,
                               logits_scaling=3.0, position_embedding_type=None, tie_word_embeddings=True),),
    "mamba2": (dict(model_type="mamba2", hidden_size=EMBD, num_hidden_layers=LAYERS, vocab_size=VOCAB, num_heads=16, head_dim=4,
                    n_groups=1, state_size=9, conv_kernel=4, expand=2, chunk_size=4, layer_norm_epsilon=1e-5,
                    tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=0),),
    "nemotron_h": (dict(GROUPED, model_type="nemotron_h", num_hidden_layers=4, layers_block_type=["mamba", "mlp", "attention", "mamba"],
                        hybrid_override_pattern="M-*M", head_dim=DIM, mamba_num_heads=6, mamba_head_dim=7, n_groups=3,
                        ssm_state_size=5, conv_kernel=4, chunk_size=LENGTH, time_step_min=1e-9, layer_norm_epsilon=1e-5, mlp_hidden_act="relu2",
                        tie_word_embeddings=False),),
    "nemotron": (dict(GROUPED, model_type="nemotron", head_dim=DIM, partial_rotary_factor=0.5, norm_eps=1e-5,
                      tie_word_embeddings=False),),
    "olmo": (dict(GROUPED, model_type="olmo", clip_qkv=None, tie_word_embeddings=False),),
    "olmo-clip": (dict(GROUPED, model_type="olmo", clip_qkv=0.8, tie_word_embeddings=False),),
    "phi2": (dict(SIZES, model_type="phi", partial_rotary_factor=0.5, hidden_act="gelu_new", tie_word_embeddings=False),),
    "stablelm": (dict(GROUPED, model_type="stablelm", partial_rotary_factor=0.25, use_qkv_bias=True, layer_norm_eps=1e-5,
                      tie_word_embeddings=False),),
    "qwen35-uneven": (dict(QWEN35, model_type="qwen3_5_text", linear_num_value_heads=6, linear_key_head_dim=8,
                           linear_value_head_dim=12, linear_conv_kernel_dim=3, partial_rotary_factor=0.5,
                           rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5)),),
    "qwen3next-uneven": (dict(QWEN35, model_type="qwen3_next", linear_num_value_heads=6, linear_key_head_dim=12,
                              linear_value_head_dim=8, linear_conv_kernel_dim=5, num_experts=4, num_experts_per_tok=2,
                              moe_intermediate_size=24, shared_expert_intermediate_size=40, norm_topk_prob=True,
                              rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.25)),),
    "baichuan": (dict(LLAMA, model_type="llama", num_key_value_heads=HEADS),
                 dict(SIZES, architectures=["BaiChuanForCausalLM"], model_type="baichuan", rms_norm_eps=1e-5,
                      hidden_act="silu", tie_word_embeddings=False)),
    "internlm2": (dict(LLAMA, model_type="llama"),
                  dict(LLAMA, architectures=["InternLM2ForCausalLM"], model_type="internlm2", bias=False)),
    "minicpm": (dict(LLAMA, model_type="granite", embedding_multiplier=12.0, residual_multiplier=1.4 / LAYERS**0.5,
                     logits_scaling=EMBD / 16, attention_multiplier=DIM**-0.5, tie_word_embeddings=True),
                dict(LLAMA, architectures=["MiniCPMForCausalLM"], model_type="minicpm", tie_word_embeddings=True, **MINICPM)),
}
OF_CLASS = {"baichuan": below_one_another, "internlm2": packed_heads}


def falcon_factors(c, tensor, n_rows):
    """What rows of a weight of Falcon-H1 are multiplied by in GGUF, one factor after the other."""
    n_bc = c["mamba_n_groups"] * c["mamba_d_state"]
    parts = (c["mamba_d_ssm"], c["mamba_d_ssm"], n_bc, n_bc, c["mamba_n_heads"])
    of_in = [(c["ssm_in_multiplier"], f) for n, f in zip(parts, c["ssm_multipliers"]) for _ in range(n)]
    one = {"q_proj": (c["attention_in_multiplier"], 1), "v_proj": (c["attention_in_multiplier"], 1),
           "k_proj": (c["key_multiplier"], c["attention_in_multiplier"]), "o_proj": (c["attention_out_multiplier"], 1),
           "gate_proj": (c["mlp_multipliers"][0], 1), "down_proj": (c["mlp_multipliers"][1], 1),
           "mamba.out_proj": (c["ssm_out_multiplier"], 1)}
    if "mamba.in_proj" in tensor:
        return of_in
    return next(([f] * n_rows for part, f in one.items() if part in tensor), None)


FACTORS = {"falcon-h1-factors": falcon_factors}


def own_names(name, shapes):
    """Names and shapes as the family has them, from the class's."""
    if name not in OF_CLASS:
        return shapes
    own = {}
    for tensor, shape in shapes.items():
        if name == "internlm2":
            for theirs, llamas in INTERNLM2:
                tensor = tensor.replace(llamas, theirs)
        pack = "attention.wqkv" if name == "internlm2" else "self_attn.W_pack"
        kv = KV if name == "internlm2" else HEADS
        if "q_proj" in tensor:
            own[tensor.replace("self_attn.q_proj", pack)] = ((HEADS + 2 * kv) * DIM, EMBD)
        elif "k_proj" not in tensor and "v_proj" not in tensor:
            own[tensor] = shape
    return own


def make(name, folder):
    config_of_class, *other = FAMILIES[name]
    config = AutoConfig.for_model(**config_of_class)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    for module in model.modules():
        if type(module).__name__ == "DeepseekV2Moe":
            module.num_experts = config.n_routed_experts  # which transformers 5.12 forgets
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    shapes |= {n: tuple(p.shape) for n, p in model.named_buffers()
               if n.endswith(("expert_bias", "e_score_correction_bias", "layer_scalar"))}
    turned = {n + ".weight" for n, m in model.named_modules() if type(m).__name__ == "Conv1D"}
    linears = {n + ".weight" for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)} | turned
    tensors = {}
    for tensor, shape in own_names(name, shapes).items():
        is_norm = len(shape) == 1 and not tensor.endswith("bias") and not tensor.endswith("A_log")
        lacks_one = name == "nemotron" or (name.startswith("qwen3") and not tensor.endswith("linear_attn.norm.weight"))
        center = -1 if tensor.endswith(("A_log", "dt_bias")) else 0 if not is_norm or lacks_one else 1
        is_table = any(part in tensor for part in ("embed", "wte", "wpe"))
        size = 0.5 if len(shape) == 1 else 1 if is_table else 2 / shape[0 if tensor in turned else 1]**0.5
        if name == "minicpm" and "embed" in tensor:
            size = 0.2  # the output, too
        tensors[tensor] = (shape, center, size, tensor in turned)
        factors = FACTORS[name](config_of_class, tensor, shape[0]) if name in FACTORS else None
        if factors:
            tensors[tensor] += (factors,)
    base = {n: numbers(n, *rule[:3]) for n, rule in tensors.items()}
    # Adapters are on weights as GGUF has them.
    rows = {n: torch.tensor([a * b for a, b in rule[4]])[:, None] for n, rule in tensors.items() if len(rule) > 4}
    to_class = OF_CLASS.get(name, lambda weights: weights)
    in_blocks = {n for n in linears if any(c.isdigit() for c in n.split(".")) and "router." not in n}
    own_linears = sorted(n for n in own_names(name, {n: shapes[n] for n in in_blocks}))
    rng = numpy.random.default_rng(1)
    ids = torch.from_numpy(rng.integers(3, VOCAB, (2, LENGTH)).astype(numpy.int64))

    def run(weights):
        logits = functional_call(model, to_class(weights), (ids,)).logits
        return logits, torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, VOCAB), ids[:, 1:].reshape(-1))

    adapters = {}
    for p in own_linears:
        n_out, n_in = reversed(tensors[p][0]) if p in turned else tensors[p][0]
        adapters[f"{p}.lora_a"] = numbers(f"init.{p}.lora_a", (RANK, n_in), 0, 1 / n_in**0.5).requires_grad_()
        adapters[f"{p}.lora_b"] = numbers(f"init.{p}.lora_b", (n_out, RANK), 0, 0.2).requires_grad_()

    def adapted():
        weights = dict(base)
        for p in own_linears:
            delta = ALPHA / RANK * (adapters[f"{p}.lora_b"] @ adapters[f"{p}.lora_a"])
            weights[p] = base[p] + (delta.T if p in turned else delta / rows[p] if p in rows else delta)
        return run(weights)[1]

    with torch.no_grad():
        logits, loss = run(base)
    result = {"ids": ids.to(torch.int32), "base_logits": logits[0], "base_loss": loss.reshape(1)}
    loss = adapted()
    loss.backward()
    result["loss"] = loss.detach().reshape(1)
    for p, value in adapters.items():
        result[f"grad.{p}"] = value.grad.clone()
    optimizer = torch.optim.AdamW(adapters.values(), lr=1e-3, weight_decay=0)
    curve = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = adapted()
        loss.backward()
        curve.append(loss.item())
        optimizer.step()
    result["curve.loss"] = torch.tensor(curve)
    stated = other[0] if other else dict(config.to_dict(), architectures=[type(model).__name__])
    save_file({n: t.contiguous() for n, t in result.items()}, folder / f"{name}.safetensors",
              {"config": json.dumps(stated, sort_keys=True).replace("Infinity", '{"__float__": "Infinity"}'), "tensors": json.dumps(tensors)})
    print(name, "loss", float(result["base_loss"]), "->", float(result["loss"]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = pathlib.Path(__file__).parent / "families"
    folder.mkdir(exist_ok=True)
    for family in sys.argv[1:] or FAMILIES:
        make(family, folder)
