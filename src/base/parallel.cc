#include "base/parallel.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/machine.h"
#include "base/pace.h"
#include "base/timing.h"

namespace lora {
namespace {

// About 20 us of looking before a worker sleeps: loops of one training step follow each other
// faster than that, and an idle program burns nothing. With more threads than processors none looks:
// it would keep from work the one it waits for.
constexpr int kSpins = 2000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int n_threads)
    : spins_(n_threads > logical_processors() ? 0 : kSpins),
      pace_(new Pace(n_threads, thread_cpu_step())),
      n_active_(n_threads) {
  try {
    for (int i = 1; i < n_threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error& error) {
    const size_t started = workers_.size();
    end();
    fail("threads: {} of {} could be started: {}", started + 1, n_threads, error.what());
  }
}

ThreadPool::ThreadPool(DryRun dry) : spins_(0), dry_size_(dry.n_threads) {}

ThreadPool::~ThreadPool() {
  end();
}

void ThreadPool::end() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    ++generation_;
  }
  wake_.notify_all();
  rest_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::drain(int worker) {
  try {
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < n_tasks_;) (*task_)(i, worker);
  } catch (...) {
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
    next_ = n_tasks_;
  }
}

// True if there is a loop to join, which then waits for leave().
bool ThreadPool::enter() {
  for (uint32_t state = state_.load(std::memory_order_acquire); state & kOpen;) {
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void ThreadPool::leave() {
  if (state_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  { std::lock_guard lock(mutex_); }  // whoever has seen another number is waiting by now
  done_.notify_one();
}

void ThreadPool::work(int worker) {
  place_worker(worker);
  for (uint64_t seen = 0;;) {
    int spins = 0;
    while (generation_.load(std::memory_order_acquire) == seen && ++spins < spins_) pause();
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_) return;
    if (worker >= n_active()) {
      std::unique_lock lock(mutex_);
      rest_.wait(lock, [&] { return stop_ || worker < n_active(); });
    }
    if (!enter()) continue;
    drain(worker);
    leave();
  }
}

void ThreadPool::run(int64_t n_tasks, int64_t work, const std::function<void(int64_t, int)>& task,
                     const std::type_info& kind) {
  if (is_dry()) return;
  if (loops_) activate(size());  // loops that are shared are what is counted
  if (workers_.empty() || (n_tasks <= 1 && n_active() == size())) {
    for (int64_t i = 0; i < n_tasks; ++i) task(i, 0);
    return;
  }
  const bool is_timed = !loops_ && pace_->wants_time();
  const Clock::time_point begin = loops_ || is_timed ? Clock::now() : Clock::time_point();
  if (n_active() == 1 || n_tasks <= 1) {
    for (int64_t i = 0; i < n_tasks; ++i) task(i, 0);
  } else {
    share(n_tasks, task);
    if (loops_) {
      ++loops_->n;
      loops_->seconds += seconds_since(begin);
    }
  }
  if (is_timed) {
    pace_->add(reinterpret_cast<uintptr_t>(&kind), work, seconds_since(begin), thread_cpu_seconds);
    activate(pace_->n_active());
  }
}

void ThreadPool::run_together(const std::function<void(int64_t, int)>& task) {
  if (workers_.empty()) return run(size(), task);
  struct All {
    explicit All(ThreadPool& p) : pool(p) { pool.activate(pool.size()); }
    ~All() { pool.activate(pool.pace_->n_active()); }
    ThreadPool& pool;
  } all(*this);
  share(size(), task);
}

void ThreadPool::activate(int n) {
  if (n == n_active()) return;
  {
    std::lock_guard lock(mutex_);
    n_active_ = n;
  }
  rest_.notify_all();
}

void ThreadPool::share(int64_t n_tasks, const std::function<void(int64_t, int)>& task) {
  {
    std::lock_guard lock(mutex_);
    error_ = nullptr;
    next_.store(0, std::memory_order_relaxed);
    task_ = &task;
    n_tasks_ = n_tasks;
    state_.store(kOpen, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_release);
  }
  if (const auto n = int64_t(n_active()) - 1; n == int64_t(workers_.size()) && n_tasks > n) {
    wake_.notify_all();
  } else {
    for (int64_t i = 1; i < std::min(n_tasks, n + 1); ++i) wake_.notify_one();
  }
  drain(0);
  // No task is left. Who is still at one is waited for; who has not come, on a processor that is busy with
  // something else, finds the loop closed.
  uint32_t state = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  for (int spins = 0; state != 0 && ++spins < spins_; state = state_.load(std::memory_order_acquire)) pause();
  if (state != 0) {  // a worker that is held up, or at a long task
    // not state_.wait(): where the system has no futex, libstdc++ 12 can miss what wakes it
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return state_.load(std::memory_order_acquire) == 0; });
  }
  if (error_) std::rethrow_exception(error_);
}

LoopCount::~LoopCount() {
  pool_.loops_ = nullptr;
  if (pool_.pace_) pool_.activate(pool_.pace_->n_active());
}

void ThreadPool::for_range(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  const int64_t pieces = std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, int64_t{n_active()} * 4);
  const auto task = [&](int64_t i, int) { body(n * i / pieces, n * (i + 1) / pieces); };
  run(n > 0 ? pieces : 0, n, task, body.target_type());
}

}  // namespace lora
