#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>

#include "hf_models.h"

namespace lora::test {
namespace {

using Vec = std::vector<double>;
using nlohmann::ordered_json;

struct Reference {
  const HfModel& model;
  int64_t n_embd = model.number("hidden_size"), n_head = model.number("num_attention_heads");
  int64_t n_kv = model.number("num_key_value_heads");
  int64_t head_dim = model.config.value("head_dim", n_embd / n_head);
  double eps = model.config.at("rms_norm_eps");

  const std::vector<float>& weight(const std::string& name) const { return model.tensors.at(name).values; }

  Vec linear(std::span<const double> x, const std::string& name) const {
    const HfStored& w = model.tensors.at(name + ".weight");
    Vec y(size_t(w.shape[0]));
    for (size_t i = 0; i < y.size(); ++i) {
      for (size_t j = 0; j < x.size(); ++j) y[i] += double(w.values[i * x.size() + j]) * x[j];
    }
    if (const auto bias = model.tensors.find(name + ".bias"); bias != model.tensors.end()) {
      for (size_t i = 0; i < y.size(); ++i) y[i] += bias->second.values[i];
    }
    return y;
  }

  Vec norm(std::span<const double> x, const std::string& name) const {
    const std::vector<float>& w = weight(name + ".weight");
    double square = 0;
    for (double v : x) square += v * v;
    const double scale = 1 / std::sqrt(square / double(x.size()) + eps);
    Vec y(x.begin(), x.end());
    for (size_t i = 0; i < y.size(); ++i) y[i] *= scale * (w[i] + (model.traits.norm_plus_one ? 1.0 : 0.0));
    return y;
  }

  // Frequencies of the pairs (i, i + d/2), and the factor on cosine and sine.
  struct Rope {
    Vec frequency;
    double factor = 1;
  };
  Rope rope(bool slides) const {
    const ordered_json& c = model.config;
    ordered_json p = c.contains("rope_parameters") ? c["rope_parameters"] : ordered_json::object();
    if (c.contains("rope_scaling")) p.update(c["rope_scaling"]);
    if (c.contains("rope_theta")) p["rope_theta"] = c["rope_theta"];
    if (slides && c.contains("rope_local_base_freq")) p = {{"rope_theta", c["rope_local_base_freq"]}};
    const double theta = p.at("rope_theta"), factor = p.value("factor", 1.0);
    const std::string type = p.value("rope_type", p.value("type", "default"));
    const int64_t half = head_dim / 2;
    const double original =
        p.value("original_max_position_embeddings", c.value("original_max_position_embeddings", 1.0));
    Rope rope;
    for (int64_t i = 0; i < half; ++i) {
      double f = std::pow(theta, -2.0 * double(i) / double(head_dim));
      if (type == "linear") f /= factor;
      if (type == "llama3") f = llama3(f, factor, p["low_freq_factor"], p["high_freq_factor"], original);
      if (type == "longrope") f /= double(p["short_factor"][size_t(i)]);
      if (type == "yarn") f = yarn(f, i, theta, factor, original);
      rope.frequency.push_back(f);
    }
    if (type == "yarn") rope.factor = 0.1 * std::log(factor) + 1;
    if (type == "longrope") {
      rope.factor = std::sqrt(1 + std::log(c.at("max_position_embeddings").get<double>() / original) /
                                      std::log(original));
    }
    return rope;
  }

  static double llama3(double f, double factor, double low, double high, double original) {
    const double wave = 2 * std::numbers::pi / f;
    if (wave < original / high) return f;
    if (wave > original / low) return f / factor;
    const double smooth = (original / wave - low) / (high - low);
    return (1 - smooth) * f / factor + smooth * f;
  }

