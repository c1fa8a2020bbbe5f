#include "model/weight_prefetch.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <system_error>
#include <utility>

#include "base/elementary.h"
#include "base/large_pages.h"
#include "base/system_file.h"

namespace lora {
namespace {

constexpr size_t kPieceBytes = size_t{8} << 20;  // enough to keep a disk at its best, and soon there
constexpr double kAllChosen = 1e9;               // tokens, of which some choose each expert
constexpr size_t kGapBytes = size_t{64} << 10;   // norms and biases between the weights of a layer

std::span<const std::byte> data_of(const MatrixView& w) {
  return {w.data, size_t(w.n_rows * w.row_bytes())};
}

// In the file's order, what lies beside one another as one: a disk reads it in a row, and large pages belong
// to one piece.
std::vector<std::span<const std::byte>> joined(std::vector<std::span<const std::byte>> weights) {
  std::ranges::sort(weights, {}, [](const auto& w) { return w.data(); });
  std::vector<std::span<const std::byte>> result;
  for (const auto& w : weights) {
    const std::byte* const end = result.empty() ? nullptr : result.back().data() + result.back().size();
    if (end && w.data() < end + kGapBytes) {
      result.back() = {result.back().data(), std::max(end, w.data() + w.size())};
    } else {
      result.push_back(w);
    }
  }
  return result;
}

void add_pieces(std::vector<std::span<const std::byte>>& pieces, std::span<const std::byte> weights) {
  while (!weights.empty()) {
    const size_t n = kPieceBytes - reinterpret_cast<uintptr_t>(weights.data()) % kPieceBytes;
    pieces.push_back(weights.first(std::min(n, weights.size())));
    weights = weights.subspan(pieces.back().size());
  }
}

uint64_t total(const std::vector<std::span<const std::byte>>& spans) {
  return std::accumulate(spans.begin(), spans.end(), uint64_t{0},
                         [](uint64_t sum, const auto& span) { return sum + span.size(); });
}

std::vector<std::span<const std::byte>> pieces_of(const StageWeights& stage) {
  std::vector<std::span<const std::byte>> pieces;
  for (const auto& weights : joined(stage.always)) add_pieces(pieces, weights);
  return pieces;
}

// Whether some of n_tokens choose an expert.
double chosen_share(const StageWeights& stage, double n_tokens) {
  return 1 - elementary::pow(1 - stage.used, n_tokens);
}

}  // namespace

uint64_t StageWeights::bytes() const {
  return total(always) + total(experts);
}

std::vector<StageWeights> stage_weights(const Model& model, std::span<const Layer> layers) {
  std::vector<StageWeights> stages;
  for (const Layer& layer : layers) {
    StageWeights& stage = stages.emplace_back();
    std::vector<const std::byte*> of_experts;
    for (const Branch& branch : layer.branches) {
      for (const Body& body : branch.bodies) {
        const auto* experts = std::get_if<Experts>(&body);
        if (!experts) continue;
        stage.used = double(experts->form.n_used) / double(experts->form.n_expert);
        for (const Mlp& expert : experts->experts) {
          for_each_linear(expert, [&](const Linear& linear, LinearRole) {
            stage.experts.push_back(data_of(linear.w));
            of_experts.push_back(linear.w.data);
          });
        }
      }
    }
    std::ranges::sort(of_experts);
    for_each_weight(layer, [&](const MatrixView& w) {
      if (!std::ranges::binary_search(of_experts, w.data)) stage.always.push_back(data_of(w));
    });
  }
  stages.emplace_back().always.push_back(data_of(model.output.w));
  return stages;
}

std::vector<StageWeights> stage_weights(const Model& model, const NetworkPart& part) {
  std::vector<StageWeights> stages =
      stage_weights(model, std::span(model.layers).subspan(size_t(part.layers.begin), size_t(part.layers.n)));
  if (!part.has_head) stages.pop_back();
  return stages;
}

uint64_t weight_bytes(const std::vector<StageWeights>& stages) {
  uint64_t sum = 0;
  for (const StageWeights& stage : stages) sum += stage.bytes();
  return sum;
}

uint64_t least_room(const std::vector<StageWeights>& stages) {
  uint64_t most = stages.size() == 1 ? stages.front().bytes() : 0;
  for (size_t i = 0; i + 1 < stages.size(); ++i)
    most = std::max(most, stages[i].bytes() + stages[i + 1].bytes());
  return most;
}

uint64_t least_room(const Model& model, const NetworkPart& part) {
  return std::min(least_room(stage_weights(model, part)), weight_bytes(model, part));
}

uint64_t least_room(const Model& model) {
  return least_room(model, {{0, int64_t(model.layers.size())}});
}

std::vector<std::vector<uint64_t>> piece_bytes(const std::vector<StageWeights>& stages, double n_tokens) {
  std::vector<std::vector<uint64_t>> result;
  for (const StageWeights& stage : stages) {
    auto& bytes = result.emplace_back();
    for (const auto& piece : pieces_of(stage)) bytes.push_back(piece.size());
    for (const auto& expert : stage.experts)
      bytes.push_back(uint64_t(double(expert.size()) * chosen_share(stage, n_tokens)));
  }
  return result;
}

std::optional<uint64_t> weight_room(const Model& model, const NetworkPart& part, uint64_t free,
                                    uint64_t taken) {
  const uint64_t left = free - std::min(free, taken);
  if (left >= weight_bytes(model, part)) return std::nullopt;
  return std::max(least_room(model, part), left);
}

std::optional<uint64_t> weight_room(const Model& model, uint64_t free, uint64_t taken) {
  return weight_room(model, {{0, int64_t(model.layers.size())}}, free, taken);
}

WeightPrefetch::WeightPrefetch(const Gguf& file, std::vector<StageWeights> stages, size_t first,
                               uint64_t room)
    : file_(file),
      stages_(std::move(stages)),
      pieces_([&] {
        std::vector<std::vector<std::span<const std::byte>>> result;
        for (const StageWeights& stage : stages_) {
          auto& pieces = result.emplace_back(pieces_of(stage));
          n_always_.push_back(pieces.size());
          // Experts are chosen one by one, so of them no more is read at once than is asked for.
          // A large page is 2 MB where a small one is 4 KB, and up to 512 MB elsewhere.
          for (const auto& weights : joined(stage.always))
            if (page_bytes() == 4096) prefer_large_pages(weights.data(), int64_t(weights.size()));
          // Whole matrices, as they are chosen.
          pieces.insert(pieces.end(), stage.experts.begin(), stage.experts.end());
        }
        return result;
      }()),
      orders_{sweep_order(stages_.size(), first, Sweep::up), sweep_order(stages_.size(), first, Sweep::down),
              sweep_order(stages_.size(), first, Sweep::up_and_down)},
      cache_(piece_bytes(stages_, kAllChosen), room),
      order_(orders_.front()) {
  try {
    reader_ = std::thread([this] { read(); });
  } catch (const std::system_error&) {  // page faults read, then
  }
}

WeightPrefetch::~WeightPrefetch() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  if (reader_.joinable()) reader_.join();
}

