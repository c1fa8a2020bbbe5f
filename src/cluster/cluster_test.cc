#include "cluster/cluster.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/random.h"

namespace lora {
namespace cluster {

// Processes that are threads: what is sent lies in a queue until it is received.
struct Wires {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::pair<int, int>, std::deque<std::vector<std::byte>>> queues;  // by (from, to)
  bool stop = false;
};

class ThreadTransport : public Transport {
 public:
  ThreadTransport(Wires& wires, int rank, int size) : wires_(wires), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string host(int rank) const override { return "host" + std::to_string(rank / 2); }
  int64_t send(int to, std::span<const std::byte> bytes) override {
    std::lock_guard lock(wires_.mutex);
    wires_.queues[{rank_, to}].emplace_back(bytes.begin(), bytes.end());
    wires_.changed.notify_all();
    return 0;
  }
  int64_t receive(int from, std::span<std::byte> bytes) override {
    receives_.emplace_back(from, bytes);
    return 0;
  }
  void send_nothing(int, size_t) override {}
  void wait(int64_t) override { wait(); }
  void wait() override {
    std::unique_lock lock(wires_.mutex);
    for (const auto& [from, bytes] : receives_) {
      auto& queue = wires_.queues[{from, rank_}];
      wires_.changed.wait(lock, [&] { return !queue.empty(); });
      ASSERT_EQ(queue.front().size(), bytes.size());
      std::ranges::copy(queue.front(), bytes.begin());
      queue.pop_front();
    }
    receives_.clear();
  }
  bool stop(bool asked) override {
    std::lock_guard lock(wires_.mutex);
    return wires_.stop |= asked;
  }
  void abort() override { std::abort(); }

 private:
  Wires& wires_;
  int rank_, size_;
  std::vector<std::pair<int, std::span<std::byte>>> receives_;
};

void run_on(int size, const std::function<void(const Cluster&)>& body) {
  Wires wires;
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      const Cluster member =
          size == 1 ? Cluster() : Cluster(std::make_shared<ThreadTransport>(wires, r, size));
      body(member);
    });
  }
  for (std::thread& t : threads) t.join();
  for (const auto& [pair, queue] : wires.queues)
    EXPECT_TRUE(queue.empty()) << pair.first << " to " << pair.second;
}

float value(int64_t leaf, int64_t i) {
  return float(int64_t(random_bits(1, Purpose::test, uint64_t(leaf), uint64_t(i)) % 2000) - 1000) * 1.1e-3f;
}

// By the definition of a node's sum.
float tree_sum(int level, int64_t index, int64_t n_leaves, int64_t i) {
  if (level == 0) return value(index, i);
  const float left = tree_sum(level - 1, 2 * index, n_leaves, i);
  const int64_t right = (2 * index + 1) << (level - 1);
  return right < n_leaves ? left + tree_sum(level - 1, 2 * index + 1, n_leaves, i) : left;
}

int root_level(int64_t n_leaves) {
  int level = 0;
  while (int64_t{1} << level < n_leaves) ++level;
  return level;
}

TEST(Nodes, AreTheFewestThatAreWhole) {
  EXPECT_EQ(nodes_of({0, 8}), (std::vector<SumNode>{{3, 0}}));
  EXPECT_EQ(nodes_of({2, 5}), (std::vector<SumNode>{{1, 1}, {0, 4}}));
  EXPECT_EQ(nodes_of({5, 8}), (std::vector<SumNode>{{0, 5}, {1, 3}}));
  EXPECT_EQ(nodes_of({1, 7}), (std::vector<SumNode>{{0, 1}, {1, 1}, {1, 2}, {0, 6}}));
  EXPECT_TRUE(nodes_of({3, 3}).empty());
}

