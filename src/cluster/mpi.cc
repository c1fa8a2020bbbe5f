// MPI (MPI: A Message-Passing Interface Standard, 3.1). One thread of its own makes every call of it: it
// moves the bytes while others compute, and tells the processes of each other that they live.
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "base/error.h"
#include "cluster/launch.h"

namespace lora {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration;

constexpr int kData = 1, kBeat = 2;         // tags
constexpr double kBetweenBeats = 0.5;       // seconds
constexpr size_t kPiece = size_t{1} << 28;  // bytes: MPI counts in int
// Between looks at messages that somebody waits for; at others, while their bytes move; at none.
constexpr std::chrono::microseconds kAwake(200), kAtWork(1000), kAsleep(5000);

// Seconds after which a process that has not been heard of is taken for lost.
double patience() {
  const char* text = std::getenv("LORA_CLUSTER_PATIENCE");
  const double seconds = text ? std::atof(text) : 0;
  return seconds > 0 ? seconds : 30;
}

class MpiTransport : public Transport {
 public:
  MpiTransport() : patience_(patience()), thread_([this] { run(); }) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return size_ > 0; });
  }
  // Waits for all others to come as far, so that none is missed.
  ~MpiTransport() override {
    {
      std::lock_guard lock(mutex_);
      leaving_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  MpiTransport(const MpiTransport&) = delete;
  MpiTransport& operator=(const MpiTransport&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string host(int rank) const override { return hosts_[size_t(rank)]; }

  int64_t send(int to, std::span<const std::byte> bytes) override {
    return post({to, const_cast<std::byte*>(bytes.data()), bytes.size(), true});
  }
  int64_t receive(int from, std::span<std::byte> bytes) override {
    return post({from, bytes.data(), bytes.size(), false});
  }
  void send_nothing(int to, size_t n) override { post({to, nullptr, n, true}); }

  void wait(int64_t message) override {
    wait_until([&] { return !open_.contains(message); });
  }
  void wait() override {
    wait_until([&] { return open_.empty(); });
  }

  bool stop(bool asked) override {
    if (asked && !stop_.exchange(true)) wake_.notify_one();
    return stop_;
  }

  void abort() override {
    aborting_ = true;
    wake_.notify_one();
    std::this_thread::sleep_for(std::chrono::seconds(10));
    std::_Exit(EXIT_FAILURE);
  }

 private:
  struct Message {
    int peer;
    std::byte* bytes;  // nullptr: as many messages as of n bytes, without any
    size_t n;
    bool is_sent;
    int64_t number = 0;
  };
  // What another process is known by. Only the first and each other one tell each other that they live.
  struct Peer {
    Clock::time_point heard = Clock::now();
    char beat = 0;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  int64_t post(Message message) {
    {
      std::lock_guard lock(mutex_);
      message.number = ++n_posted_;
      posted_.push_back(message);
      open_.insert(message.number);
    }
    wake_.notify_one();
    return message.number;
  }

  template <class Done>
  void wait_until(const Done& done) {
    std::unique_lock lock(mutex_);
    ++n_waiting_;
    wake_.notify_one();
    changed_.wait(lock, [&] { return done() || !lost_.empty(); });
    --n_waiting_;
    if (!lost_.empty()) fail("{}", lost_);
  }

  void run() {
    // Handlers of its own for broken pages would take the place of the program's.
    ::setenv("OMPI_MCA_opal_signal", "6", 0);
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);  // this is MPI's main thread
    int size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    std::vector<char> names(size_t(size) * MPI_MAX_PROCESSOR_NAME);
    char name[MPI_MAX_PROCESSOR_NAME] = {};
    int length = 0;
    MPI_Get_processor_name(name, &length);
    MPI_Allgather(name, MPI_MAX_PROCESSOR_NAME, MPI_CHAR, names.data(), MPI_MAX_PROCESSOR_NAME, MPI_CHAR,
                  MPI_COMM_WORLD);
    for (int r = 0; r < size; ++r) hosts_.emplace_back(&names[size_t(r) * MPI_MAX_PROCESSOR_NAME]);
    peers_.resize(size_t(size));
    {
      std::lock_guard lock(mutex_);
      size_ = size;
    }
    changed_.notify_all();
    while (!has_left()) {
      if (aborting_) MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
      if (is_lost_) {  // what was to be received may be gone: nothing more may arrive
        std::this_thread::sleep_for(kAsleep);
        continue;
      }
      begin_posted();
      finish_done();
      beat();
      listen();
      std::unique_lock lock(mutex_);
      if (!posted_.empty()) continue;
      wake_.wait_for(lock, requests_.empty() ? kAsleep : n_waiting_ > 0 ? kAwake : kAtWork);
    }
    for (Peer& peer : peers_) {
      if (peer.request != MPI_REQUEST_NULL) MPI_Cancel(&peer.request), MPI_Request_free(&peer.request);
    }
    MPI_Finalize();
  }

  // Whether all processes are leaving; until then this one goes on telling that it lives.
  bool has_left() {
    {
      std::lock_guard lock(mutex_);
      if (!leaving_) return false;
      if (!lost_.empty()) MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    }
    if (!is_leaving_) MPI_Ibarrier(MPI_COMM_WORLD, &barrier_);
    is_leaving_ = true;
    int done = 0;
    MPI_Test(&barrier_, &done, MPI_STATUS_IGNORE);
    return done;
  }

  void begin_posted() {
    std::deque<Message> posted;
    {
      std::lock_guard lock(mutex_);
      posted.swap(posted_);
    }
    for (const Message& m : posted) {
      size_t at = 0;
      do {
        const int n = int(std::min(kPiece, m.n - at));
        MPI_Request request;
        if (m.is_sent && !m.bytes) {
          MPI_Isend(nullptr, 0, MPI_BYTE, m.peer, kData, MPI_COMM_WORLD, &request);
        } else if (m.is_sent) {
          MPI_Isend(m.bytes + at, n, MPI_BYTE, m.peer, kData, MPI_COMM_WORLD, &request);
        } else {
          MPI_Irecv(m.bytes + at, n, MPI_BYTE, m.peer, kData, MPI_COMM_WORLD, &request);
        }
        requests_.push_back(request);
        message_of_.push_back(m.number);
        at += size_t(n);
      } while (at < m.n);
    }
  }

  void finish_done() {
    if (requests_.empty()) return;
    int n_done = 0;
    done_.resize(requests_.size());
    MPI_Testsome(int(requests_.size()), requests_.data(), &n_done, done_.data(), MPI_STATUSES_IGNORE);
    if (n_done <= 0) return;
    size_t left = 0;
    for (size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] == MPI_REQUEST_NULL) continue;
      requests_[left] = requests_[i];
      message_of_[left++] = message_of_[i];
    }
    requests_.resize(left);
    message_of_.resize(left);
    {
      std::lock_guard lock(mutex_);
      std::set<int64_t> open(message_of_.begin(), message_of_.end());
      for (const Message& m : posted_) open.insert(m.number);
      open_ = std::move(open);
    }
    changed_.notify_all();
  }

  bool is_heard(int rank) const { return rank != rank_ && (rank_ == 0 || rank == 0); }

  void beat() {
    const Clock::time_point now = Clock::now();
    const char stop = stop_;
    if (stop == told_ && duration<double>(now - last_beat_).count() < kBetweenBeats) return;
    last_beat_ = now;
    told_ = stop;
    for (int r = 0; r < size_; ++r) {
      Peer& peer = peers_[size_t(r)];
      if (!is_heard(r)) continue;
      int done = 1;
      if (peer.request != MPI_REQUEST_NULL) MPI_Test(&peer.request, &done, MPI_STATUS_IGNORE);
      if (done) {
        peer.beat = stop;
        MPI_Isend(&peer.beat, 1, MPI_CHAR, r, kBeat, MPI_COMM_WORLD, &peer.request);
      } else if (peer.beat != stop) {
        told_ = peer.beat;  // that one is told as soon as it has taken the last
      }
    }
  }

  void listen() {
    const Clock::time_point now = Clock::now();
    for (int is_there = 1; is_there;) {
      MPI_Status status;
      MPI_Iprobe(MPI_ANY_SOURCE, kBeat, MPI_COMM_WORLD, &is_there, &status);
      if (!is_there) break;
      char stop = 0;
      MPI_Recv(&stop, 1, MPI_CHAR, status.MPI_SOURCE, kBeat, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      peers_[size_t(status.MPI_SOURCE)].heard = now;
      if (stop) stop_ = true;
    }
    for (int r = 0; r < size_; ++r) {
      if (!is_heard(r) || duration<double>(now - peers_[size_t(r)].heard).count() < patience_) continue;
      {
        std::lock_guard lock(mutex_);
        if (lost_.empty())
          lost_ = fmt::format("mpi: process {} on {} has not answered for {:g} s", r, hosts_[size_t(r)],
                              patience_);
      }
      is_lost_ = true;
      stop_ = true;  // who computes gives up, and finds it out
      changed_.notify_all();
    }
  }

  const double patience_;
  int rank_ = 0, size_ = 0;
  std::vector<std::string> hosts_;
  std::atomic<bool> stop_{false}, aborting_{false};
  std::mutex mutex_;
  std::condition_variable wake_, changed_;  // of the thread; of who waits for it
  std::deque<Message> posted_;
  int64_t n_posted_ = 0;    // messages
  std::set<int64_t> open_;  // of these, those that are not done
  int n_waiting_ = 0;
  bool leaving_ = false;
  std::string lost_;
  // The thread's own.
  std::vector<Peer> peers_;
  std::vector<MPI_Request> requests_;
  std::vector<int64_t> message_of_;  // of each request
  std::vector<int> done_;
  Clock::time_point last_beat_{};
  char told_ = 0;
  bool is_leaving_ = false, is_lost_ = false;
  MPI_Request barrier_ = MPI_REQUEST_NULL;
  std::thread thread_;
};

}  // namespace

std::shared_ptr<Transport> mpi_transport() {
  return std::make_shared<MpiTransport>();
}

}  // namespace lora
