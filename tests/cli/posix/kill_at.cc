// Preloaded into a program: sends it SIGKILL, or the signal LORA_KILL_SIGNAL, before its LORA_KILL_AT-th call
// that changes files, and counts those calls into the file LORA_KILL_COUNT where it ends by itself. So a test
// reaches each moment between two.
#include <dlfcn.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace {

std::atomic<int> n_calls{0};

int number_of(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::atoi(text) : otherwise;
}

template <class Function>
Function* next(const char* name, bool counts = true) {
  static const int kill_at = number_of("LORA_KILL_AT", 0), sent = number_of("LORA_KILL_SIGNAL", SIGKILL);
  if (counts && ++n_calls == kill_at) raise(sent);
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

struct Count {
  ~Count() {
    const char* path = std::getenv("LORA_KILL_COUNT");
    std::FILE* file = path ? std::fopen(path, "w") : nullptr;
    if (!file) return;
    std::fprintf(file, "%d", n_calls.load());
    std::fclose(file);
  }
} count;

}  // namespace

extern "C" {

int rename(const char* from, const char* to) noexcept {
  return next<int(const char*, const char*)>("rename")(from, to);
}
int unlink(const char* path) noexcept {
  return next<int(const char*)>("unlink")(path);
}
int fsync(int fd) {
  return next<int(int)>("fsync")(fd);
}
int flock(int fd, int operation) noexcept {
  return next<int(int, int)>("flock")(fd, operation);
}
int ftruncate(int fd, off_t size) noexcept {
  return next<int(int, off_t)>("ftruncate")(fd, size);
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  return next<ssize_t(int, const void*, size_t, off_t)>("pwrite")(fd, data, size, at);
}
ssize_t write(int fd, const void* data, size_t size) {
  return next<ssize_t(int, const void*, size_t)>("write", fd > 2)(fd, data, size);
}

}  // extern "C"