void WeightPrefetch::begin(int64_t n_tokens, Sweep sweep) {
  const std::lock_guard lock(mutex_);
  order_ = orders_[size_t(sweep)];
  entered_ = 0;
  n_tokens_ = double(n_tokens);
}

void WeightPrefetch::enter() {
  {
    const std::lock_guard lock(mutex_);
    cache_.enter(order_, entered_++ % order_.size());
    wanted_.clear();
    is_changed_ = true;
  }
  changed_.notify_one();
}

void WeightPrefetch::rows(const MatrixView& table, std::span<const int32_t> rows) {
  for (const int32_t row : std::set(rows.begin(), rows.end()))
    ask_for_pages(table.data + row * table.row_bytes(), size_t(table.row_bytes()));
}

void WeightPrefetch::chosen(const MatrixView& weights) {
  {
    const std::lock_guard lock(mutex_);
    if (entered_ == 0) return;
    const size_t stage = order_[(entered_ - 1) % order_.size()];
    for (size_t i = n_always_[stage]; i < pieces_[stage].size(); ++i) {
      if (pieces_[stage][i].data() == weights.data) wanted_.push_back({stage, i});
    }
    is_changed_ = true;
  }
  changed_.notify_one();
}

// Of experts few of which some of the tokens choose.
bool WeightPrefetch::is_skipped(SweepCache::Piece piece) const {
  if (piece.index < n_always_[piece.stage]) return false;
  return chosen_share(stages_[piece.stage], n_tokens_) < 0.5;
}

void WeightPrefetch::read() {
  std::unique_lock lock(mutex_);
  while (!ends_) {
    std::optional<SweepCache::Move> move;
    if (!wanted_.empty()) {
      move = cache_.load(wanted_.front());
      wanted_.pop_front();
    } else if (entered_ > 0) {
      move = cache_.next([this](SweepCache::Piece piece) { return is_skipped(piece); });
    }
    if (!move) {
      changed_.wait(lock, [this] { return ends_ || is_changed_; });
      is_changed_ = false;
      continue;
    }
    lock.unlock();
    const auto bytes = [this](SweepCache::Piece piece) { return pieces_[piece.stage][piece.index]; };
    for (const SweepCache::Piece piece : move->evicted) file_.give_back(bytes(piece));
    fetch_pages(bytes(move->loaded).data(), bytes(move->loaded).size());
    lock.lock();
  }
}

}  // namespace lora