  // Peng et al. 2023, with beta 32 and 1.
  double yarn(double f, int64_t i, double theta, double factor, double original) const {
    const auto dim = [&](double turns) {
      return double(head_dim) * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
    };
    const double low = std::max(std::floor(dim(32)), 0.0);
    const double high = std::min(std::ceil(dim(1)), double(head_dim - 1));
    const double ramp = std::clamp((double(i) - low) / std::max(high - low, 0.001), 0.0, 1.0);
    return f / factor * ramp + f * (1 - ramp);
  }

  void rotate(std::span<double> x, int64_t position, const Rope& rope) const {
    for (size_t i = 0; i < x.size() / 2; ++i) {
      const double angle = double(position) * rope.frequency[i];
      const double c = std::cos(angle) * rope.factor, s = std::sin(angle) * rope.factor;
      const double a = x[i], b = x[i + x.size() / 2];
      x[i] = a * c - b * s;
      x[i + x.size() / 2] = b * c + a * s;
    }
  }

  Vec head_norm(const Vec& x, const std::string& name) const {
    if (!model.traits.head_norms) return x;
    Vec y;
    for (size_t at = 0; at < x.size(); at += size_t(head_dim)) {
      const Vec part = norm(std::span(x).subspan(at, size_t(head_dim)), name);
      y.insert(y.end(), part.begin(), part.end());
    }
    return y;
  }

  std::vector<Vec> attention(const std::vector<Vec>& x, const std::string& layer, bool slides) const {
    const size_t n = x.size(), hd = size_t(head_dim), q_size = size_t(n_head) * hd,
                 kv_size = size_t(n_kv) * hd;
    const Rope frequencies = rope(slides);
    std::vector<Vec> q(n), k(n), v(n), out(n);
    for (size_t t = 0; t < n; ++t) {
      if (model.traits.fused) {
        const Vec all = linear(x[t], layer + "self_attn.qkv_proj");
        const auto from = all.begin();
        q[t] = Vec(from, from + std::ptrdiff_t(q_size));
        k[t] = Vec(from + std::ptrdiff_t(q_size), from + std::ptrdiff_t(q_size + kv_size));
        v[t] = Vec(from + std::ptrdiff_t(q_size + kv_size), all.end());
      } else {
        q[t] = linear(x[t], layer + "self_attn.q_proj");
        k[t] = linear(x[t], layer + "self_attn.k_proj");
        v[t] = linear(x[t], layer + "self_attn.v_proj");
      }
      q[t] = head_norm(q[t], layer + "self_attn.q_norm");
      k[t] = head_norm(k[t], layer + "self_attn.k_norm");
      for (size_t h = 0; h < q_size; h += hd) rotate(std::span(q[t]).subspan(h, hd), int64_t(t), frequencies);
      for (size_t h = 0; h < kv_size; h += hd)
        rotate(std::span(k[t]).subspan(h, hd), int64_t(t), frequencies);
    }
    const size_t window = slides ? size_t(model.number("sliding_window")) : n;
    const double cap = model.config.value("attn_logit_softcapping", 0.0);
    for (size_t t = 0; t < n; ++t) {
      Vec mixed(q_size);
      for (size_t h = 0; h < size_t(n_head); ++h) {
        const size_t kv = h / size_t(n_head / n_kv) * hd;
        Vec scores(t + 1, -INFINITY);
        for (size_t s = 0; s <= t; ++s) {
          if (t - s >= window) continue;
          double dot = 0;
          for (size_t i = 0; i < hd; ++i) dot += q[t][h * hd + i] * k[s][kv + i];
          dot /= std::sqrt(double(head_dim));
          scores[s] = cap > 0 ? cap * std::tanh(dot / cap) : dot;
        }
        const double highest = *std::max_element(scores.begin(), scores.end());
        double sum = 0;
        for (double& score : scores) sum += score = std::exp(score - highest);
        for (size_t s = 0; s <= t; ++s) {
          for (size_t i = 0; i < hd; ++i) mixed[h * hd + i] += scores[s] / sum * v[s][kv + i];
        }
      }
      out[t] = linear(mixed, layer + "self_attn.o_proj");
    }
    return out;
  }

