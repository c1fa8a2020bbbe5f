#include "cluster/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>

#include "base/error.h"
#include "base/machine.h"
#include "base/printable.h"

namespace lora {
namespace {

void add_to(std::span<float> sum, std::span<const float> other) {
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
}

// The sum of a node is left in the values of its first leaf's part. nullptr: it has no leaf.
std::span<float>* sum_of(SumNode node, int64_t n_leaves, std::map<SumNode, std::span<float>>& parts) {
  if (node.index << node.level >= n_leaves) return nullptr;
  if (const auto found = parts.find(node); found != parts.end()) return &found->second;
  if (node.level == 0) return nullptr;
  std::span<float>* const left = sum_of({node.level - 1, 2 * node.index}, n_leaves, parts);
  const std::span<float>* const right = sum_of({node.level - 1, 2 * node.index + 1}, n_leaves, parts);
  if (left && right) add_to(*left, *right);
  return left;
}

int levels(int64_t n_leaves) {
  return int(std::bit_width(uint64_t(std::max<int64_t>(n_leaves, 1) - 1)));
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Some of the processes of a transport.
class PartTransport : public Transport {
 public:
  PartTransport(std::shared_ptr<Transport> all, std::vector<int> ranks)
      : all_(std::move(all)),
        ranks_(std::move(ranks)),
        rank_(int(std::ranges::find(ranks_, all_->rank()) - ranks_.begin())) {}

  int rank() const override { return rank_; }
  int size() const override { return int(ranks_.size()); }
  std::string host(int rank) const override { return all_->host(of(rank)); }
  int64_t send(int to, std::span<const std::byte> bytes) override { return all_->send(of(to), bytes); }
  int64_t receive(int from, std::span<std::byte> bytes) override { return all_->receive(of(from), bytes); }
  void send_nothing(int to, size_t n) override { all_->send_nothing(of(to), n); }
  void wait(int64_t message) override { all_->wait(message); }
  void wait() override { all_->wait(); }
  bool stop(bool asked) override { return all_->stop(asked); }
  void abort() override { all_->abort(); }

 private:
  int of(int rank) const { return ranks_[size_t(rank)]; }

  std::shared_ptr<Transport> all_;
  std::vector<int> ranks_;
  int rank_;
};

}  // namespace

std::vector<SumNode> nodes_of(Share leaves) {
  std::vector<SumNode> nodes;
  for (int64_t at = leaves.begin; at < leaves.end;) {
    int level = 0;
    while (at % (int64_t{2} << level) == 0 && at + (int64_t{2} << level) <= leaves.end) ++level;
    nodes.push_back({level, at >> level});
    at += int64_t{1} << level;
  }
  return nodes;
}

void TreeSum::add() {
  SumNode node = {0, next_++};
  const auto add_left = [&] {
    add_to(parts_.back().values.span(), vector_);
    std::ranges::copy(parts_.back().values.span(), vector_.begin());
    parts_.pop_back();
  };
  while (!parts_.empty() && node.index % 2 == 1 &&
         parts_.back().node == SumNode{node.level, node.index - 1}) {
    add_left();
    node = {node.level + 1, node.index / 2};
  }
  last_ = node;
  if (next_ == leaves_.end) return;
  Buffer<float> values(int64_t(vector_.size()));
  std::ranges::copy(vector_, values.span().begin());
  parts_.push_back({node, std::move(values)});
  std::ranges::fill(vector_, 0.0f);
}

std::string Cluster::name(int rank) const {
  return fmt::format("process {} on {}", rank, host(rank));
}

int Cluster::size_here() const {
  int n = 0;
  for (int r = 0; r < size(); ++r) n += host(r) == host(rank());
  return n;
}

Share Cluster::share_of(int64_t n, int rank) const {
  return {n * rank / size(), n * (rank + 1) / size()};
}

int Cluster::default_threads() const {
  return std::max(1, physical_cores() / size_here());
}

Cluster Cluster::part(std::vector<int> ranks) const {
  return ranks.size() == 1 ? Cluster()
                           : Cluster(std::make_shared<PartTransport>(transport_, std::move(ranks)));
}

std::vector<std::byte> Cluster::from(int source, std::vector<std::byte> bytes) const {
  if (is_alone()) return bytes;
  uint64_t n = bytes.size();
  const auto pass = [&](std::span<std::byte> what) {
    if (rank() == source) {
      for (int r = 0; r < size(); ++r) {
        if (r != source) transport_->send(r, what);
      }
    } else {
      transport_->receive(source, what);
    }
    transport_->wait();
  };
  pass(std::as_writable_bytes(std::span(&n, 1)));
  bytes.resize(n);
  if (n > 0) pass(bytes);
  return bytes;
}

std::string Cluster::from_first(const std::string& text) const {
  const auto bytes = bytes_of(text);
  return text_of(from_first(std::vector(bytes.begin(), bytes.end())));
}

std::vector<std::vector<std::byte>> Cluster::all(std::span<const std::byte> bytes) const {
  std::vector<std::vector<std::byte>> result{size_t(size())};
  result[size_t(rank())].assign(bytes.begin(), bytes.end());
  if (is_alone()) return result;
  const uint64_t n = bytes.size();
  std::vector<uint64_t> sizes(size_t(size()), n);
  const auto each_other = [&](const auto& what) {
    for (int r = 0; r < size(); ++r) {
      if (r != rank()) what(r);
    }
    transport_->wait();
  };
  each_other([&](int r) {
    transport_->send(r, std::as_bytes(std::span(&n, 1)));
    transport_->receive(r, std::as_writable_bytes(std::span(&sizes[size_t(r)], 1)));
  });
  each_other([&](int r) {
    result[size_t(r)].resize(sizes[size_t(r)]);
    if (n > 0) transport_->send(r, bytes);
    if (sizes[size_t(r)] > 0) transport_->receive(r, result[size_t(r)]);
  });
  return result;
}

std::vector<std::string> Cluster::all(const std::string& text) const {
  std::vector<std::string> texts;
  for (const auto& bytes : all(bytes_of(text))) texts.push_back(text_of(bytes));
  return texts;
}

void Cluster::all_shares(std::span<double> values) const {
  if (is_alone()) return;
  const auto n = int64_t(values.size());
  const auto of = [&](int r) {
    const Share s = share_of(n, r);
    return values.subspan(size_t(s.begin), size_t(s.end - s.begin));
  };
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    if (!of(rank()).empty()) transport_->send(r, std::as_bytes(of(rank())));
    if (!of(r).empty()) transport_->receive(r, std::as_writable_bytes(of(r)));
  }
  transport_->wait();
}

bool Cluster::any(bool here) const {
  const std::byte mine{here};
  return std::ranges::any_of(all(std::span(&mine, 1)),
                             [](const auto& bytes) { return bytes[0] != std::byte{0}; });
}

void Cluster::expect_same(const std::vector<std::pair<std::string, std::string>>& rows) const {
  if (is_alone()) return;
  std::string text;
  for (const auto& [row, value] : rows) text += row + '\0' + value + '\0';
  const auto parsed = [](const std::string& bytes) {
    std::vector<std::pair<std::string, std::string>> result;
    for (size_t at = 0; at < bytes.size();) {
      const size_t middle = bytes.find('\0', at),
                   end = bytes.find('\0', std::min(middle, bytes.size() - 1) + 1);
      if (end == bytes.npos) break;
      result.emplace_back(bytes.substr(at, middle - at), bytes.substr(middle + 1, end - middle - 1));
      at = end + 1;
    }
    return result;
  };
  const std::vector<std::string> texts = all(text);
  const auto first = parsed(texts[0]);
  for (int r = 1; r < size(); ++r) {
    const auto other = parsed(texts[size_t(r)]);
    const auto value_in = [](const auto& those, const std::string& row) -> std::string {
      const auto found = std::ranges::find(those, row, &std::pair<std::string, std::string>::first);
      return found == those.end() ? "(nothing)" : found->second;
    };
    for (const auto* those : {&first, &other}) {
      for (const auto& [row, value] : *those) {
        const std::string here = value_in(first, row), there = value_in(other, row);
        if (here != there)
          fail("mpi: {}: {} on {}, {} on {}", row, printable(here), name(0), printable(there), name(r));
      }
    }
  }
}

std::string Cluster::who_differs(const std::string& here) const {
  std::map<std::string, std::string> names_of;
  const std::vector<std::string> texts = all(here);
  for (int r = 0; r < size(); ++r) {
    std::string& names = names_of[texts[size_t(r)]];
    names += (names.empty() ? "" : ", ") + name(r);
  }
  if (names_of.size() == 1) return "";
  std::string result;
  for (const auto& [text, names] : names_of)
    result += fmt::format("{}{} in {}", result.empty() ? "" : "; ", printable(text), names);
  return result;
}

int64_t Cluster::sum_vectors(int64_t n_leaves) const {
  const Share mine = share(n_leaves);
  // Nodes grow from where a share begins, and from the tree's beginning they only shrink.
  const int64_t most = (mine.begin == 0 ? 1 : 2) * levels(mine.end - mine.begin);
  int64_t received = 0;
  for (int r = 0; r < size(); ++r) {
    if (r != rank()) received += int64_t(nodes_of(share_of(n_leaves, r)).size());
  }
  return most + (received + size() - 1) / size();
}

void Cluster::finish(TreeSum& sum, std::span<float> vector, int64_t n_leaves) const {
  const auto n = int64_t(vector.size());
  const auto slice = [&](std::span<float> all, int r) {
    const Share s = share_of(n, r);
    return all.subspan(size_t(s.begin), size_t(s.end - s.begin));
  };
  const int me = rank();
  // Mine come first, by node; then what the others have of my slice.
  const Share leaves = share(n_leaves);
  std::vector<std::pair<SumNode, std::span<float>>> mine;
  for (TreeSum::Part& part : sum.parts()) mine.emplace_back(part.node, part.values.span());
  if (leaves.begin < leaves.end) mine.emplace_back(sum.last(), vector);

  std::map<SumNode, std::span<float>> parts;
  for (const auto& [node, values] : mine) parts.emplace(node, slice(values, me));
  std::vector<Buffer<float>> received;
  const int64_t n_mine = int64_t(slice(vector, me).size());
  for (int r = 0; r < size(); ++r) {
    if (r == me) continue;
    for (const auto& [node, values] : mine) {
      if (!slice(values, r).empty()) transport_->send(r, std::as_bytes(slice(values, r)));
    }
    for (const SumNode node : nodes_of(share_of(n_leaves, r))) {
      received.emplace_back(n_mine);
      parts.emplace(node, received.back().span());
      if (n_mine > 0) transport_->receive(r, std::as_writable_bytes(received.back().span()));
    }
  }
  if (transport_) transport_->wait();
  const std::span<float>* const whole = sum_of({levels(n_leaves), 0}, n_leaves, parts);
  if (whole->data() != slice(vector, me).data()) std::ranges::copy(*whole, slice(vector, me).begin());
  sum.parts().clear();

  for (int r = 0; r < size(); ++r) {
    if (r == me) continue;
    if (n_mine > 0) transport_->send(r, std::as_bytes(slice(vector, me)));
    if (!slice(vector, r).empty()) transport_->receive(r, std::as_writable_bytes(slice(vector, r)));
  }
  if (transport_) transport_->wait();
}

void Grid::share_from_last(std::span<double> values) const {
  peers.all_shares(values);
  if (stages.is_alone()) return;
  const auto bytes = std::as_writable_bytes(values);
  std::ranges::copy(stages.from(stages.size() - 1, {bytes.begin(), bytes.end()}), bytes.begin());
}

Grid make_grid(const Cluster& all, int n_stages) {
  if (n_stages == 1) return {all, {}, all};
  const int size = all.size(), first = all.rank() / n_stages * n_stages;
  if (n_stages < 1 || size % n_stages != 0)
    fail("--pipeline: {} stages take a multiple of {} processes, and there {} (mpirun -n N)", n_stages,
         n_stages, size == 1 ? "is 1" : fmt::format("are {}", size));
  std::vector<int> stages, peers;
  for (int s = 0; s < n_stages; ++s) stages.push_back(first + s);
  for (int r = all.rank() % n_stages; r < size; r += n_stages) peers.push_back(r);
  return {all, all.part(stages), all.part(peers)};
}

}  // namespace lora
