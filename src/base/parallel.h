// A pool of threads that run the tasks of one parallel loop at a time.
//
// Tasks are claimed in any order by any worker, so a task must write only what no other task
// writes, and its result must not depend on the worker: then the outcome is the same for every
// thread count. Workers spin for some microseconds between loops and then sleep. A loop waits for the workers
// that have taken a task of it, never for one that has not come. Where processors are busy with something
// else, so that loops are faster with fewer threads, some workers rest (pace.h).
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <typeinfo>
#include <vector>

namespace lora {

class Pace;

// Parallel loops that several threads have shared, and the seconds that they took.
struct Loops {
  int64_t n = 0;
  double seconds = 0;
};

// The tasks of several pieces of work, numbered through, for one loop over all.
class GroupedTasks {
 public:
  void add(int64_t n_tasks) { ends_.push_back(total() + n_tasks); }
  int64_t total() const { return ends_.empty() ? 0 : ends_.back(); }
  struct Place {
    size_t group;
    int64_t task;  // of the group
  };
  Place operator[](int64_t task) const {
    const auto group = size_t(std::upper_bound(ends_.begin(), ends_.end(), task) - ends_.begin());
    return {group, task - (group == 0 ? 0 : ends_[group - 1])};
  }

 private:
  std::vector<int64_t> ends_;
};

class ThreadPool {
 public:
  // n_threads >= 1 counts the calling thread; 1 starts none. Error if the system gives no more threads.
  explicit ThreadPool(int n_threads);
  // One that runs nothing, of the size of one that would: for asking how much memory a computation takes.
  struct DryRun {
    int n_threads;
  };
  explicit ThreadPool(DryRun dry);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return is_dry() ? dry_size_ : int(workers_.size()) + 1; }
  bool is_dry() const { return dry_size_ > 0; }
  // How many of them share loops now: for cutting work into tasks.
  int n_active() const { return is_dry() ? dry_size_ : n_active_.load(std::memory_order_relaxed); }

  // Calls task(i, worker) for i in [0, n_tasks), worker in [0, size()), and returns when all are
  // done. The first exception thrown by a task is rethrown here. Not reentrant. work: how much it is in all,
  // in any unit, where the number of tasks does not tell it, since it was cut for n_active().
  void run(int64_t n_tasks, const std::function<void(int64_t task, int worker)>& task) {
    run(n_tasks, n_tasks, task);
  }
  void run(int64_t n_tasks, int64_t work, const std::function<void(int64_t task, int worker)>& task) {
    run(n_tasks, work, task, task.target_type());
  }

  // run() of size() tasks that wait for each other: by all threads, those that rest too.
  void run_together(const std::function<void(int64_t task, int worker)>& task);

  // Calls body(begin, end) over [0, n) in pieces of at least `grain`.
  void for_range(int64_t n, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& body);

 private:
  friend class LoopCount;
  // What is written by some while others look at something else lies this far apart: processors fetch lines
  // of 64 bytes in pairs, or have longer ones.
  static constexpr size_t kApart = 128;

  void run(int64_t n_tasks, int64_t work, const std::function<void(int64_t, int)>& task,
           const std::type_info& kind);
  void share(int64_t n_tasks, const std::function<void(int64_t, int)>& task);
  void activate(int n);
  void work(int worker);
  bool enter();
  void leave();
  void drain(int worker);
  void end();

  const int spins_;  // looks at generation_ or state_ before sleeping
  const int dry_size_ = 0;
  std::vector<std::thread> workers_;
  Loops* loops_ = nullptr;
  const std::unique_ptr<Pace> pace_;
  // What workers look at between loops.
  alignas(kApart) std::atomic<uint64_t> generation_{0};  // bumped once per run()
  std::atomic<bool> stop_{false};
  std::atomic<int> n_active_{1};  // workers from this number on rest
  // What tasks are claimed by.
  alignas(kApart) std::atomic<int64_t> next_{0};
  int64_t n_tasks_ = 0;
  const std::function<void(int64_t, int)>* task_ = nullptr;
  // What run() looks at until the last worker has left.
  static constexpr uint32_t kOpen = 1u << 31;
  alignas(kApart) std::atomic<uint32_t> state_{0};  // kOpen while workers may join, and how many are in it
  // For who sleeps.
  alignas(kApart) std::mutex mutex_;
  std::condition_variable wake_;  // workers sleep on it
  std::condition_variable done_;  // and run() on this, until the last of them has left
  std::condition_variable rest_;  // workers that rest
  std::exception_ptr error_;
};

// While it lives, each loop of the pool that is shared with a worker is added to `loops`.
class LoopCount {
 public:
  LoopCount(ThreadPool& pool, Loops& loops) : pool_(pool) { pool_.loops_ = &loops; }
  ~LoopCount();
  LoopCount(const LoopCount&) = delete;
  LoopCount& operator=(const LoopCount&) = delete;

 private:
  ThreadPool& pool_;
};

}  // namespace lora