TEST(ClusterSum, HasTheSameBitsForAnyNumberOfProcesses) {
  for (const int64_t n_values : {1, 5, 1001}) {
    for (int64_t n_leaves = 1; n_leaves <= 17; ++n_leaves) {
      std::vector<float> expected;
      for (int64_t i = 0; i < n_values; ++i)
        expected.push_back(tree_sum(root_level(n_leaves), 0, n_leaves, i));
      for (const int size : {1, 2, 3, 7, 19}) {
        run_on(size, [&](const Cluster& member) {
          std::vector<float> vector(size_t(n_values), 0.0f);
          const Share leaves = member.share(n_leaves);
          TreeSum sum(vector, leaves);
          for (int64_t leaf = leaves.begin; leaf < leaves.end; ++leaf) {
            for (int64_t i = 0; i < n_values; ++i) {
              ASSERT_EQ(vector[size_t(i)], 0.0f);
              vector[size_t(i)] += value(leaf, i);
            }
            sum.add();
            ASSERT_LE(int64_t(sum.parts().size()), member.sum_vectors(n_leaves));
          }
          member.finish(sum, vector, n_leaves);
          ASSERT_EQ(std::memcmp(vector.data(), expected.data(), expected.size() * sizeof(float)), 0)
              << n_values << " values, " << n_leaves << " leaves, process " << member.rank() << " of "
              << size;
        });
      }
    }
  }
}

TEST(Cluster, SharesAreWholeAndEven) {
  for (const int size : {1, 2, 3, 7}) {
    run_on(size, [&](const Cluster& member) {
      for (const int64_t n : {0, 1, 6, 7, 100}) {
        int64_t at = 0;
        for (int r = 0; r < size; ++r) {
          const Share s = member.share_of(n, r);
          EXPECT_EQ(s.begin, at);
          EXPECT_GE(s.end - s.begin, n / size);
          EXPECT_LE(s.end - s.begin, (n + size - 1) / size);
          at = s.end;
        }
        EXPECT_EQ(at, n);
      }
    });
  }
}

TEST(Cluster, EverybodyHasWhatTheFirstHasAndWhatAllHave) {
  for (const int size : {1, 2, 5}) {
    run_on(size, [&](const Cluster& member) {
      const std::string mine(size_t(3 * member.rank()),
                             char('a' + member.rank()));  // the first one's is empty
      EXPECT_EQ(member.from_first(mine + "."), ".");
      EXPECT_EQ(member.from_first(mine), "");
      const std::vector<std::string> all = member.all(mine);
      ASSERT_EQ(int(all.size()), size);
      for (int r = 0; r < size; ++r) EXPECT_EQ(all[size_t(r)], std::string(size_t(3 * r), char('a' + r)));
      EXPECT_FALSE(member.any(false));
      EXPECT_TRUE(member.any(member.rank() == size - 1));
      std::vector<double> numbers(11, -1.0);
      const Share share = member.share(11);
      for (int64_t i = share.begin; i < share.end; ++i) numbers[size_t(i)] = double(i) * 0.1;
      member.all_shares(numbers);
      for (int64_t i = 0; i < 11; ++i) EXPECT_EQ(numbers[size_t(i)], double(i) * 0.1);
    });
  }
}

TEST(Cluster, SaysWhatDiffersAndWhere) {
  run_on(3, [](const Cluster& member) {
    using Rows = std::vector<std::pair<std::string, std::string>>;
    const bool is_last = member.rank() == 2;
    EXPECT_NO_THROW(member.expect_same({{"a", "1"}, {"b", ""}}));
    const auto said = [&](const Rows& rows) -> std::string {
      try {
        member.expect_same(rows);
      } catch (const Error& e) {
        return e.what();
      }
      return "";
    };
    EXPECT_EQ(said({{"a", "1"}, {"b", is_last ? "3" : "2"}}),
              "mpi: b: 2 on process 0 on host0, 3 on process 2 on host1");
    EXPECT_EQ(said(is_last ? Rows{{"a", "1"}, {"c", "2"}} : Rows{{"c", "2"}}),
              "mpi: a: (nothing) on process 0 on host0, 1 on process 2 on host1");
    EXPECT_EQ(member.who_differs("same"), "");
    EXPECT_EQ(member.who_differs(member.rank() == 1 ? "f32" : "bf16"),
              "bf16 in process 0 on host0, process 2 on host1; f32 in process 1 on host0");
  });
}

TEST(Cluster, KnowsItsMachines) {
  run_on(5, [](const Cluster& member) {
    EXPECT_EQ(member.size_here(), member.rank() < 4 ? 2 : 1);
    EXPECT_EQ(member.name(3), "process 3 on host1");
  });
  EXPECT_EQ(Cluster().size_here(), 1);
}

}  // namespace cluster
}  // namespace lora
