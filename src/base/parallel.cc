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

ThreadPool::ThreadPool(int n_threads) : spins_(n_threads > logical_processors() ? 0 : kSpins) {
  try {
    for (int i = 1; i < n_threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error& error) {
    const size_t started = workers_.size();
    end();
    fail("threads: {} of {} could be started: {}", started + 1, n_threads, error.what());
  }
}

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
  Pace pace;
  double slept = 0;
  const Clock::time_point start = Clock::now();
  for (uint64_t seen = 0;;) {
    int spins = 0;
    while (generation_.load(std::memory_order_acquire) == seen && ++spins < spins_) pause();
    if (generation_.load(std::memory_order_acquire) == seen) {
      slept += seconds([&] {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
      });
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_) return;
    if (!enter()) continue;
    drain(worker);
    leave();
    const double rest =
        pace.rest(seconds_since(start), slept, waited_.load(std::memory_order_relaxed), thread_cpu_seconds);
    if (rest > 0) {
      std::unique_lock lock(mutex_);
      rest_.wait_for(lock, std::chrono::duration<double>(rest), [&] { return stop_.load(); });
    }
  }
}

void ThreadPool::run(int64_t n_tasks, const std::function<void(int64_t, int)>& task) {
  if (is_dry()) return;
  if (workers_.empty() || n_tasks <= 1) {
    for (int64_t i = 0; i < n_tasks; ++i) task(i, 0);
    return;
  }
  const Clock::time_point begin = loops_ ? Clock::now() : Clock::time_point();
  {
    std::lock_guard lock(mutex_);
    error_ = nullptr;
    next_.store(0, std::memory_order_relaxed);
    task_ = &task;
    n_tasks_ = n_tasks;
    state_.store(kOpen, std::memory_order_release);
    generation_.fetch_add(1, std::memory_order_release);
  }
  if (const auto n = int64_t(workers_.size()); n_tasks > n) {
    wake_.notify_all();
  } else {
    for (int64_t i = 1; i < n_tasks; ++i) wake_.notify_one();
  }
  drain(0);
  // No task is left. Who is still at one is waited for; who has not come, on a processor that is busy with
  // something else, finds the loop closed.
  uint32_t state = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  for (int spins = 0; state != 0 && ++spins < spins_; state = state_.load(std::memory_order_acquire)) pause();
  if (state != 0) {  // a worker that is held up, or at a long task
    const double slept = seconds(
        [&] {  // not state_.wait(): where the system has no futex, libstdc++ 12 can miss what wakes it
          std::unique_lock lock(mutex_);
          done_.wait(lock, [&] { return state_.load(std::memory_order_acquire) == 0; });
        });
    waited_.store(waited_.load(std::memory_order_relaxed) + slept, std::memory_order_relaxed);
  }
  if (loops_) {
    ++loops_->n;
    loops_->seconds += seconds_since(begin);
  }
  if (error_) std::rethrow_exception(error_);
}

void ThreadPool::for_range(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  const int64_t pieces = std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, int64_t{size()} * 4);
  run(n > 0 ? pieces : 0, [&](int64_t i, int) { body(n * i / pieces, n * (i + 1) / pieces); });
}

}  // namespace lora
