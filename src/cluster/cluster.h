// The processes that work on one run together, on one machine or several: who they are, and what they give
// one another. Every process calls the same functions in the same order. One that is alone waits for nobody.
//
// Sums have one order for any number of processes: that of a binary tree over the numbers of what is summed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/buffer.h"

namespace lora {

// How bytes get from one process to another.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual int rank() const = 0;  // in [0, size())
  virtual int size() const = 0;
  virtual std::string host(int rank) const = 0;  // the machine's name
  // Both are begun here and done by wait(); until then the bytes must stay. What two processes send each
  // other arrives in its order; a message is received by as many bytes as were sent. Returns its number.
  virtual int64_t send(int to, std::span<const std::byte> bytes) = 0;
  virtual int64_t receive(int from, std::span<std::byte> bytes) = 0;
  // In the place of a message of n bytes: it is received as one, but leaves the receiver's bytes as they are.
  virtual void send_nothing(int to, size_t n) = 0;
  // For one message, or all. Error naming a process that no longer answers.
  virtual void wait(int64_t message) = 0;
  virtual void wait() = 0;
  // Tells all others, if it is so here, that the run is asked to stop. True once any of them was.
  virtual bool stop(bool asked) = 0;
  // Ends every process of the run, this one included.
  [[noreturn]] virtual void abort() = 0;
};

struct Share {
  int64_t begin = 0, end = 0;
  bool operator==(const Share&) const = default;
};

// A node of the tree over the leaves 0, 1, ..., n - 1: the leaves [index << level, (index + 1) << level), as
// far as there are any. Its sum is that of its left half and its right half.
struct SumNode {
  int level = 0;
  int64_t index = 0;
  auto operator<=>(const SumNode&) const = default;
};
// The fewest nodes that are whole and have these leaves together, in order.
std::vector<SumNode> nodes_of(Share leaves);

// The vectors of a share of the leaves, added up as far as they are the tree's nodes. It holds few of them at
// once beside the one that comes in: Cluster::sum_vectors().
class TreeSum {
 public:
  // `vector` gets the leaves, one after the other, and at last the sum.
  TreeSum(std::span<float> vector, Share leaves) : vector_(vector), leaves_(leaves), next_(leaves.begin) {}

  // The vector has the next leaf; it is zero afterwards, but for the last one.
  void add();
  // The nodes below the vector's own, which is the last; in order.
  struct Part {
    SumNode node;
    Buffer<float> values;
  };
  std::vector<Part>& parts() { return parts_; }
  SumNode last() const { return last_; }

 private:
  std::span<float> vector_;
  Share leaves_;
  int64_t next_;
  std::vector<Part> parts_;
  SumNode last_;
};

class Cluster {
 public:
  Cluster() = default;  // one process
  explicit Cluster(std::shared_ptr<Transport> transport) : transport_(std::move(transport)) {}

  int rank() const { return transport_ ? transport_->rank() : 0; }
  int size() const { return transport_ ? transport_->size() : 1; }
  bool is_alone() const { return size() == 1; }
  bool is_first() const { return rank() == 0; }  // the one that writes files and speaks
  std::string host(int rank) const { return transport_ ? transport_->host(rank) : ""; }
  std::string name(int rank) const;            // "process 3 on HOST"
  void abort() const { transport_->abort(); }  // all of them; not of one that is alone
  int size_here() const;                       // processes on this machine, this one included

  int default_threads() const;  // of each process: those of one machine share its cores

  // What each process has of n things: as many as the others, or one more.
  Share share(int64_t n) const { return share_of(n, rank()); }
  Share share_of(int64_t n, int rank) const;

  // Of some of the processes, by rank, this one among them: a cluster of these alone. What is asked of it,
  // only they call.
  Cluster part(std::vector<int> ranks) const;

  // Between two of them (Transport); not of one that is alone.
  Transport& transport() const { return *transport_; }

  // The bytes of one of them.
  std::vector<std::byte> from(int rank, std::vector<std::byte> bytes) const;
  // The first one's.
  std::vector<std::byte> from_first(std::vector<std::byte> bytes) const { return from(0, std::move(bytes)); }
  std::string from_first(const std::string& text) const;
  // Everybody's bytes, by rank.
  std::vector<std::vector<std::byte>> all(std::span<const std::byte> bytes) const;
  std::vector<std::string> all(const std::string& text) const;
  // Everybody's shares of n numbers: on return `values` (n) are whole.
  void all_shares(std::span<double> values) const;
  bool any(bool here) const;
  // Rows of a name and a value, which all must have alike. Error naming the first that differs, and who has
  // what.
  void expect_same(const std::vector<std::pair<std::string, std::string>>& rows) const;
  // Who says what, "" where all say the same: "X in process 0 on HOST, process 2 on HOST; Y in process 1 on
  // HOST".
  std::string who_differs(const std::string& here) const;
  // True soon after any of them has called it with true, without waiting for anybody.
  bool stop(bool asked) const { return transport_ ? transport_->stop(asked) : asked; }

  // The sum of all leaves, of which `sum` has those of share(n_leaves), in its vector: everywhere the same
  // bits, those of one process. Each process sums a slice of the vector, and gives it to all others: about
  // twice the vector is sent, and received, by each, and more where its leaves are more than one node.
  void finish(TreeSum& sum, std::span<float> vector, int64_t n_leaves) const;

  // How many vectors of that length the sum takes beside the one that the leaves come in, here, at most.
  int64_t sum_vectors(int64_t n_leaves) const;

 private:
  std::shared_ptr<Transport> transport_;
};

// What a process holds beside once it is one of several: MPI's libraries and buffers (Open MPI 4.1 on one
// machine: 9.4 to 9.9 MiB).
inline constexpr int64_t kTransportBytes = 10 << 20;

// The processes of a run, where some in a row compute a model together, each a stage of it, and such
// pipelines share the batches: process pipeline * n_stages + stage.
struct Grid {
  Cluster all;
  Cluster stages;  // of this one's pipeline, by stage
  Cluster peers;   // of this one's stage, by pipeline

  // Numbers that the last stages have, each pipeline's its share: on return they are whole, everywhere.
  void share_from_last(std::span<double> values) const;
};
// Error if n_stages does not divide the number of processes.
Grid make_grid(const Cluster& all, int n_stages);

}  // namespace lora