  Vec mlp(const Vec& x, const std::string& layer) const {
    Vec gate, up;
    if (model.traits.fused) {
      const Vec both = linear(x, layer + "mlp.gate_up_proj");
      gate = Vec(both.begin(), both.begin() + std::ptrdiff_t(both.size() / 2));
      up = Vec(both.begin() + std::ptrdiff_t(both.size() / 2), both.end());
    } else {
      gate = linear(x, layer + "mlp.gate_proj");
      up = linear(x, layer + "mlp.up_proj");
    }
    for (size_t i = 0; i < up.size(); ++i) {
      const double g = gate[i];
      const double gelu =
          0.5 * g * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g)));
      up[i] *= model.traits.gelu ? gelu : g / (1 + std::exp(-g));
    }
    return linear(up, layer + "mlp.down_proj");
  }

  static void add(std::vector<Vec>& x, const std::vector<Vec>& y) {
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t i = 0; i < x[t].size(); ++i) x[t][i] += y[t][i];
    }
  }

  std::vector<Vec> each(const std::vector<Vec>& x, const std::function<Vec(const Vec&)>& f) const {
    std::vector<Vec> y;
    for (const Vec& row : x) y.push_back(f(row));
    return y;
  }

  Vec logits(const std::vector<int32_t>& ids) const {
    const std::vector<float>& table = weight("model.embed_tokens.weight");
    std::vector<Vec> x;
    for (const int32_t id : ids) {
      x.emplace_back(table.begin() + id * n_embd, table.begin() + (id + 1) * n_embd);
      if (!model.traits.scaled_embedding) continue;
      for (double& value : x.back()) value *= std::sqrt(double(n_embd));
    }
    for (int64_t l = 0; l < model.number("num_hidden_layers"); ++l) {
      const std::string layer = "model.layers." + std::to_string(l) + ".";
      const bool four = model.traits.four_norms;
      const bool slides = model.traits.sliding_period > 0 && (l + 1) % model.traits.sliding_period != 0;
      const auto normed = [&](const char* name) {
        return each(x, [&](const Vec& row) { return norm(row, layer + name); });
      };
      std::vector<Vec> y = attention(normed("input_layernorm"), layer, slides);
      if (four) y = each(y, [&](const Vec& row) { return norm(row, layer + "post_attention_layernorm"); });
      add(x, y);
      y = each(normed(four ? "pre_feedforward_layernorm" : "post_attention_layernorm"),
               [&](const Vec& row) { return mlp(row, layer); });
      if (four) y = each(y, [&](const Vec& row) { return norm(row, layer + "post_feedforward_layernorm"); });
      add(x, y);
    }
    const bool tied = model.config.at("tie_word_embeddings");
    const double cap = model.config.value("final_logit_softcapping", 0.0);
    Vec result;
    for (const Vec& row : x) {
      for (double logit : linear(norm(row, "model.norm"), tied ? "model.embed_tokens" : "lm_head")) {
        result.push_back(cap > 0 ? cap * std::tanh(logit / cap) : logit);
      }
    }
    return result;
  }
};

}  // namespace

std::vector<double> reference_logits(const HfModel& model, const std::vector<int32_t>& ids) {
  return Reference{model}.logits(ids);
}

double reference_loss(const HfModel& model, const std::vector<int32_t>& ids) {
  const std::vector<double> logits = reference_logits(model, ids);
  const size_t n_vocab = logits.size() / ids.size();
  double sum = 0;
  for (size_t t = 0; t + 1 < ids.size(); ++t) {
    const auto row = std::span(logits).subspan(t * n_vocab, n_vocab);
    const double highest = *std::max_element(row.begin(), row.end());
    double total = 0;
    for (double logit : row) total += std::exp(logit - highest);
    sum += highest + std::log(total) - row[size_t(ids[t + 1])];
  }
  return sum / double(ids.size() - 1);
}

}  // namespace lora::test
