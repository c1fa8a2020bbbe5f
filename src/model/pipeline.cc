#include "model/pipeline.h"

#include <algorithm>

#include "base/timing.h"

namespace lora {

Pipeline::Pipeline(Step& step, const StepPlan& plan, int64_t n_embd, const Cluster& stages)
    : step_(step), plan_(plan), n_embd_(n_embd), stages_(stages), slots_(1) {
  if (stages.is_alone()) return;
  const auto n_flight = size_t(plan.part.n_flight);
  const int64_t size = plan.n_tokens * n_embd;
  flights_.resize(n_flight);
  slots_.resize(n_flight + 1);
  for (Slot& slot : slots_) {
    if (!stages.is_first()) slot.in = Buffer<float>(size);
  }
  gradient_ = Buffer<float>(size);
}

int64_t Pipeline::run(const Work& work) {
  busy_s_ = 0;
  if (stages_.is_alone()) return run_alone(work);
  gave_up_ = false;
  error_ = nullptr;
  n_forward_ = n_backward_ = n_awaited_ = 0;
  const bool goes_back = work.gradients && plan_.goes_back();
  if (!stages_.is_first() && work.n > 0) expect_input(work, 0);
  const int64_t ahead = goes_back ? std::min(work.n, plan_.part.n_flight - 1) : 0;
  for (int64_t i = 0; i < work.n + ahead; ++i) {
    if (i < work.n && !goes_on(work, i)) break;
    if (i < work.n) forward(work, i);
    if (goes_back && i >= ahead) backward(work, i - ahead);
  }
  stages_.transport().wait();
  if (error_) std::rethrow_exception(error_);
  if (gave_up_) throw GivenUp();
  return n_forward_;
}

int64_t Pipeline::run_alone(const Work& work) {
  PipelineBatch& b = slot(0).batch;
  for (int64_t i = 0; i < work.n; ++i) {
    if (i > 0 && work.goes_on && !work.goes_on()) return i;
    work.load(i, b);
    losses_.resize(b.ids.size());
    const Clock::time_point start = Clock::now();
    if (work.gradients) {
      step_.losses_and_gradients(losses_.data(), b.tokens(), b.scale, b.random_key, b.noise);
    } else {
      step_.losses(losses_.data(), b.tokens());
    }
    work.losses(i, b, losses_);
    if (work.gradients) work.gradients(i);
    busy_s_ += seconds_since(start);
  }
  return work.n;
}

// Loads the batch in the first stage, which tells the others whether it is computed.
bool Pipeline::goes_on(const Work& work, int64_t i) {
  Transport& transport = stages_.transport();
  Slot& s = slot(i);
  if (stages_.is_first()) work.load(i, s.batch);
  if (work.gradients) return true;
  const bool here = i == 0 || !work.goes_on || work.goes_on();
  if (stages_.is_first()) {
    s.goes_on = std::byte{here};
  } else {
    transport.wait(s.told);
  }
  const bool goes_on = s.goes_on != std::byte{0};
  if (!is_last()) {
    transport.wait(transport.send(stages_.rank() + 1, {&s.goes_on, 1}));
    if (!goes_on) transport.send_nothing(stages_.rank() + 1, size_t(size_of(i)) * sizeof(float));
  }
  return goes_on;
}

// Once one has given up, nothing is computed, but whatever others wait for goes its way.
template <class Compute>
void Pipeline::compute(const Compute& what) {
  if (gave_up_) return;
  const Clock::time_point start = Clock::now();
  try {
    what();
  } catch (const GivenUp&) {
    gave_up_ = true;
  } catch (...) {
    // Not before all messages have come whose places are freed then.
    error_ = std::current_exception();
    gave_up_ = true;
    stages_.stop(true);
  }
  busy_s_ += seconds_since(start);
}

int64_t Pipeline::send(int to, const float* bytes, int64_t size) {
  if (!gave_up_) return stages_.transport().send(to, std::as_bytes(std::span(bytes, size_t(size))));
  stages_.transport().send_nothing(to, size_t(size) * sizeof(float));
  return 0;
}

void Pipeline::expect_input(const Work& work, int64_t i) {
  Slot& s = slot(i);
  work.load(i, s.batch);
  if (!work.gradients) s.told = stages_.transport().receive(stages_.rank() - 1, {&s.goes_on, 1});
  s.arrives = stages_.transport().receive(stages_.rank() - 1,
                                          std::as_writable_bytes(s.in.span().first(size_t(size_of(i)))));
}

// Of the next batch that comes back, once that has gone forward and the place is free.
void Pipeline::expect_gradient() {
  if (n_awaited_ > n_backward_ || n_awaited_ == n_forward_) return;
  const auto size = size_t(size_of(n_awaited_++));
  gradient_arrives_ =
      stages_.transport().receive(stages_.rank() + 1, std::as_writable_bytes(gradient_.span().first(size)));
}

void Pipeline::forward(const Work& work, int64_t i) {
  Transport& transport = stages_.transport();
  if (!stages_.is_first()) {
    if (i + 1 < work.n) expect_input(work, i + 1);
    transport.wait(slot(i).arrives);
  }
  InFlight& f = flight(i);
  transport.wait(f.sent_up);
  transport.wait(f.sent_down);
  PipelineBatch& b = slot(i).batch;
  float* const in = stages_.is_first() ? nullptr : slot(i).in.data();
  losses_.resize(b.ids.size());
  compute([&] {
    if (work.gradients) {
      f.stream = step_.up(flight_index(i), b.tokens(), in, b.random_key, b.noise);
    } else if (is_last()) {
      step_.losses_of(flight_index(i), losses_.data(), b.tokens(), in);
    } else {
      f.stream = step_.pass(flight_index(i), b.tokens(), in);
    }
    if (is_last() && work.gradients) step_.head(flight_index(i), losses_.data(), b.targets, b.scale);
    if (is_last()) work.losses(i, b, losses_);
    if (work.gradients && !plan_.goes_back()) work.gradients(i);
  });
  ++n_forward_;
  if (is_last()) return;
  f.sent_up = send(stages_.rank() + 1, f.stream, size_of(i));
  if (work.gradients && plan_.goes_back()) expect_gradient();
}

void Pipeline::backward(const Work& work, int64_t i) {
  Transport& transport = stages_.transport();
  InFlight& f = flight(i);
  const int64_t size = size_of(i);
  if (!is_last()) {
    transport.wait(gradient_arrives_);
    transport.wait(f.sent_up);
    if (!gave_up_) std::copy_n(gradient_.data(), size, f.stream);
    ++n_backward_;
    expect_gradient();
  }
  compute([&] {
    step_.down(flight_index(i));
    work.gradients(i);
  });
  if (!plan_.passes_down) return;
  const float* from = f.stream;
  if (is_last()) {  // which goes on with the next one at once
    transport.wait(gradient_arrives_);
    if (!gave_up_) std::copy_n(f.stream, size, gradient_.data());
    from = gradient_.data();
  }
  int64_t& sent = is_last() ? gradient_arrives_ : f.sent_down;
  sent = send(stages_.rank() - 1, from, size);
}

}  // namespace lora
