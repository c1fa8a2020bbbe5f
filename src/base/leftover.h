// What must not stay when a signal ends the process: temporary and lock files (base/output.h), a new folder.
#pragma once

#include <cstddef>
#include <string>

namespace lora {

// As long as it lives, a signal that ends the process removes this file or, if it is empty, folder. It
// removes nothing itself.
class Leftover {
 public:
  Leftover() = default;  // nothing
  explicit Leftover(const std::string& path);
  ~Leftover();
  Leftover(Leftover&& other) noexcept;
  Leftover& operator=(Leftover&& other) noexcept;

 private:
  char* path_ = nullptr;
  int slot_ = -1;
};

// Of this whole process, from a signal handler, too.
void remove_leftovers();
// The same: a file or an empty folder, and nothing where there is none.
void remove_leftover(const char* path);

// For programs, at their start: SIGINT, SIGTERM and SIGHUP end the process as ever, but remove_leftovers()
// comes first. One that is ignored already stays so.
void remove_leftovers_on_signals();

// As long as it lives, such signals wait, as far as this thread could get them.
class SignalsWait {
 public:
  SignalsWait();
  ~SignalsWait();
  SignalsWait(const SignalsWait&) = delete;
  SignalsWait& operator=(const SignalsWait&) = delete;

 private:
  alignas(8) std::byte before_[128];  // what the system had to be told otherwise
};

}  // namespace lora
