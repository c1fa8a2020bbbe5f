#include "convert/kept.h"

#include <algorithm>

namespace lora {
namespace {

struct Kept {
  std::string_view part;  // of the name; # is any digit
  std::string_view why;
};
constexpr Kept kKeptParts[] = {
    {"norm", "norm"},
    // Which experts a token goes to.
    {"ffn_gate_inp", "router"},
    {"ffn_gate_tid2eid", "router"},
    // Of some taps per channel; the operations on them take F32.
    {"shortconv.conv.", "convolution"},
    {"ssm_conv1d", "convolution"},
    // Added to what goes through the model, not multiplied with it.
    {"position_embd", "position embedding"},
    {"token_types", "token-type embedding"},
    {"attn_rel_b", "position bias"},
    // RWKV's mixing factors and their low-rank halves.
    {"time_mix_first.", "small"},
    {"time_mix_w#.", "small"},
    {"time_mix_v#.", "small"},
    {"time_mix_a#.", "small"},
    {"time_mix_g#.", "small"},
    {"time_mix_decay_w#.", "small"},
    {"time_mix_lerp_fused.", "small"},
    // Gemma 3n's.
    {"altup", "small"},
    {"laurel", "small"},
    {"per_layer_model_proj", "small"},
    // Sparse attention's choice of what to look at.
    {"indexer.k_proj.", "small"},
    {"indexer.q_proj.", "small"},
    // Of towers that see or hear.
    {"sam.pos_embd", "position embedding"},
    {".rel_pos", "position embedding"},
    {"sam.neck.", "convolution"},
    {"sam.net_", "convolution"},
    {".patch_embd", "convolution"},
    {".patch_merger", "convolution"},
    {"a.rvq.codebook", "codebook"},
    {"mm.a.code_embd", "codebook"},
};

bool is_in(std::string_view part, std::string_view name) {
  const auto same = [](char c, char wanted) {
    return c == wanted || (wanted == '#' && '0' <= c && c <= '9');
  };
  return std::search(name.begin(), name.end(), part.begin(), part.end(), same) != name.end();
}

}  // namespace

std::string_view why_kept(std::string_view name, int n_dims) {
  if (n_dims < 2) return "vector";
  if (name.ends_with("bias")) return "bias";
  if (!name.ends_with("weight")) return "no weight";
  const auto row = std::ranges::find_if(kKeptParts, [&](const Kept& kept) { return is_in(kept.part, name); });
  return row == std::end(kKeptParts) ? std::string_view() : row->why;
}

std::string_view why_kept(const GgufTensor& tensor) {
  if (!traits(tensor.type).decode) return "no weight";
  int n_dims = int(tensor.n_dims);
  while (n_dims > 1 && tensor.ne[n_dims - 1] == 1) --n_dims;
  return why_kept(tensor.name, n_dims);
}

}  // namespace lora
