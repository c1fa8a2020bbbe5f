#include "base/leftover.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace lora {
namespace {

// Whoever takes a path out of its slot owns it; a handler, which may not free it, leaves it to the end of the
// process. What finds no slot is swept by the next run, as after a SIGKILL.
std::array<std::atomic<char*>, 1024> slots;

}  // namespace

Leftover::Leftover(const std::string& path) {
  char* copy = static_cast<char*>(std::malloc(path.size() + 1));
  if (copy != nullptr) std::memcpy(copy, path.c_str(), path.size() + 1);
  for (size_t i = 0; copy != nullptr && i < slots.size(); ++i) {
    char* none = nullptr;
    if (!slots[i].compare_exchange_strong(none, copy)) continue;
    path_ = copy;
    slot_ = int(i);
    return;
  }
  std::free(copy);
}

Leftover::~Leftover() {
  char* mine = path_;
  if (slot_ >= 0 && slots[size_t(slot_)].compare_exchange_strong(mine, nullptr)) std::free(path_);
}

Leftover::Leftover(Leftover&& other) noexcept
    : path_(std::exchange(other.path_, nullptr)), slot_(std::exchange(other.slot_, -1)) {}

Leftover& Leftover::operator=(Leftover&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(slot_, other.slot_);
  return *this;
}

void remove_leftovers() {
  for (auto slot = slots.rbegin(); slot != slots.rend(); ++slot) {  // files before the folder they lie in
    if (const char* path = slot->exchange(nullptr)) remove_leftover(path);
  }
}

}  // namespace lora
